"""Sources as data: addresses, authentication, endpoints, errors, quotas, prices. A YAML file each, with the day it was checked.

A source of a platform of ours has a connector class for what a file cannot say; any other is read by `declared.py` from
its file alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lakehouse.contracts.payload import RECORD_TYPES
from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.errors import SettingsError
from lakehouse.fetch.task import AccountState, Fate

SOURCES = "sources"
SOURCE_PATTERN = r"[a-z][a-z0-9_]{1,40}"
DEFAULT_FAMILY = "default"
USD_DAY, USD_CYCLE = "usd_day", "usd_cycle"
"""Names of the two budgets of money beside those of units."""
MICRO = 1_000_000
"""Money is counted in millionths of a dollar: whole numbers add up exactly."""
SUSTAINED, BURST = 0.8, 0.1
"""Shares of a published rate that flow steadily and at once: any window then holds at most 0.9 of the limit, whatever moment
the platform counts from (platforms.md 7 asks for 0.9)."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rate(_Strict):
    """At most `requests` within any `seconds`, for one family of endpoints."""

    family: str = DEFAULT_FAMILY
    requests: int = Field(ge=1)
    seconds: int = Field(ge=1)


class Bucket(_Strict):
    """A budget of units. `day` names whose midnight resets it; without it the budget is a rolling window of `seconds`."""

    name: str
    units: int = Field(ge=0)
    day: str | None = None
    """A zone name of the tz database: `America/Los_Angeles`, `UTC`."""
    seconds: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _has_one_window(self) -> Bucket:
        if (self.day is None) == (self.seconds is None):
            raise ValueError("a bucket has a day, or seconds of a rolling window")
        return self


class Spend(_Strict):
    """Money: a cap for each UTC day and one for each billing cycle (calendar month, UTC)."""

    usd_per_day: float = Field(ge=0)
    usd_per_cycle: float = Field(ge=0)


class Paging(_Strict):
    """How a list goes on: the parameter that takes the cursor, and the dotted path of the next cursor in the answer.

    `more` is the path of a flag that says whether there is more, where the cursor alone does not. `pages` is how many pages
    a task gets that says neither `pages` nor `since`; 0 is all of them.
    """

    parameter: str
    next: str
    more: str = ""
    pages: int = Field(default=0, ge=0)


class Endpoint(_Strict):
    """One kind of request.

    `keys` says how the keys of a task are passed: as the parameter of that name, joined by commas; `{key}` in `path` or in
    a parameter takes a single key instead; `{since}`, `{since_time}`, `{since_digits}` (likewise `until`), `{country}` and
    `{language}` take parameters of the task, and what lacks its value is left out. `batch` is the most keys a request. `rows` is the dotted path of the array or
    object of records in the answer; empty is the answer itself. `layout` names the mapping's layout for its rows.
    """

    path: str
    method: Literal["GET", "POST"] = "GET"
    keys: str = ""
    key_kind: Literal["id", "handle", "none"] = "id"
    batch: int = Field(default=1, ge=1)
    params: dict[str, str] = Field(default_factory=dict)
    body: dict[str, Any] = Field(default_factory=dict)
    """JSON of a POST; its texts are filled in likewise."""
    key_pattern: str = ""
    """What keys must match in full: one malformed key fails a whole batch, so it is refused before."""
    rows: str = ""
    row_key: str = ""
    """Dotted path in a record of the key that was asked for; names the keys that an answer lacks."""
    missing: AccountState | None = None
    """What is said of accounts that an answer lacks."""
    dated: str = ""
    """Dotted path in a record of a time, newest first: a list ends at the first record before the task's `since`."""
    layout: str = ""
    record: Literal["profile", "post", "none"] = "profile"
    family: str = DEFAULT_FAMILY
    bucket: str = ""
    units: int = Field(default=1, ge=0)
    usd_per_row: float = Field(default=0.0, ge=0)
    max_rows: int = Field(default=0, ge=0)
    """Most records that one answer bills; 0 means as many as keys."""
    then: str = ""
    """The endpoint that looks up what a page of this list names: one request more, of the same bucket."""
    paging: Paging | None = None

    @property
    def worst_usd(self) -> float:
        """Most that one answer can cost."""
        return self.usd_per_row * (self.max_rows or self.batch)


class Refusal(_Strict):
    """What an answer with this status or code means; the first that fits counts.

    `bucket` of a `park` is a bucket, `{family}` or `{bucket}` of the endpoint, or empty for the source as a whole; without
    `wait_seconds` it is closed until its reset, whatever the answer says. `state` says it of the accounts that were asked
    for; the task is done then. `restart` concerns further pages only: their list is begun anew, once.
    """

    status: int = 0
    codes: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    fate: Fate = Fate.DONE
    bucket: str = ""
    wait_seconds: float | None = None
    state: AccountState | None = None
    restart: bool = False

    def fits(self, status: int, codes: Collection[str], endpoint: str) -> bool:
        """Whether an answer is this refusal."""
        if self.status not in (0, status) or (self.endpoints and endpoint not in self.endpoints):
            return False
        return not self.codes or not set(codes).isdisjoint(self.codes)


class Auth(_Strict):
    """Where the credential goes: a header (`value` holds `{secret}`), or a parameter.

    `per_key`: each key has a credential of its own. `has_account`: the credential is `{account}|{secret}`, and `{account}` of
    an address is filled in. `token_path`: the credential is `{client}:{secret}`, for which that path gives a token.
    """

    header: str = ""
    parameter: str = ""
    value: str = "{secret}"
    per_key: bool = False
    has_account: bool = False
    token_path: str = ""


class Source(_Strict):
    """A source of fetched records. `retention_days`: fetched rows are refreshed or deleted within so many; 0 keeps them."""

    source: str = Field(pattern=SOURCE_PATTERN)
    platform: str
    description: str
    checked_on: dt.date
    base_url: str
    api_version: str
    connector: str = "declared"
    is_enabled: bool = True
    preference: int = 0
    """Of several active sources of a platform that with the highest refreshes its accounts."""
    note: str = ""
    auth: Auth
    mapping: str = ""
    """Source code of the mapping that reads its records; its own by default."""
    retention_days: int = Field(default=0, ge=0)
    rates: tuple[Rate, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    spend: Spend | None = None
    endpoints: dict[str, Endpoint]
    answer_has: tuple[str, ...] = ()
    """Keys of which a sound answer has one; without any of them it is none, whatever its status."""
    error_codes: tuple[str, ...] = ()
    """Dotted paths of error codes in an answer's body."""
    refusals: tuple[Refusal, ...] = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Source:
        if self.platform not in PLATFORMS:
            raise ValueError(f"platform {self.platform!r} is none of {', '.join(PLATFORMS)}")
        families, buckets = {rate.family for rate in self.rates}, {bucket.name for bucket in self.buckets}
        for name, endpoint in self.endpoints.items():
            if endpoint.bucket and endpoint.bucket not in buckets:
                raise ValueError(f"endpoint {name} draws on the bucket {endpoint.bucket!r}, which is not declared")
            if endpoint.family not in families | {DEFAULT_FAMILY}:
                raise ValueError(f"endpoint {name} is of the family {endpoint.family!r}, which has no rate")
            then = self.endpoints.get(endpoint.then) if endpoint.then else endpoint
            if then is None or then.bucket != endpoint.bucket or (endpoint.then and then.usd_per_row):
                raise ValueError(
                    f"endpoint {name} is followed by {endpoint.then!r}, which is none of its bucket, or costs money"
                )
            if endpoint.record not in (*RECORD_TYPES, "none"):
                raise ValueError(f"endpoint {name} has records of an unknown kind")
        return self

    def bucket(self, name: str) -> Bucket:
        """The bucket of that name."""
        return next(bucket for bucket in self.buckets if bucket.name == name)


def load_sources(extra: Path | None = None) -> dict[str, Source]:
    """The shipped sources by code, with the user's over them.

    Raises:
        SettingsError: a file is wrong; the sentence names it and the place.
    """
    found: dict[str, Source] = {}
    for folder in (resources.files(__package__) / SOURCES, extra):
        if folder is not None:
            found |= {source.source: source for source in _load_folder(folder)}
    return found


def _load_folder(folder: Traversable) -> Iterator[Source]:
    if not folder.is_dir():
        raise SettingsError(f"The sources folder {folder} does not exist.")
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith((".yaml", ".yml")):
            yield parse_source(entry.read_text(encoding="utf-8"), name=entry.name)


def parse_source(text: str, *, name: str) -> Source:
    """Read one source; `name` is what error messages call it.

    Raises:
        SettingsError: not YAML, or not a source.
    """
    try:
        return Source.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise SettingsError(f"Source {name} is not YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise SettingsError(f"Source {name}: {problems}.") from error
