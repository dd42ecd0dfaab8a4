"""The query language of TikTok's Research API: conditions over videos, within 30 days."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.registry import State, Status
from lakehouse.simulate.platforms.tiktok_items import DEFAULT_REGION
from lakehouse.simulate.platforms.timeline import Post

MOST_COUNT, DEFAULT_COUNT = 100, 20
MOST_DAYS = 30
BODY_FIELDS = frozenset({"query", "start_date", "end_date", "max_count", "cursor", "search_id", "is_random"})
GROUPS = ("and", "or", "not")
OPERATIONS: dict[str, Callable[[str, list[str]], bool]] = {
    "EQ": lambda value, given: value == given[0],
    "IN": lambda value, given: value in given,
    "GT": lambda value, given: _number(value) > _number(given[0]),
    "GTE": lambda value, given: _number(value) >= _number(given[0]),
    "LT": lambda value, given: _number(value) < _number(given[0]),
    "LTE": lambda value, given: _number(value) <= _number(given[0]),
}
FIELD_NAMES = frozenset(
    {"username", "region_code", "hashtag_name", "keyword", "create_date", "video_id", "video_length"}
)
LENGTHS = ((15, "SHORT"), (60, "MID"), (300, "LONG"))
"""Longest seconds of each `video_length`; what is longer is `EXTRA_LONG`."""
SCANNED_ACCOUNTS = 500
"""Accounts looked at by a query that names no account: the first ones of the world."""


class QueryError(Exception):
    """A query that the API refuses; the message says why."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a query."""

    operation: str
    field_name: str
    values: tuple[str, ...]

    def holds(self, state: State, post: Post) -> bool:
        """Whether a video meets it."""
        return any(
            OPERATIONS[self.operation](value, list(self.values)) for value in _values(self.field_name, state, post)
        )


@dataclass(frozen=True, slots=True)
class VideoQuery:
    """A query of videos. `fingerprint` is what a search id is bound to."""

    conditions: dict[str, tuple[Condition, ...]]
    start: float
    end: float
    max_count: int
    cursor: int
    search_id: str
    fingerprint: str

    def holds(self, state: State, post: Post) -> bool:
        """Whether a video meets it."""
        groups = self.conditions
        if not self.start <= post.published < self.end:
            return False
        has_all = all(one.holds(state, post) for one in groups["and"])
        has_any = not groups["or"] or any(one.holds(state, post) for one in groups["or"])
        return has_all and has_any and not any(one.holds(state, post) for one in groups["not"])

    def usernames(self) -> tuple[str, ...]:
        """Accounts that the query names; empty where it may be any."""
        named = [
            one for one in self.conditions["and"] if one.field_name == "username" and one.operation in {"EQ", "IN"}
        ]
        return named[0].values if named else ()


def parse_query(document: dict[str, Any] | None, now: float) -> VideoQuery:
    """Read the body of a request.

    Raises:
        QueryError: it is none.
    """
    if document is None or set(document) - BODY_FIELDS or not isinstance(document.get("query"), dict):
        raise QueryError("Invalid request body")
    start, end = _day(document, "start_date"), _day(document, "end_date")
    if not 0 <= (end - start).days <= MOST_DAYS:
        raise QueryError("The end date must be no more than 30 days after the start date")
    query = document["query"]
    if set(query) - set(GROUPS) or not query:
        raise QueryError("Unknown group of conditions")
    bound = {name: value for name, value in document.items() if name not in {"cursor", "search_id", "max_count"}}
    return VideoQuery(
        conditions={name: tuple(map(_condition, query.get(name, []))) for name in GROUPS},
        start=start.timestamp(),
        end=min((end + dt.timedelta(days=1)).timestamp(), now),
        max_count=_count(document, "max_count", DEFAULT_COUNT, 1, MOST_COUNT),
        cursor=_count(document, "cursor", 0, 0, 10**9),
        search_id=str(document.get("search_id", "")),
        fingerprint=json.dumps(bound, sort_keys=True),
    )


def find_videos(emulator: Emulator, query: VideoQuery, now: float) -> list[tuple[State, Post]]:
    """Videos that meet a query, newest first, of public accounts."""
    timelines = emulator.timelines["tiktok"]
    found = [
        (state, post)
        for state in _accounts(emulator, query, now)
        for post in timelines.of(state.profile, now)
        if query.holds(state, post)
    ]
    return sorted(found, key=lambda pair: -pair[1].published)


def _accounts(emulator: Emulator, query: VideoQuery, now: float) -> Iterator[State]:
    book = emulator.registry.book("tiktok")
    named = query.usernames()
    rows = [book.row_of_handle(name, now) for name in named] if named else range(min(len(book), SCANNED_ACCOUNTS))
    for row in rows:
        state = None if row is None else book.state(row, now)
        if state is not None and state.status == Status.ACTIVE:
            yield state


def _condition(given: Any) -> Condition:
    if not isinstance(given, dict) or set(given) != {"operation", "field_name", "field_values"}:
        raise QueryError("A condition has operation, field_name and field_values")
    values = given["field_values"]
    if given["operation"] not in OPERATIONS or given["field_name"] not in FIELD_NAMES:
        raise QueryError(f"Unknown operation or field: {given['operation']} {given['field_name']}")
    if not isinstance(values, list) or not values:
        raise QueryError("field_values must be a list that is not empty")
    return Condition(given["operation"], given["field_name"], tuple(map(str, values)))


def _values(name: str, state: State, post: Post) -> tuple[str, ...]:
    if name == "hashtag_name":
        return post.tags
    if name == "keyword":
        return tuple(post.text.lower().split())
    length = next((label for most, label in LENGTHS if post.seconds <= most), "EXTRA_LONG")
    values = {
        "username": state.handle,
        "region_code": state.profile.country or DEFAULT_REGION,
        "create_date": dt.datetime.fromtimestamp(post.published, dt.UTC).strftime("%Y%m%d"),
        "video_id": post.post_id,
        "video_length": length,
    }
    return (values[name],)


def _day(document: dict[str, Any], name: str) -> dt.datetime:
    try:
        return dt.datetime.strptime(str(document.get(name)), "%Y%m%d").replace(tzinfo=dt.UTC)
    except ValueError as error:
        raise QueryError(f"{name} must be yyyymmdd") from error


def _count(document: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = document.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise QueryError(f"{name} must lie between {low} and {high}")
    return value


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise QueryError(f"{value} is no number") from error
