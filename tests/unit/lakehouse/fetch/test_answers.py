"""What all connectors share: times to come back, honest and lying; paths; answers that make no sense."""

from __future__ import annotations

import json

import pytest
from api_answers import DATE, answer

from lakehouse.fetch.answers import dig, moment, records_at, seconds_to_wait, unusable
from lakehouse.fetch.client import parse
from lakehouse.fetch.task import Fate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", 30.0),
        (" 2.5 ", 2.5),
        ("Fri, 20 Nov 2026 12:05:00 GMT", 300.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", None),
        ("0", None),
        ("-5", None),
        ("999999999", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("Fri, 99 Nov 2026 12:05:00 GMT", None),
        ("", None),
    ],
)
def test_retry_after(text: str, expected: float | None) -> None:
    assert seconds_to_wait({"retry-after": text, "date": DATE}) == expected


def test_retry_after_absent_or_beside_a_broken_date() -> None:
    assert seconds_to_wait({}) is None
    assert seconds_to_wait({"retry-after": "Fri, 20 Nov 2026 12:05:00 GMT", "date": "today"}) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [("", {"a": [{"b": 1}]}), ("a.0.b", 1), ("a.1.b", None), ("a.x", None), ("c.d", None), ("a.0.b.c", None)],
)
def test_paths(path: str, expected: object) -> None:
    assert dig({"a": [{"b": 1}]}, path) == expected


def test_records_are_those_of_a_list_or_the_one_object() -> None:
    assert records_at({"data": [1, 2]}, "data") == [1, 2]
    assert records_at({"data": {"id": 1}}, "data") == [{"id": 1}]
    assert records_at({"data": None}, "data") == records_at({}, "data") == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-10-01", "2026-10-01T00:00:00+00:00"),
        ("2021-08-17T19:00:42+0000", "2021-08-17T19:00:42+00:00"),
        (1790000000, "2026-09-21T14:13:20+00:00"),
        (10**40, None),
        ("soon", None),
        (None, None),
        ({"unexpected": [None]}, None),
    ],
)
def test_moments(value: object, expected: str | None) -> None:
    found = moment(value)
    assert (None if found is None else found.isoformat()) == expected


@pytest.mark.parametrize(
    ("body", "status", "fate", "reason"),
    [
        ("<html>busy</html>", 200, Fate.RETRY, "not_json"),
        ('{"items": [{"id": ', 200, Fate.RETRY, "not_json"),
        ("", 200, Fate.RETRY, "not_json"),
        ("<html>busy</html>", 403, Fate.RETRY, "not_json"),
        ('"text"', 200, Fate.RETRY, "not_json"),
        ("{}", 500, Fate.RETRY, "server_error_500"),
        ("<html>", 503, Fate.RETRY, "server_error_503"),
        ("{}", 429, Fate.RETRY, "throttled"),
        ("{}", 302, Fate.RETRY, "moved_302"),
        ("{}", 418, Fate.DEAD, "refused_418"),
    ],
)
def test_answers_that_no_table_knows(body: str, status: int, fate: Fate, reason: str) -> None:
    reading = unusable(answer(body, status))
    assert reading is not None
    assert (reading.fate, reading.reason) == (fate, reason)


def test_a_throttled_answer_says_when() -> None:
    reading = unusable(answer("{}", 429, {"retry-after": "7"}))
    assert reading is not None
    assert reading.retry_after == 7.0


def test_a_sound_answer_is_usable() -> None:
    assert unusable(answer("{}")) is None


def test_json_keeps_big_numbers_and_refuses_depth() -> None:
    assert parse(b'{"id": 7702874395068494965}') == {"id": 7702874395068494965}
    assert parse(b"[" * 60 + b"]" * 60) is not None
    assert parse(b"[" * 70 + b"]" * 70) is None
    assert parse(b"[" * 200_000) is None
    assert parse(b'{"a": \xff}') is None
    assert parse(json.dumps({"a": "\ud800"}).encode()) == {"a": "\ud800"}
