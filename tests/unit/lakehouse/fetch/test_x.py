"""X: requests as its API description allows them, problem types, partial success, windows and money, recorded answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from api_answers import POST, USER, api_folder, connector, landed, read, recorded, task

from lakehouse.fetch.connector import BadKeyError
from lakehouse.fetch.source import USD_CYCLE
from lakehouse.fetch.task import AccountState, Fate, FetchTask, Sighting

X = "x_api"
IDS = tuple(str(number) for number in range(1, 101))
RESET = "1795176300"
"""Five minutes after the answers of these tests."""
USERS = re.compile(r"/2/users(/\d+|/by)?(/username/\w+|/tweets)?(\?|$)")


def problem(kind: str, status: int = 400, host: str = "api.x.com", **more: Any) -> dict[str, Any]:
    return {"type": f"https://{host}/2/problems/{kind}", "title": "T", "detail": "D", "status": status, **more}


def missing(kind: str, key: str, **more: Any) -> dict[str, Any]:
    return {"type": f"https://api.x.com/2/problems/{kind}", "value": key, "resource_id": key, "title": "T", **more}


@pytest.mark.parametrize(
    ("endpoint", "path", "keys"),
    [
        ("users", "/2/users", IDS),
        ("users_by_username", "/2/users/by", ("Oat_1",)),
        ("user_posts", "/2/users/{id}/tweets", ("7",)),
    ],
)
def test_requests_keep_to_the_api_description(real_data: Path, endpoint: str, path: str, keys: tuple[str, ...]) -> None:
    description = json.loads((api_folder(real_data, "x") / "x_openapi.json").read_bytes())
    given = {"since": "2026-01-01", "until": "2026-02-01"}
    request = connector(X).request(
        task(X, endpoint, *keys, cursor="t" if endpoint == "user_posts" else "", params=given)
    )
    assert request.url == "https://api.x.com" + path.replace("{id}", keys[0])
    known = {}
    for one in description["paths"][path]["get"]["parameters"]:
        found = description["components"]["parameters"][one["$ref"].rsplit("/", 1)[-1]] if "$ref" in one else one
        known[found["name"]] = found["schema"]
    assert request.params.keys() <= known.keys()
    for name, value in request.params.items():
        allowed = known[name].get("items", {}).get("enum")
        assert allowed is None or set(value.split(",")) <= set(allowed), name
        assert len(value.split(",")) <= known[name].get("maxItems", len(value)), name
    if endpoint == "user_posts":
        assert known["max_results"]["minimum"] <= int(request.params["max_results"]) <= known["max_results"]["maximum"]
        assert request.params["start_time"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("endpoint", "key"), [("users", "12a"), ("users", "1" * 20), ("users_by_username", "oat.milk")]
)
def test_one_malformed_key_would_fail_its_batch(endpoint: str, key: str) -> None:
    with pytest.raises(BadKeyError):
        connector(X).request(task(X, endpoint, "1", key))


@pytest.mark.parametrize("host", ["api.x.com", "api.twitter.com"])
@pytest.mark.parametrize(
    ("document", "status", "fate", "bucket"),
    [
        ("usage-capped", 429, Fate.PARK, USD_CYCLE),
        ("credits", 402, Fate.PARK, USD_CYCLE),
        ("anything", 402, Fate.PARK, USD_CYCLE),
        ("rate-limit-exceeded", 429, Fate.PARK, "users"),
        ("anything", 429, Fate.PARK, "users"),
        ("invalid-request", 400, Fate.SPLIT, ""),
        ("client-forbidden", 403, Fate.STOP, ""),
        ("anything", 401, Fate.STOP, ""),
        ("anything", 403, Fate.STOP, ""),
        ("anything", 404, Fate.DEAD, ""),
        *(("internal-error", status, Fate.RETRY, "") for status in (500, 502, 503, 504)),
    ],
)
def test_problems(document: str, status: int, fate: Fate, bucket: str, host: str) -> None:
    reading = read(task(X, "users", *IDS), problem(document, status, host), status)
    assert (reading.fate, reading.bucket, reading.sightings) == (fate, bucket, ())


@pytest.mark.parametrize(
    ("document", "fate", "bucket"),
    [
        (problem("usage-capped", 429), Fate.PARK, USD_CYCLE),
        (problem("rate-limit-exceeded", 429), Fate.PARK, "users"),
        ({"errors": [{"code": 88, "message": "Rate limit exceeded"}]}, Fate.PARK, "users"),
        (problem("internal-error", 500), Fate.RETRY, ""),
        ({}, Fate.RETRY, ""),
    ],
)
def test_problems_with_status_200(document: Any, fate: Fate, bucket: str) -> None:
    reading = read(task(X, "users", *IDS), document)
    assert (reading.fate, reading.bucket, reading.sightings) == (fate, bucket, ())


def test_a_full_window_ends_when_the_headers_say() -> None:
    asked, full = task(X, "users", *IDS), problem("rate-limit-exceeded", 429)
    assert read(asked, full, 429, {"x-rate-limit-reset": RESET}).retry_at == float(RESET)
    for lying in ({}, {"x-rate-limit-reset": "soon"}, {"x-rate-limit-reset": "-1"}):
        reading = read(asked, full, 429, lying)
        assert (reading.retry_at, reading.retry_after) == (None, 900.0)


def test_spent_money_is_no_event_of_the_rate() -> None:
    capped = problem("usage-capped", 429)
    reading = read(task(X, "users", *IDS), capped, 429, {"x-rate-limit-reset": RESET, "retry-after": "3"})
    assert (reading.retry_at, reading.retry_after) == (None, None)


def test_the_last_of_a_window_closes_the_family() -> None:
    headers = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": RESET}
    reading = read(task(X, "users", USER["id"]), {"data": [USER]}, 200, headers)
    assert (reading.fate, reading.bucket, reading.retry_at) == (Fate.DONE, "users", float(RESET))
    assert (
        read(task(X, "users", USER["id"]), {"data": [USER]}, 200, headers | {"x-rate-limit-remaining": "1"}).bucket
        == ""
    )


@pytest.mark.parametrize(
    ("kind", "by_id", "by_name"),
    [
        ("resource-not-found", AccountState.DELETED, AccountState.UNKNOWN),
        ("not-authorized-for-resource", AccountState.PRIVATE, AccountState.PRIVATE),
        ("resource-unavailable", AccountState.SUSPENDED, AccountState.SUSPENDED),
        ("disallowed-resource", AccountState.SUSPENDED, AccountState.SUSPENDED),
        ("withheld", AccountState.SUSPENDED, AccountState.SUSPENDED),
        ("something-new", AccountState.UNKNOWN, AccountState.UNKNOWN),
    ],
)
def test_partial_success(kind: str, by_id: AccountState, by_name: AccountState) -> None:
    reading = read(task(X, "users", USER["id"], "2"), {"data": [USER], "errors": [missing(kind, "2")]})
    assert (reading.fate, reading.rows) == (Fate.DONE, 1)
    assert reading.sightings == (Sighting("2", by_id, kind),)
    named = read(task(X, "users_by_username", "oat", "Gone"), {"data": [USER], "errors": [missing(kind, "gone")]})
    assert named.sightings == (Sighting("Gone", by_name, kind),)


def test_all_of_a_batch_may_be_missing() -> None:
    reading = read(task(X, "users", "1", "2"), {"errors": [missing("resource-not-found", key) for key in ("1", "2")]})
    assert (reading.fate, reading.rows, len(reading.sightings)) == (Fate.DONE, 0, 2)


@pytest.mark.parametrize("kind", ["field-unauthorized", "not-authorized-for-field", "field-hydration-failure"])
def test_a_missing_field_costs_no_account(kind: str) -> None:
    document = {"data": [USER], "errors": [missing(kind, USER["id"])]}
    assert read(task(X, "users", USER["id"]), document).sightings == ()
    assert len(landed(task(X, "users", USER["id"]), document).records) == 1


def test_who_is_not_spoken_of_is_unknown() -> None:
    reading = read(task(X, "users", USER["id"], "2"), {"data": [USER]})
    assert reading.sightings == (Sighting("2", AccountState.UNKNOWN, "not_in_answer"),)


@pytest.mark.parametrize("document", [{"errors": "x"}, {"errors": [7]}, {"data": [7]}, {"data": "x"}])
def test_shapes_that_make_no_sense(document: Any) -> None:
    assert read(task(X, "users", "1"), document).fate is Fate.RETRY


def test_posts_follow_for_public_accounts() -> None:
    private = {**USER, "id": "2", "protected": True}
    asked = task(X, "users", USER["id"], "2", params={"posts": "1", "since": "2026-01-01"})
    (posts,) = read(asked, {"data": [USER, private]}).follow_ups
    assert (posts.endpoint, posts.keys, posts.params["since"]) == ("user_posts", (USER["id"],), "2026-01-01")


def pages_after(**params: str) -> tuple[FetchTask, ...]:
    page = {"data": [POST], "meta": {"next_token": "n", "result_count": 1}}
    return read(task(X, "user_posts", "7", params=params), page).follow_ups


def test_a_refresh_buys_one_page_of_posts() -> None:
    assert pages_after() == ()
    assert pages_after(pages="2")[0].cursor == "n"
    assert pages_after(since="2026-01-01")[0].cursor == "n"


def test_a_stale_page_token_begins_the_list_anew_once() -> None:
    asked = task(X, "user_posts", "7", cursor="old")
    reading = read(asked, problem("invalid-request"), 400)
    assert (reading.fate, reading.follow_ups[0].cursor) == (Fate.DONE, "")
    assert read(task(X, "user_posts", "7", cursor="old", params=reading.follow_ups[0].params), problem("invalid-request"), 400).fate is Fate.SPLIT  # fmt: skip


def test_an_empty_list_of_posts_is_an_answer() -> None:
    assert read(task(X, "user_posts", "7"), {"meta": {"result_count": 0}}).fate is Fate.DONE


def test_a_user_lands() -> None:
    found = landed(task(X, "users", USER["id"]), {"data": [USER]})
    (payload,) = found.payloads
    assert found.reasons == []
    assert payload["platform_account_id"] == "1234567890123456789"
    assert payload["links"] == ["https://oat.example", "https://youtube.com/@oat"]
    assert (payload["website"], payload["content_count"], payload["account_state"]) == (
        "https://oat.example",
        "3",
        "active",
    )
    assert "country" not in payload


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"protected": True}, "private"),
        ({"withheld": {"country_codes": ["DE"], "scope": "user"}}, "suspended"),
        ({"withheld": {"country_codes": ["DE"]}}, "active"),
    ],
)
def test_states_of_users_that_are_there(change: dict[str, Any], state: str) -> None:
    found = landed(task(X, "users", USER["id"]), {"data": [{**USER, **change}]})
    assert [one["account_state"] for one in found.payloads] == [state]


def test_both_spellings_are_one() -> None:
    metrics = {
        ("tweet_count" if name == "post_count" else name): value for name, value in USER["public_metrics"].items()
    }
    (payload,) = landed(
        task(X, "users", "1"), {"data": {**USER, "public_metrics": metrics, "pinned_tweet_id": "1"}}
    ).payloads
    assert payload["content_count"] == "3"
    old = {
        ("retweet_count" if name == "repost_count" else name): value for name, value in POST["public_metrics"].items()
    }
    found = landed(task(X, "user_posts", "7"), {"data": [POST, {**POST, "id": "2", "public_metrics": old}]})
    assert [one["shares"] for one in found.payloads] == ["1", "1"]


def test_a_post_lands() -> None:
    found = landed(task(X, "user_posts", "7"), {"data": [POST], "meta": {}})
    (payload,) = found.payloads
    assert found.reasons == []
    assert (payload["account_id"], payload["tags"], payload["saves"]) == ("7", ["porridge"], "5")
    assert "language" not in payload


def test_a_new_field_is_kept_and_noted_once() -> None:
    strange = [{**USER, "id": key, "beta_insight": {"score": 0.5}} for key in ("1", "2")]
    found = landed(task(X, "users", "1", "2"), {"data": strange})
    assert found.reasons == [("unknown_header", "beta_insight")]
    assert len(found.records) == 2


def test_every_recorded_answer_is_read(real_data: Path) -> None:
    folder = api_folder(real_data, "x")
    seen = 0
    for name, document in calls(folder):
        is_posts = "tweets" in name or "timeline" in name
        asked = task(X, "user_posts" if is_posts else "users", "783214")
        assert read(asked, document).fate is Fate.DONE, name
        found = landed(asked, document)
        items = document["data"] if isinstance(document["data"], list) else [document["data"]]
        needed = "created_at" if is_posts else "public_metrics"
        whole = [one for one in items if needed in one and "public_metrics" in one]
        assert len(found.records) == len(whole), name
        assert all(one.get("platform_account_id") or one.get("account_id") for one in found.payloads), name
        assert {reason for reason, _ in found.reasons} <= {"missing_required_value"}, name
        seen += 1
    assert seen > 10


def calls(folder: Path) -> list[tuple[str, Any]]:
    """Recorded answers about users and of their posts."""
    fixtures = folder / "python-twitter" / "testdata" / "apis"
    found = [*recorded(fixtures, "user/*.json"), *recorded(fixtures, "timeline/*.json")]
    for name, tape in recorded(folder / "tweepy_responses", "test_*client_*.json"):
        known = [call for call in tape if USERS.search(call["uri"])]
        found += [(f"{name} {call['uri']}", call["response"]) for call in known]
    return found
