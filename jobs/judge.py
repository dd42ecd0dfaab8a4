"""The command of judgements: what people decide about accounts, written to the log, listed, taken back."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.tables import ACCOUNTS, CREATOR_ALIASES, CREATOR_IDS
from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.errors import NotFoundError, PermanentError
from lakehouse.identity.judgements import Account, Judgement, Kind, Said, read, record, standing
from lakehouse.identity.nodes import NO_ID
from lakehouse.settings import load_settings
from lakehouse.silver.handles import handle_key
from lakehouse.storage.lake import Lake
from lakehouse.storage.probe import require_fence

KEY = ("platform", "platform_account_id")


def judge(kind: str, subjects: Sequence[str], *, by: str = "", note: str = "") -> int:
    """Write a judgement; it counts from the next run on.

    Args:
        kind: `link`, `unlink`, `freeze` or `undo`.
        subjects: accounts as `platform:id` or `platform:@handle`; of a freeze a creator's id, of an undo a number.
        by: who judges; the user of this machine without.
        note: why.

    Raises:
        PermanentError: a subject is none, or the judgement contradicts one that stands.
        NotFoundError: the lake knows no such account or creator.
    """
    lake = Lake(load_settings())
    if lake.objects.layout.is_s3:
        require_fence(lake.objects)
    who = by or getpass.getuser()
    if kind == Kind.UNDO:
        if len(subjects) != 1 or not subjects[0].isdecimal():
            raise PermanentError("An undo needs the number of one judgement; `creatorlake judge list` tells them.")
        said = Said(Kind.UNDO, of=int(subjects[0]), by=who, note=note)
    else:
        accounts = tuple(dict.fromkeys(account for subject in subjects for account in _accounts(lake, subject)))
        said = Said(Kind(kind), accounts, by=who, note=note)
    made = record(lake.objects, said)
    _say(f"{_told(made)}. It counts from the next run on.")
    return 0


def listed(*, with_all: bool = False) -> int:
    """Print the judgements that stand, or all of them."""
    log = read(Lake(load_settings()).objects)
    for one in log if with_all else standing(log):
        _say(" | ".join(part for part in (_told(one), one.by, one.at, one.note) if part))
    return 0


def _accounts(lake: Lake, subject: str) -> list[Account]:
    """The accounts that a subject names in this lake."""
    platform, mark, name = subject.partition(":")
    if not mark:
        return _members(lake, subject)
    if platform not in PLATFORMS or not name:
        raise PermanentError(f"{subject} is neither platform:id, platform:@handle nor a creator's id.")
    handle = handle_key(name.removeprefix(NO_ID)) if name.startswith(NO_ID) else None
    found = [
        account_id
        for batch in lake.stream(ACCOUNTS, (*KEY, "handle_key"))
        for account_id in batch.filter(_is_named(batch, platform, name, handle)).column(KEY[1]).to_pylist()
    ]
    if not found:
        raise NotFoundError(f"This lake has no account {subject}.")
    own = [account_id for account_id in found if not account_id.startswith(NO_ID)] or found
    if len(own) > 1:
        raise PermanentError(f"{subject} was borne by several accounts: {', '.join(sorted(own))}; name one by its id.")
    return [(platform, own[0])]


def _is_named(batch: pa.RecordBatch, platform: str, name: str, handle: str | None) -> pa.Array:
    is_it = pc.equal(batch.column(KEY[1]), name)
    if handle is not None:
        is_it = pc.or_(is_it, pc.fill_null(pc.equal(batch.column("handle_key"), handle), fill_value=False))
    return pc.and_(pc.equal(batch.column(KEY[0]), platform), is_it)


def _members(lake: Lake, creator_id: str) -> list[Account]:
    """Accounts of a creator, by its id or one that became its alias."""
    current = dict(_pairs(lake, creator_id)).get(creator_id, creator_id)
    found: list[Account] = []
    for batch in lake.stream(CREATOR_IDS, (*KEY, "creator_id")):
        own = batch.filter(pc.equal(batch.column("creator_id"), current))
        found += zip(*(own.column(name).to_pylist() for name in KEY), strict=True)
    if not found:
        raise NotFoundError(f"This lake has no creator {creator_id}.")
    return sorted(found)


def _pairs(lake: Lake, alias: str) -> Iterator[tuple[str, str]]:
    for batch in lake.stream(CREATOR_ALIASES, ("alias_id", "creator_id")):
        own = batch.filter(pc.equal(batch.column("alias_id"), alias))
        yield from zip(own.column("alias_id").to_pylist(), own.column("creator_id").to_pylist(), strict=True)


def _told(one: Judgement) -> str:
    what = str(one.of) if one.kind is Kind.UNDO else ", ".join(":".join(account) for account in one.accounts)
    return f"Judgement {one.number}: {one.kind} {what}".rstrip()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
