"""Which rule reads which field of a payload, as data, and what happens to a value that a rule refuses. Pure.

A refused value becomes null and a `Reject`; the row stays. A row that names no account, or no post, is refused whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import NamedTuple

from lakehouse.silver import countries, numbers, vocabulary
from lakehouse.silver.missing import PLACEHOLDERS, Reason
from lakehouse.silver.text import NAME_MAX_CHARS, clean_line, clean_text, mask, replace_surrogates

RAW_VALUE_MAX_CHARS = 500
"""Characters of a refused value that are kept in quarantine, masked."""
MAX_TEXT_INPUT_CHARS = 100_000
"""Text beyond this is dropped before any rule runs: 20 times the longest caption, so hostile input stays cheap."""

REASON_TEXTS = {
    "ambiguous_date": "Day and month cannot be told apart.",
    "ambiguous_number": "The number has two readings: a group of thousands, or a fraction.",
    "bad_payload": "The record is not a JSON object, or a rule failed on it.",
    "erased": "The account's owner asked to be forgotten.",
    "in_future": "The time lies more than a day after the observation.",
    "lossy_id": "The id went through a floating-point number and lost digits.",
    "negative": "A count or rate cannot be negative.",
    "no_account_key": "The record has no usable id, handle or name of an account.",
    "no_post_id": "The post has no usable id.",
    "not_a_flag": "The value is neither true nor false.",
    "not_a_number": "The value is not a number.",
    "not_a_time": "The value is not a known time format.",
    "not_a_url": "The value is not a web address.",
    "not_an_id": "The value cannot be a platform's id.",
    "not_finite": "The number is infinite or not a number.",
    "not_integer": "A count must be whole.",
    "not_text": "The value is not text.",
    "too_early": "The time lies before 2004, when none of the platforms existed.",
    "too_large": "The number is beyond any real value.",
    "unknown_account_state": "The account state is not in the vocabulary.",
    "unknown_account_type": "The account type is not in the vocabulary.",
    "unknown_country": "The country is not known.",
    "unknown_host": "The web address has no known domain ending.",
    "unknown_language": "The language is not known.",
}
"""Every reason code of the silver layer with its sentence."""


class Reject(NamedTuple):
    """A refused value; `field_name` is None when the whole row is refused. `raw_value` is masked ASCII JSON."""

    field_name: str | None
    reason_code: str
    raw_value: str


Parse = Callable[[object], tuple[object, Reason]]


class Rule(NamedTuple):
    """Payload field, silver column, and the function between them."""

    source: str
    column: str
    parse: Parse


def _remembered(parse: Parse) -> Parse:
    """The same rule for a field of few distinct texts, which are read once each."""
    of_text = lru_cache(maxsize=1 << 10)(parse)
    return lambda raw: of_text(raw) if type(raw) is str else parse(raw)


def _count(source: str, column: str) -> Rule:
    return Rule(source, column, partial(numbers.parse_count, placeholders=PLACEHOLDERS.get(source, ())))


PROFILE_RULES: tuple[Rule, ...] = (
    Rule("country", "country_code", _remembered(countries.parse_country)),
    Rule("audience_country", "audience_country_code", _remembered(countries.parse_country)),
    Rule("account_type", "account_type_code", _remembered(vocabulary.parse_account_type)),
    Rule("is_verified", "is_verified", _remembered(numbers.parse_flag)),
    Rule("account_state", "account_state_code", _remembered(vocabulary.parse_account_state)),
    Rule("is_private", "is_private", _remembered(numbers.parse_flag)),
    _count("followers", "followers_count"),
    _count("following", "following_count"),
    _count("content_count", "content_count"),
    _count("views", "views_count"),
    _count("likes", "likes_count"),
    Rule("avg_views", "avg_views_count", numbers.parse_mean),
    Rule("avg_likes", "avg_likes_count", numbers.parse_mean),
    Rule("avg_comments", "avg_comments_count", numbers.parse_mean),
    Rule("avg_shares", "avg_shares_count", numbers.parse_mean),
    Rule("avg_engagement", "avg_engagement_count", numbers.parse_mean),
)
"""Fields of a profile that one rule reads alone."""
POST_RULES: tuple[Rule, ...] = (
    _count("views", "views_count"),
    _count("likes", "likes_count"),
    _count("comments", "comments_count"),
    _count("shares", "shares_count"),
    _count("saves", "saves_count"),
    Rule("duration", "duration_seconds", numbers.parse_seconds),
)
"""Fields of a post that one rule reads alone."""


class Reading:
    """One payload being read: hands out values and collects what was refused."""

    __slots__ = ("payload", "rejects")

    def __init__(self, payload: Mapping[str, object]) -> None:
        """Start reading a payload (canonical field name to raw value)."""
        self.payload = payload
        self.rejects: list[Reject] = []

    def take(self, field: str, parse: Parse) -> object:
        """Value of a field by a rule; a refusal is noted and gives None."""
        raw = self.payload.get(field)
        if raw is None:
            return None
        value, reason = parse(raw)
        if reason:
            self.refuse(field, reason, raw)
        return value

    def apply(self, rules: tuple[Rule, ...]) -> dict[str, object]:
        """Columns of several rules."""
        given = self.payload
        return {column: self.take(source, parse) if source in given else None for source, column, parse in rules}

    def raw_text(self, field: str) -> str | None:
        """Text of a field before any repair; numbers count as text, other values are refused."""
        raw = self.payload.get(field)
        if raw is None or isinstance(raw, bool):
            return None
        if isinstance(raw, (str, int, float)):
            return str(raw)[:MAX_TEXT_INPUT_CHARS]
        self.refuse(field, "not_text", raw)
        return None

    def line(self, field: str, *, max_chars: int = NAME_MAX_CHARS) -> str | None:
        """One-line display text of a field."""
        raw = self.raw_text(field)
        return clean_line(raw, max_chars=max_chars) if raw else None

    def refuse(self, field: str | None, reason: str, raw: object) -> None:
        """Note a refusal."""
        self.rejects.append(Reject(field, reason, raw_json(raw)))


def display(raw: str | None, *, max_chars: int) -> str | None:
    """Multi-line display text: repaired, contact data masked, capped."""
    if not raw:
        return None
    cleaned = clean_text(raw, max_chars=MAX_TEXT_INPUT_CHARS)
    masked = mask(cleaned)
    if masked is None or len(masked) <= max_chars:
        return masked  # masks bring in nothing that would have to be cleaned
    return clean_text(masked, max_chars=max_chars)


def raw_json(raw: object) -> str:
    """A raw value as masked ASCII JSON, cut to `RAW_VALUE_MAX_CHARS`."""
    text = replace_surrogates(raw) if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False, default=str)
    masked = mask(text[:MAX_TEXT_INPUT_CHARS]) or ""  # first: an address that is cut in two is not recognised
    return json.dumps(masked[:RAW_VALUE_MAX_CHARS])[:RAW_VALUE_MAX_CHARS]
