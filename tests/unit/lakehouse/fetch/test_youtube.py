"""YouTube: requests as the discovery document allows them, the table of reasons, lists, and recorded answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_answers import CHANNEL, VIDEO, api_folder, connector, landed, read, recorded, sources, task, youtube

from lakehouse.errors import PermanentError
from lakehouse.fetch.connector import BadKeyError
from lakehouse.fetch.task import AccountState, Fate, FetchTask, Priority, Sighting

YT = "youtube_api"
IDS = tuple(f"UC{number:022d}" for number in range(50))
KINDS = {
    "youtube#channelListResponse": "channels",
    "youtube#videoListResponse": "videos",
    "youtube#playlistItemListResponse": "playlist_items",
    "youtube#searchListResponse": "search",
}


def error(reason: str, code: int = 403) -> dict[str, Any]:
    message = {"domain": "youtube.quota", "reason": reason, "message": "No."}
    return {"error": {"code": code, "message": "No.", "errors": [message], "status": "X"}}


def item(video_id: str, published: str) -> dict[str, Any]:
    return {"id": "x", "contentDetails": {"videoId": video_id, "videoPublishedAt": published}}


def test_the_key_is_none_of_our_business() -> None:
    request = connector(YT).request(task(YT, "channels", *IDS))
    assert request.url == "https://www.googleapis.com/youtube/v3/channels"
    assert request.params["id"] == ",".join(IDS)
    assert request.params["maxResults"] == "50"
    assert "key" not in request.params
    found = connector(YT).request(task(YT, "search", "oat", params={"country": "DE"})).params
    assert found["regionCode"] == "DE"
    assert "relevanceLanguage" not in found
    assert not request.headers


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ((*IDS, "UC" + "a" * 22), PermanentError),
        (("UCshort",), BadKeyError),
        (("UC" + "a" * 21 + ",",), BadKeyError),
        ((), PermanentError),
    ],
)
def test_keys_that_fail_a_batch_are_refused_before(keys: tuple[str, ...], wrong: type[Exception]) -> None:
    with pytest.raises(wrong):
        connector(YT).request(task(YT, "channels", *keys))


@pytest.mark.parametrize(
    ("endpoint", "keys", "params"),
    [
        ("channels", IDS, {}),
        ("channels_by_handle", ("@oat",), {}),
        ("playlist_items", (IDS[0],), {"since": "2026-01-01"}),
        ("videos", ("aaaaaaaaaaa",), {}),
        ("search", ("oat milk",), {"country": "DE", "language": "de"}),
    ],
)
def test_requests_keep_to_the_discovery_document(
    real_data: Path, endpoint: str, keys: tuple[str, ...], params: dict[str, str]
) -> None:
    document = json.loads((api_folder(real_data, "youtube") / "youtube.v3.json").read_bytes())
    request = connector(YT).request(
        task(YT, endpoint, *keys, cursor="t" if endpoint == "search" else "", params=params)
    )
    method = document["resources"][request.url.rsplit("/", 1)[-1]]["methods"]["list"]
    assert request.url == document["baseUrl"].replace("youtube.googleapis", "www.googleapis") + method["path"]
    assert request.params.keys() <= method["parameters"].keys()
    if "maxResults" in request.params:
        most = method["parameters"]["maxResults"]
        assert int(most["minimum"]) <= int(request.params["maxResults"]) <= int(most["maximum"])
    known = {name.split(".", 1)[-1] for name in document["schemas"]["Channel"]["properties"]}
    if endpoint.startswith("channels"):
        assert set(request.params["part"].split(",")) <= known


def test_a_list_of_uploads_may_be_named_by_its_channel() -> None:
    by_channel = connector(YT).request(task(YT, "playlist_items", "UC" + "a" * 22))
    by_list = connector(YT).request(task(YT, "playlist_items", "UU" + "a" * 22))
    assert by_channel == by_list
    assert by_channel.params["playlistId"] == "UU" + "a" * 22


@pytest.mark.parametrize(
    ("reason", "status", "fate", "bucket"),
    [
        ("quotaExceeded", 403, Fate.PARK, "units"),
        ("dailyLimitExceeded", 403, Fate.PARK, "units"),
        ("rateLimitExceeded", 403, Fate.RETRY, ""),
        ("rateLimitExceeded", 429, Fate.RETRY, ""),
        ("keyInvalid", 400, Fate.STOP, ""),
        ("forbidden", 403, Fate.STOP, ""),
        ("newReason", 403, Fate.STOP, ""),
        ("incompatibleParameters", 400, Fate.STOP, ""),
        ("invalidFilters", 400, Fate.STOP, ""),
        ("missingRequiredParameter", 400, Fate.STOP, ""),
        ("unexpectedParameter", 400, Fate.STOP, ""),
        ("newReason", 400, Fate.DEAD, ""),
        ("backendError", 500, Fate.RETRY, ""),
        ("newReason", 503, Fate.RETRY, ""),
    ],
)
def test_reasons(reason: str, status: int, fate: Fate, bucket: str) -> None:
    reading = read(task(YT, "channels", *IDS), error(reason, status), status)
    assert (reading.fate, reading.bucket) == (fate, bucket)
    assert not reading.sightings


@pytest.mark.parametrize("reason", ["quotaExceeded", "keyInvalid", "backendError"])
def test_an_error_with_status_200_is_one(reason: str) -> None:
    asked = task(YT, "channels", *IDS)
    status = {"quotaExceeded": 403, "keyInvalid": 400, "backendError": 500}[reason]
    assert read(asked, error(reason)) == read(asked, error(reason), status)


def test_a_spent_day_lasts_until_its_reset_whatever_the_answer_says() -> None:
    reading = read(task(YT, "search", "oat"), error("quotaExceeded"), 403, {"retry-after": "1"})
    assert (reading.fate, reading.bucket, reading.retry_after) == (Fate.PARK, "search", None)


def test_a_throttled_key_may_be_told_when() -> None:
    reading = read(task(YT, "channels", *IDS), error("rateLimitExceeded"), 429, {"retry-after": "9"})
    assert reading.retry_after == 9.0


@pytest.mark.parametrize("document", [{}, {"error": "text"}, {"items": []}, [], {"kind": "youtube#x", "items": ["a"]}])
def test_no_account_is_missing_from_an_answer_that_is_none(document: Any) -> None:
    reading = read(task(YT, "channels", *IDS), document)
    assert (reading.fate, reading.sightings) == (Fate.RETRY, ())


def test_unknown_ids_are_missing_without_a_word() -> None:
    reading = read(task(YT, "channels", CHANNEL["id"], IDS[1]), youtube(CHANNEL))
    assert reading.rows == 1
    assert reading.sightings == (Sighting(IDS[1], AccountState.DELETED, "not_in_answer"),)
    assert len(read(task(YT, "channels", *IDS), youtube()).sightings) == len(IDS)


def test_an_unknown_handle_may_be_a_renamed_one() -> None:
    asked = task(YT, "channels_by_handle", "Oat")
    assert read(asked, youtube()).sightings == (Sighting("Oat", AccountState.UNKNOWN, "not_in_answer"),)
    legacy = {**CHANNEL, "snippet": {**CHANNEL["snippet"], "customUrl": "oatlegacy"}}
    assert not read(asked, youtube(legacy)).sightings


def test_a_list_that_is_gone_says_nothing_of_its_channel() -> None:
    reading = read(task(YT, "playlist_items", "UU" + "a" * 22), error("playlistNotFound", 404), 404)
    assert (reading.fate, reading.sightings) == (Fate.DONE, ())


def test_a_stale_page_token_begins_the_list_anew_once() -> None:
    first = task(YT, "playlist_items", "UU" + "a" * 22, cursor="old", params={"since": "2026-01-01"})
    reading = read(first, error("invalidPageToken", 400), 400)
    (again,) = reading.follow_ups
    assert (reading.fate, again.cursor, again.keys) == (Fate.DONE, "", first.keys)
    later = task(YT, "playlist_items", *again.keys, cursor="old", params=again.params)
    assert read(later, error("invalidPageToken", 400), 400).fate is Fate.DEAD


def test_posts_follow_where_they_are_wanted() -> None:
    assert not read(task(YT, "channels", CHANNEL["id"]), youtube(CHANNEL)).follow_ups
    wanted = task(YT, "channels", CHANNEL["id"], params={"posts": "1"}, cycle="c", priority=Priority.LIVE)
    (uploads,) = read(wanted, youtube(CHANNEL)).follow_ups
    assert (uploads.endpoint, uploads.keys, uploads.cycle) == ("playlist_items", ("UU" + "a" * 22,), "c")
    assert uploads.priority is Priority.FOLLOW_UP


def uploads_of(document: Any, **more: Any) -> tuple[FetchTask, ...]:
    return read(task(YT, "playlist_items", "UU" + "a" * 22, **more), document).follow_ups


def test_videos_of_a_list_follow_and_a_refresh_ends_with_the_first_page() -> None:
    page = youtube(item("a" * 11, "2026-02-01T00:00:00Z"), item("b" * 11, "2026-01-01T00:00:00Z"), nextPageToken="n")
    (videos,) = uploads_of(page)
    assert (videos.endpoint, videos.keys) == ("videos", ("a" * 11, "b" * 11))


def test_pages_are_counted_down() -> None:
    page = youtube(item("a" * 11, "2026-02-01T00:00:00Z"), nextPageToken="n")
    _, following = uploads_of(page, params={"pages": "3"}, priority=Priority.BACKFILL)
    assert (following.cursor, following.params["pages"], following.priority) == ("n", "2", Priority.BACKFILL)
    assert len(uploads_of(page, params={"pages": "1"})) == 1
    assert len(uploads_of(page, params={"pages": "0"})) == 2
    assert len(uploads_of(page, params={"pages": "3"}, cursor="n")) == 1  # a token that leads to itself


def test_a_list_with_a_time_ends_at_the_first_older_video() -> None:
    page = youtube(
        item("a" * 11, "2026-03-05T00:00:00Z"), item("b" * 11, "2026-02-05T00:00:00Z"), nextPageToken="n"
    )  # fmt: skip
    older = youtube(item("c" * 11, "2026-01-31T23:59:59Z"), nextPageToken="n")
    window = {"since": "2026-02-01", "until": "2026-03-01"}
    videos, following = uploads_of(page, params=window)
    assert (videos.keys, following.cursor) == (("b" * 11,), "n")
    assert uploads_of(older, params=window) == ()


def test_channels_of_a_search_are_looked_up() -> None:
    found = [{"id": {"channelId": key}, "snippet": {"channelId": key}} for key in (*IDS[:3], IDS[0])]
    (lookup,) = read(task(YT, "search", "oat"), youtube(*found)).follow_ups
    assert (lookup.endpoint, lookup.keys) == ("channels", IDS[:3])
    assert landed(task(YT, "search", "oat"), youtube(*found)).records == []


def test_a_channel_lands() -> None:
    found = landed(task(YT, "channels", CHANNEL["id"]), youtube(CHANNEL, CHANNEL))
    (payload,) = found.payloads
    assert found.reasons == []
    assert payload["platform_account_id"] == CHANNEL["id"]
    assert (payload["followers"], payload["views"]) == ("12300", "90071992547409931")
    assert (payload["handle"], payload["account_state"]) == ("@oat", "active")


@pytest.mark.parametrize("count", [{"subscriberCount": "0"}, {}])
def test_a_hidden_count_is_none(count: dict[str, str]) -> None:
    hidden = {"viewCount": "9", "videoCount": "7", "hiddenSubscriberCount": True, **count}
    (payload,) = landed(task(YT, "channels", CHANNEL["id"]), youtube({**CHANNEL, "statistics": hidden})).payloads
    assert "followers" not in payload


def test_a_video_lands() -> None:
    found = landed(task(YT, "videos", VIDEO["id"]), youtube(VIDEO))
    (payload,) = found.payloads
    assert found.reasons == []
    assert (payload["account_id"], payload["views"], payload["category"]) == (
        "UC" + "a" * 22,
        "10",
        "Howto & Style",
    )  # fmt: skip
    assert "likes" not in payload


def test_every_recorded_answer_is_read(real_data: Path) -> None:
    folder = api_folder(real_data, "youtube") / "python-youtube" / "testdata"
    seen = 0
    for name, document in recorded(folder):
        endpoint = KINDS.get(document.get("kind"), "channels") if isinstance(document, dict) else "channels"
        asked = task(YT, endpoint, "UC" + "a" * 22)
        reading = read(asked, document)
        assert isinstance(reading.fate, Fate), name
        if isinstance(document, dict) and document.get("kind") in KINDS:
            seen += 1
            assert (reading.fate, reading.rows) == (Fate.DONE, len(document["items"])), name
            if sources()[YT].endpoints[endpoint].layout:
                check_recorded(asked, document, name)
            else:
                assert reading.follow_ups or endpoint == "playlist_items", name
    assert seen > 20


def check_recorded(asked: FetchTask, document: Any, name: str) -> None:
    """Every item lands with an account key; one that was recorded with fewer parts than we ask for is stopped for that."""
    found = landed(asked, document)
    needed = {"snippet", "statistics"} if asked.endpoint == "channels" else {"snippet"}
    whole = [one for one in document["items"] if needed <= one.keys()]
    assert len(found.records) == len(whole), name
    assert all(one.get("platform_account_id") or one.get("account_id") for one in found.payloads), name
    assert {reason for reason, _ in found.reasons} <= {"missing_required_value"}, name


def test_recorded_errors(real_data: Path) -> None:
    folder = api_folder(real_data, "youtube") / "python-youtube" / "testdata"
    invalid, bare = (
        json.loads((folder / f"{name}.json").read_bytes()) for name in ("error_response", "error_response_simple")
    )
    denied = json.loads((folder / "apidata" / "error_permission_resp.json").read_bytes())
    asked = task(YT, "channels", *IDS)
    assert read(asked, invalid, 400).fate is Fate.STOP
    assert read(asked, bare, 200).fate is Fate.RETRY
    assert read(asked, denied, 403).fate is Fate.RETRY
