"""A call as a platform's module sees it, its answer, and JSON put together from parts that are text already."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, NamedTuple

JSON_TYPE = "application/json; charset=UTF-8"
Fields = dict[str, str]
"""Names and their values as JSON text."""
MOST_DIGITS = 18
"""Longest number that is read as one; fits 64 bits."""


class Answer(NamedTuple):
    """An answer, and what it costs by the emulator's own count: units of a quota, money, records returned.

    `is_refused`: a limit, a quota or a credential was in the way, so that nothing was looked up.
    """

    status: int
    body: str
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = JSON_TYPE
    units: int = 0
    micro_usd: int = 0
    records: int = 0
    is_refused: bool = False


class RefusedError(Exception):
    """A call ends here with this answer."""

    def __init__(self, answer: Answer) -> None:
        """End a call."""
        super().__init__(answer.status)
        self.answer = answer


def charged(make: Callable[[], Answer]) -> Answer:
    """An answer that costs a unit, also where it is a refusal.

    Raises:
        RefusedError: the call was refused.
    """
    try:
        return make()._replace(units=1)
    except RefusedError as refused:
        raise RefusedError(refused.answer._replace(units=1)) from None


@dataclass(slots=True)
class Call:
    """One request. The platform's module fills in `endpoint`, `credential` and `units` as it finds them out.

    `now` is virtual time, Unix seconds; `seen_at` the time whose state the answer shows: earlier where it is stale.
    `has_duplicate`: one item of a list stands in it twice.
    """

    platform: str
    method: str
    path: str
    params: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    now: float
    seen_at: float
    has_duplicate: bool = False
    endpoint: str = "unknown"
    credential: str = ""
    answer_headers: list[tuple[str, str]] = field(default_factory=list)

    def document(self) -> dict[str, Any] | None:
        """The body as a JSON object; None where it is none."""
        try:
            found = json.loads(self.body or b"{}")
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def bearer(self) -> str:
        """The token of the header `Authorization`, empty without one."""
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""

    def listed(self, items: list[str]) -> list[str]:
        """Items of an answer, one of them twice where this call has a duplicate."""
        return [*items, items[len(items) // 2]] if self.has_duplicate and items else items


def text(value: str) -> str:
    """A string as JSON."""
    return encode_basestring(value)


def flag(value: bool) -> str:
    """A boolean as JSON."""
    return "true" if value else "false"


def obj(fields: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    """A JSON object of parts that are JSON already."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return "{" + ",".join([f'"{name}":{value}' for name, value in pairs]) + "}"


def arr(items: Iterable[str]) -> str:
    """A JSON list of parts that are JSON already."""
    return "[" + ",".join(items) + "]"


def texts(values: Iterable[str]) -> str:
    """A JSON list of strings."""
    return arr(map(text, values))


def chosen(fields: Fields, names: Iterable[str]) -> Fields:
    """The fields of those names that exist, in the order asked for."""
    return {name: fields[name] for name in names if name in fields}


def iso(seconds: float, *, digits: int = 0) -> str:
    """A time in UTC as `2026-06-30T12:00:00Z`, with so many digits of a second."""
    fraction = "" if not digits else "." + "0" * digits
    return _day_text(int(seconds) // 86_400) + _clock_text(int(seconds) % 86_400) + fraction + "Z"


def graph_time(seconds: float) -> str:
    """A time as Instagram writes it: `2026-06-30T12:00:00+0000`."""
    return iso(seconds)[:-1] + "+0000"


@lru_cache(maxsize=4_096)
def _day_text(day: int) -> str:
    return (dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()


def _clock_text(seconds: int) -> str:
    return f"T{seconds // 3_600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


@lru_cache(maxsize=256)
def http_date(seconds: int) -> str:
    """A time as HTTP headers have it."""
    return format_datetime(dt.datetime.fromtimestamp(seconds, dt.UTC), usegmt=True)


def unknown_names(given: Iterable[str], known: Iterable[str]) -> list[str]:
    """Names that are none of the known ones, sorted."""
    return sorted(set(given) - set(known))


def whole(value: str, low: int, high: int) -> int | None:
    """A whole number within bounds; None where it is none."""
    if not value.isascii() or not value.isdigit() or len(value) > MOST_DIGITS:
        return None
    number = int(value)
    return number if low <= number <= high else None
