"""Whether a store is fit to hold a lake: it must not overwrite on conditional create, and do what a lake asks of it.

`require_fence` is the short form that every process runs before it writes to a bucket; `probe` is what `doctor` shows.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lakehouse.errors import CreatorlakeError, PermanentError
from lakehouse.settings import Settings
from lakehouse.storage.bucket import harmful_rules, lifecycle_rules
from lakehouse.storage.objects import ObjectStore

PREFIX = "_doctor"
MAX_SKEW = dt.timedelta(minutes=5)
"""S3 refuses requests whose clock is 15 minutes off; a clock that is on its way there is told of before."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Outcome of one check."""

    name: str
    is_fine: bool
    text: str


def require_fence(objects: ObjectStore) -> None:
    """Create one key twice on condition that it does not exist; return if the second attempt is refused.

    Raises:
        PermanentError: the store overwrites, so concurrent commits would be lost, or refuses the credentials.
        TransientError: the store does not answer.
    """
    with _key(objects) as key:
        is_first, is_second = objects.swap(key, b"1", expected=None), objects.swap(key, b"2", expected=None)
        is_kept = objects.get(key) == b"1"
    if not is_first or is_second or not is_kept:
        raise PermanentError(
            f"{objects.layout.root} overwrites on conditional create and would lose commits; do not use it."
        )


def probe(settings: Settings) -> list[Finding]:
    """Every check of the lake that the settings name; each answers in one sentence."""
    objects = ObjectStore.open(settings)
    checks: dict[str, Callable[[], str]] = {
        "Lake: conditional create": lambda: _fence(objects),
        "Lake: list, read, delete": lambda: _verbs(objects),
        "Lake: clock": lambda: _clock(objects),
    }
    if objects.layout.is_s3:
        checks["Lake: lifecycle"] = lambda: _lifecycle(settings)
    return [_guarded(name, check) for name, check in checks.items()]


def _guarded(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, is_fine=True, text=check())
    except (CreatorlakeError, OSError) as error:
        return Finding(name, is_fine=False, text=str(error))


def _fence(objects: ObjectStore) -> str:
    require_fence(objects)
    return f"{objects.layout.root} refuses to overwrite, as it must"


def _verbs(objects: ObjectStore) -> str:
    with _key(objects) as key:
        objects.put_once(key, b"1")
        if key not in [info.key for info in objects.list(PREFIX)]:
            raise PermanentError(f"{objects.layout.root} does not list what was just written.")
        objects.get(key)
    if objects.exists(key):
        raise PermanentError(f"{objects.layout.root} keeps what was deleted; VACUUM could never free anything.")
    return "a new object is listed, read and deleted"


def _clock(objects: ObjectStore) -> str:
    with _key(objects) as key:
        objects.put_once(key, b"1")
        written = next(info.modified_at for info in objects.list(PREFIX) if info.key == key)
    skew = abs(dt.datetime.now(tz=dt.UTC) - written)
    if skew > MAX_SKEW:
        raise PermanentError(
            f"this machine's clock and the store's are {skew.total_seconds():.0f} s apart; set it by NTP."
        )
    return f"{skew.total_seconds():.0f} s apart"


def _lifecycle(settings: Settings) -> str:
    rules = lifecycle_rules(settings)
    if rules is None:
        return "the rules cannot be read with these credentials; see that none expires or moves a table"
    harmful = harmful_rules(rules, settings.lake_root)
    if harmful:
        raise PermanentError(
            f"the rule {harmful[0]} expires or moves objects that tables and snapshots need; limit it to landing/."
        )
    return f"{len(rules)} rules, none of them touches a table or a snapshot"


@contextmanager
def _key(objects: ObjectStore) -> Iterator[str]:
    """A key of its own, gone afterwards."""
    key = f"{PREFIX}/{uuid.uuid4().hex}"
    try:
        yield key
    finally:
        objects.delete(key)
