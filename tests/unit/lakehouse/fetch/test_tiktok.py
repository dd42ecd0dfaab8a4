"""TikTok: success by a code in the body, error codes of both APIs, cursors and dates, big ids, recorded examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_answers import TIKTOK_USER, TIKTOK_VIDEO, api_folder, connector, landed, read, sources, task, tiktok

from lakehouse.fetch.connector import BadKeyError
from lakehouse.fetch.task import AccountState, Fate, Sighting

DISPLAY, RESEARCH = "tiktok_display", "tiktok_research"
WINDOW = {"since": "2026-09-01", "until": "2026-10-01"}


def failure(code: str) -> dict[str, Any]:
    return {"data": {}, "error": {"code": code, "message": "No.", "log_id": "2026"}}


def test_the_research_source_ships_disabled_with_its_reason() -> None:
    source = sources()[RESEARCH]
    assert not source.is_enabled
    assert "non-profit" in source.note


@pytest.mark.parametrize(
    ("code", "status", "fate", "bucket"),
    [
        ("access_token_invalid", 401, Fate.DEAD, ""),
        ("scope_not_authorized", 401, Fate.DEAD, ""),
        ("scope_permission_missed", 401, Fate.DEAD, ""),
        ("invalid_params", 400, Fate.DEAD, ""),
        ("rate_limit_exceeded", 429, Fate.PARK, "user_info"),
        ("internal_error", 500, Fate.RETRY, ""),
        ("something_new", 503, Fate.RETRY, ""),
    ],
)
def test_codes_of_the_display_api(code: str, status: int, fate: Fate, bucket: str) -> None:
    asked = task(DISPLAY, "user_info", "oat")
    reading = read(asked, failure(code), status)
    assert (reading.fate, reading.bucket) == (fate, bucket)
    assert read(asked, failure(code)).fate is fate  # with status 200 too
    is_refused = code.startswith(("access", "scope"))
    assert reading.sightings == ((Sighting("oat", AccountState.INELIGIBLE, code),) if is_refused else ())


def test_a_minute_that_is_full_ends_in_a_minute() -> None:
    asked = task(DISPLAY, "video_list", "oat")
    assert read(asked, failure("rate_limit_exceeded"), 429).retry_after == 60.0
    assert read(asked, failure("rate_limit_exceeded"), 429, {"retry-after": "4"}).retry_after == 4.0


@pytest.mark.parametrize(
    ("code", "status", "fate", "bucket"),
    [
        ("access_token_invalid", 401, Fate.RETRY, ""),
        ("scope_not_authorized", 401, Fate.STOP, ""),
        ("rate_limit_exceeded", 429, Fate.PARK, "requests"),
        ("another_code", 429, Fate.PARK, "requests"),
        ("internal_error", 500, Fate.RETRY, ""),
        ("invalid_params", 400, Fate.DEAD, ""),
    ],
)
def test_codes_of_the_research_api(code: str, status: int, fate: Fate, bucket: str) -> None:
    reading = read(task(RESEARCH, "video_query", "oat", params=WINDOW), failure(code), status, {"retry-after": "1"})
    assert (reading.fate, reading.bucket) == (fate, bucket)
    if fate is Fate.PARK:
        assert reading.retry_after is None


def test_an_unknown_user_of_the_research_api_may_be_a_renamed_one() -> None:
    reading = read(task(RESEARCH, "user_info", "oat"), failure("invalid_params"), 400)
    assert (reading.fate, reading.sightings) == (
        Fate.DONE,
        (Sighting("oat", AccountState.UNKNOWN, "invalid_params"),),
    )  # fmt: skip


@pytest.mark.parametrize("document", [{"data": {}}, {"data": {}, "error": {}}, {"error": {"code": "odd"}}, [], {}])
def test_only_ok_is_success(document: Any) -> None:
    assert read(task(RESEARCH, "user_info", "oat"), document).fate is Fate.RETRY


def test_the_display_api_asks_for_the_user_of_the_credential() -> None:
    source, request = sources()[DISPLAY], connector(DISPLAY).request(task(DISPLAY, "user_info", "oat"))
    assert source.auth.per_key
    assert (request.method, request.url) == ("GET", "https://open.tiktokapis.com/v2/user/info/")
    assert "oat" not in str(request)


def test_the_research_api_asks_by_name() -> None:
    request = connector(RESEARCH).request(task(RESEARCH, "user_info", "oat"))
    assert (request.method, request.body) == ("POST", {"username": "oat"})
    with pytest.raises(BadKeyError):
        connector(RESEARCH).request(task(RESEARCH, "user_info", 'oat"'))


def test_a_query_of_videos_counts_its_last_day_in() -> None:
    body = connector(RESEARCH).request(task(RESEARCH, "video_query", "oat", params=WINDOW)).body
    condition = {"operation": "EQ", "field_name": "username", "field_values": ["oat"]}
    assert body == {
        "query": {"and": [condition]},
        "start_date": "20260901",
        "end_date": "20260930",
        "max_count": 100,
    }  # fmt: skip


def test_a_query_that_ends_within_a_day_counts_that_day_in() -> None:
    window = WINDOW | {"until": "2026-09-20T11:59:30Z"}
    body = connector(RESEARCH).request(task(RESEARCH, "video_query", "oat", params=window)).body
    assert body is not None
    assert (body["start_date"], body["end_date"]) == ("20260901", "20260920")


def test_a_page_names_the_search_that_it_continues() -> None:
    page = tiktok(videos=[TIKTOK_VIDEO], cursor=100, search_id="7201388525814961198", has_more=True)
    (following,) = read(task(RESEARCH, "video_query", "oat", params=WINDOW), page).follow_ups
    body = connector(RESEARCH).request(following).body or {}
    assert (body["cursor"], body["search_id"], body["start_date"]) == (100, "7201388525814961198", "20260901")


@pytest.mark.parametrize("more", [{"has_more": False}, {}])
def test_a_list_ends_when_there_is_no_more(more: dict[str, Any]) -> None:
    page = tiktok(videos=[TIKTOK_VIDEO], cursor=100, **more)
    assert not read(task(DISPLAY, "video_list", "oat", params={"since": "2026-01-01"}), page).follow_ups


def test_a_list_of_the_display_api_is_one_of_times() -> None:
    request = connector(DISPLAY).request(task(DISPLAY, "video_list", "oat", params=WINDOW))
    assert request.body == {"max_count": 20, "cursor": 1790812800000}
    page = tiktok(videos=[TIKTOK_VIDEO], cursor=1790000000000, has_more=True)
    (following,) = read(task(DISPLAY, "video_list", "oat", params=WINDOW), page).follow_ups
    assert (connector(DISPLAY).request(following).body or {})["cursor"] == 1790000000000
    late = {"since": "2026-09-22", "until": "2026-10-01"}
    assert not read(task(DISPLAY, "video_list", "oat", params=late), page).follow_ups
    assert not read(task(DISPLAY, "video_list", "oat"), page).follow_ups  # a refresh takes the newest page


def test_a_cursor_too_old_begins_the_list_anew_once() -> None:
    asked = task(DISPLAY, "video_list", "oat", cursor="7")
    (again,) = read(asked, failure("invalid_params"), 400).follow_ups
    assert again.cursor == ""
    assert read(task(DISPLAY, "video_list", "oat", cursor="7", params=again.params), failure("invalid_params"), 400).fate is Fate.DEAD  # fmt: skip


def test_posts_follow_where_they_are_wanted() -> None:
    user = tiktok(user=TIKTOK_USER)
    assert not read(task(DISPLAY, "user_info", "oat"), user).follow_ups
    (videos,) = read(task(DISPLAY, "user_info", "oat", params={"posts": "1"}), user).follow_ups
    assert (videos.endpoint, videos.keys) == ("video_list", ("oat",))
    research = tiktok(**TIKTOK_USER)
    assert not read(task(RESEARCH, "user_info", "oat", params={"posts": "1"}), research).follow_ups
    (query,) = read(task(RESEARCH, "user_info", "oat", params={"posts": "1", **WINDOW}), research).follow_ups
    assert query.endpoint == "video_query"


def test_users_land() -> None:
    for asked, document in (
        (task(DISPLAY, "user_info", "oat"), tiktok(user=TIKTOK_USER)),
        (task(RESEARCH, "user_info", "oat"), tiktok(**{n: v for n, v in TIKTOK_USER.items() if n != "username"})),
    ):
        found = landed(asked, document)
        (payload,) = found.payloads
        assert found.reasons == []
        assert (payload["handle"], payload["followers"], payload["likes"]) == ("oat", "10", "30")
        assert "platform_account_id" not in payload


@pytest.mark.parametrize("spelling", [7702874395068494965, "7702874395068494965"])
def test_ids_of_videos_keep_all_their_digits(spelling: Any) -> None:
    video = {**TIKTOK_VIDEO, "id": spelling}
    found = landed(task(DISPLAY, "video_list", "oat"), tiktok(videos=[video, video], has_more=False))
    (payload,) = found.payloads
    assert found.reasons == []
    assert (payload["post_id"], payload["handle"]) == ("7702874395068494965", "oat")
    assert payload["published_at"] == "2026-09-21T14:13:20Z"


@pytest.mark.parametrize(
    ("example", "endpoint", "records"),
    [("example_resp_q_user", "user_info", 1), ("example_resp_q_videos", "video_query", 1)],
)
def test_recorded_examples_land(real_data: Path, example: str, endpoint: str, records: int) -> None:
    document = json.loads((api_folder(real_data, "tiktok") / f"{example}.json").read_bytes())
    asked = task(RESEARCH, endpoint, "oat", params=WINDOW)
    found = landed(asked, document)
    assert read(asked, document).fate is Fate.DONE
    assert (len(found.records), found.reasons) == (records, [])
    assert found.payloads[0]["handle"] == "oat"


def test_the_recorded_request_has_the_shape_of_ours(real_data: Path) -> None:
    theirs = json.loads((api_folder(real_data, "tiktok") / "example_request.json").read_bytes())
    ours = connector(RESEARCH).request(task(RESEARCH, "video_query", "oat", params=WINDOW)).body or {}
    assert ours.keys() <= theirs.keys()
    assert ours["query"]["and"][0].keys() == theirs["query"]["and"][0].keys()
