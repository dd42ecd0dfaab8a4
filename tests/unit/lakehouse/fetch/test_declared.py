"""A source that is declared and nothing else: the licensed vendor of the worked example, and one made for the test."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from api_answers import VENDOR_PROFILE, answer, connector, landed, read, sources, task

from lakehouse.errors import PermanentError
from lakehouse.fetch.connector import BadKeyError
from lakehouse.fetch.declared import DeclaredConnector
from lakehouse.fetch.source import USD_CYCLE, Source, parse_source
from lakehouse.fetch.task import AccountState, Fate, FetchTask, Priority, Sighting

VENDOR = "licensed_instagram"


def page(*profiles: Any, following: str | None = None) -> dict[str, Any]:
    return {"data": [*profiles], "paging": {"next": following}, "credits": {"used": 1, "remaining": 2}}


def made(**endpoint: Any) -> Source:
    body = {
        "source": "made",
        "platform": "youtube",
        "description": "For tests",
        "checked_on": "2026-11-01",
        "base_url": "https://api.example",
        "api_version": "1",
        "auth": {"header": "X-Key"},
        "error_codes": ["error.code"],
        "endpoints": {"items": {"path": "/items", **endpoint}},
    }
    return parse_source(yaml.safe_dump(body), name="made")


def test_the_vendor_needs_no_code() -> None:
    assert sources()[VENDOR].connector == "declared"
    assert type(connector(VENDOR)) is DeclaredConnector


def test_up_to_a_hundred_names_a_request() -> None:
    names = tuple(f"oat{number}" for number in range(100))
    request = connector(VENDOR).request(task(VENDOR, "profiles", *names))
    assert request.url == "https://api.vendor.example/vendor/v1/profiles"
    assert request.params == {"usernames": ",".join(names)}
    with pytest.raises(PermanentError):
        connector(VENDOR).request(task(VENDOR, "profiles", *names, "one"))
    with pytest.raises(BadKeyError):
        connector(VENDOR).request(task(VENDOR, "profiles", "one,two"))
    with pytest.raises(PermanentError):
        connector(VENDOR).request(task(VENDOR, "nothing", "oat"))


def test_the_feed_of_changes_needs_no_key() -> None:
    asked = task(VENDOR, "profiles_changed", params={"since": "2026-11-01"}, cursor="c")
    assert connector(VENDOR).request(asked).params == {"since": "2026-11-01", "cursor": "c"}
    (following,) = read(asked, page(VENDOR_PROFILE, following="d")).follow_ups
    assert (following.cursor, following.params, following.priority) == (
        "d",
        {"since": "2026-11-01"},
        Priority.FOLLOW_UP,
    )
    assert read(asked, page(VENDOR_PROFILE)).follow_ups == ()
    assert read(asked, page(following="d")).follow_ups == ()  # nothing came: no endless walk


def test_a_backfill_stays_one() -> None:
    asked = task(VENDOR, "profiles_changed", priority=Priority.BACKFILL, params={"since": "2026-11-01"}, cycle="b")
    (following,) = read(asked, page(VENDOR_PROFILE, following="d")).follow_ups
    assert (following.priority, following.cycle) == (Priority.BACKFILL, "b")


def test_names_that_the_answer_lacks_are_unknown() -> None:
    reading = read(task(VENDOR, "profiles", "OAT", "Gone"), page(VENDOR_PROFILE))
    assert (reading.rows, reading.sightings) == (1, (Sighting("Gone", AccountState.UNKNOWN, "not_in_answer"),))


@pytest.mark.parametrize(
    ("code", "status", "fate", "bucket"),
    [
        ("credits_exhausted", 402, Fate.PARK, USD_CYCLE),
        ("credits_exhausted", 200, Fate.PARK, USD_CYCLE),
        ("invalid_api_key", 401, Fate.STOP, ""),
        ("anything", 403, Fate.STOP, ""),
        ("rate_limited", 429, Fate.RETRY, ""),
        ("internal_error", 500, Fate.RETRY, ""),
        ("invalid_parameter", 400, Fate.DEAD, ""),
        ("anything", 200, Fate.RETRY, ""),
    ],
)
def test_refusals(code: str, status: int, fate: Fate, bucket: str) -> None:
    reading = read(task(VENDOR, "profiles", "oat"), {"error": {"code": code, "message": "No."}}, status)
    assert (reading.fate, reading.bucket, reading.sightings) == (fate, bucket, ())


def test_a_throttled_vendor_says_when() -> None:
    refused = {"error": {"code": "rate_limited"}}
    assert read(task(VENDOR, "profiles", "oat"), refused, 429, {"retry-after": "1"}).retry_after == 1.0


def test_profiles_land_with_the_vendors_own_time() -> None:
    found = landed(task(VENDOR, "profiles", "oat"), page(VENDOR_PROFILE))
    (record,) = found.records
    assert found.reasons == []
    assert record.observed_at == "2026-11-20T11:00:00Z"
    assert record.payload["platform_account_id"] == "123456789"
    assert record.payload["links"] == ["https://oat.example"]
    assert "followers" not in record.payload  # null is not zero


def test_a_record_that_is_none_costs_itself_only() -> None:
    found = landed(task(VENDOR, "profiles", "oat", "two"), page(VENDOR_PROFILE, "broken", {}))
    assert len(found.records) == 1
    assert found.reasons == [("no_account_key", None)]
    assert read(task(VENDOR, "profiles", "oat"), page("broken")).fate is Fate.RETRY


def test_bodies_paths_and_times_are_filled_in() -> None:
    body = {"q": ["{key}", 1], "from": "{since_digits}", "to": "{until_digits}", "n": 5}
    source = made(path="/items/{key}/list", method="POST", body=body, params={"after": "{since_time}", "x": "{until}"})
    asked = FetchTask("made", "items", ("k",), params={"since": "2026-01-02"})
    request = DeclaredConnector(source).request(asked)
    assert (request.method, request.url) == ("POST", "https://api.example/items/k/list")
    assert request.body == {"q": ["k", 1], "from": "20260102", "n": 5}
    assert request.params == {"after": "2026-01-02T00:00:00Z"}
    exact = FetchTask("made", "items", ("k",), params={"since": "2026-01-02T03:04:05Z"})
    assert DeclaredConnector(source).request(exact).params == {"after": "2026-01-02T03:04:05Z"}


def test_a_cursor_in_a_body_is_a_number_where_it_can_be() -> None:
    paging = {"parameter": "cursor", "next": "next"}
    speaker = DeclaredConnector(made(method="POST", body={"n": 5}, paging=paging))
    for cursor, expected in (("12", 12), ("a1", "a1")):
        request = speaker.request(FetchTask("made", "items", ("k",), cursor=cursor))
        assert (request.body or {})["cursor"] == expected


def test_the_answer_itself_may_be_the_record() -> None:
    speaker = DeclaredConnector(made(layout="items"))
    asked = FetchTask("made", "items", ("k",))
    assert speaker.read(asked, answer({"id": "k"})).rows == 1
    assert speaker.rows(asked, {"id": "k"}) == [("items", {"id": "k"})]
    assert speaker.read(asked, answer([{"id": "k"}, {"id": "l"}])).rows == 2


def test_an_unknown_endpoint_is_read_as_nothing() -> None:
    assert read(task(VENDOR, "nothing", "oat"), page(VENDOR_PROFILE)).fate is Fate.RETRY
