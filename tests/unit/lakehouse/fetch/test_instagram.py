"""Instagram: the field expression, codes, usage in percent, media without a name, recorded answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_answers import DISCOVERED, MEDIUM, api_folder, connector, discovery, landed, read, recorded, task

from lakehouse.fetch.connector import BadKeyError
from lakehouse.fetch.task import AccountState, Fate, Sighting

IG = "instagram_graph"
THROTTLES = (4, 17, 32, 613, *range(80001, 80015))


def error(code: int, subcode: int = 0) -> dict[str, Any]:
    fields = {"message": "No.", "type": "OAuthException", "code": code, "fbtrace_id": "A"}
    return {"error": fields | ({"error_subcode": subcode} if subcode else {})}


def test_the_request_has_no_token_and_names_our_account_by_a_placeholder() -> None:
    request = connector(IG).request(task(IG, "business_discovery", "oat.milk"))
    assert request.url == "https://graph.facebook.com/v25.0/{account}"
    assert request.params.keys() == {"fields"}
    assert request.params["fields"].startswith("business_discovery.username(oat.milk){id,ig_id,username,")
    assert "media." not in request.params["fields"]


def test_media_come_where_they_are_wanted() -> None:
    with_posts = connector(IG).request(task(IG, "business_discovery", "oat", params={"posts": "1"})).params["fields"]
    assert ",media.limit(50){id,caption," in with_posts
    assert "media_url" not in with_posts  # signed, short-lived
    page = connector(IG).request(task(IG, "media", "oat", cursor="QVF")).params["fields"]
    assert page.startswith("business_discovery.username(oat){id,ig_id,username,media.after(QVF).limit(50){")


@pytest.mark.parametrize("key", ["oat){id}", "oat milk", "", "a" * 31])
def test_a_key_cannot_change_the_expression(key: str) -> None:
    with pytest.raises(BadKeyError):
        connector(IG).request(task(IG, "business_discovery", key))


@pytest.mark.parametrize("code", THROTTLES)
def test_throttles_close_the_bucket(code: int) -> None:
    reading = read(task(IG, "business_discovery", "oat"), error(code), 400)
    assert (reading.fate, reading.bucket, reading.retry_after) == (Fate.PARK, "calls", 3600.0)


def test_a_throttle_may_say_how_long() -> None:
    usage = {"17841400000000001": [{"type": "instagram", "call_count": 120, "estimated_time_to_regain_access": 19}]}
    headers = {"x-business-use-case-usage": json.dumps(usage)}
    assert read(task(IG, "business_discovery", "oat"), error(80002), 400, headers).retry_after == 19 * 60.0


@pytest.mark.parametrize(
    ("code", "subcode", "status", "fate"),
    [
        (10, 0, 403, Fate.STOP),
        (190, 463, 401, Fate.STOP),
        (100, 0, 400, Fate.DEAD),
        (1, 0, 500, Fate.RETRY),
        (2, 0, 503, Fate.RETRY),
        (2, 0, 200, Fate.RETRY),
        (9999, 0, 400, Fate.DEAD),
        (9999, 0, 500, Fate.RETRY),
    ],
)
def test_codes(code: int, subcode: int, status: int, fate: Fate) -> None:
    reading = read(task(IG, "business_discovery", "oat"), error(code, subcode), status)
    assert (reading.fate, reading.sightings) == (fate, ())


@pytest.mark.parametrize(("code", "subcode"), [(100, 2207013), (110, 2207013), (110, 0)])
def test_who_cannot_be_discovered_is_ineligible(code: int, subcode: int) -> None:
    reading = read(task(IG, "business_discovery", "oat"), error(code, subcode), 400)
    assert reading.fate is Fate.DONE
    assert [(one.key, one.state) for one in reading.sightings] == [("oat", AccountState.INELIGIBLE)]
    assert isinstance(reading.sightings[0], Sighting)


@pytest.mark.parametrize(("percent", "bucket"), [(79, ""), (80, "calls"), (100, "calls")])
@pytest.mark.parametrize("name", ["call_count", "total_time", "total_cputime"])
def test_calls_pause_near_the_limit(percent: int, bucket: str, name: str) -> None:
    worst = {"call_count": 1, "total_time": 1, "total_cputime": 1, name: percent}
    for headers in ({"x-app-usage": json.dumps(worst)}, {"x-business-use-case-usage": json.dumps({"1": [worst]})}):
        reading = read(task(IG, "business_discovery", "oat"), discovery(), 200, headers)
        assert (reading.fate, reading.bucket) == (Fate.DONE, bucket)


@pytest.mark.parametrize("header", ["", "soon", "[]", "{}", '{"1": 2}', '{"call_count": "many"}'])
def test_odd_usage_headers_do_no_harm(header: str) -> None:
    headers = {"x-app-usage": header, "x-business-use-case-usage": header}
    assert read(task(IG, "business_discovery", "oat"), discovery(), 200, headers).bucket == ""


@pytest.mark.parametrize(
    "document", [{}, {"id": "1"}, {"business_discovery": "x", "id": "1"}, {"business_discovery": None}]
)
def test_answers_that_make_no_sense(document: Any) -> None:
    reading = read(task(IG, "business_discovery", "oat"), document)
    assert reading.follow_ups == ()
    assert landed(task(IG, "business_discovery", "oat"), document).records == []


def test_profile_and_media_land_from_one_answer() -> None:
    found = landed(task(IG, "business_discovery", "oat", params={"posts": "1"}), discovery(MEDIUM, MEDIUM))
    profile, medium = found.payloads
    assert found.reasons == []
    assert (profile["platform_account_id"], profile["followers"], profile["website"]) == (
        "123456789",
        "10",
        "https://oat.example",
    )  # fmt: skip
    assert (medium["account_id"], medium["handle"], medium["post_id"]) == ("123456789", "oat", "17900000000000001")
    assert medium["published_at"] == "2026-10-01T10:00:00Z"


def test_hidden_likes_are_none() -> None:
    hidden = {name: value for name, value in MEDIUM.items() if name != "like_count"}
    found = landed(task(IG, "media", "oat"), discovery(hidden))
    assert found.reasons == []
    assert "likes" not in found.payloads[0]


def test_without_the_older_number_the_id_of_the_graph_api_counts() -> None:
    profile = {name: value for name, value in DISCOVERED.items() if name != "ig_id"}
    found = landed(task(IG, "business_discovery", "oat"), discovery(**profile))
    assert found.payloads[0]["platform_account_id"] == "17841400000000002"


def test_pages_of_media() -> None:
    page = discovery(MEDIUM, after="QVF")
    assert read(task(IG, "business_discovery", "oat", params={"posts": "1"}), page).follow_ups == ()
    (following,) = read(task(IG, "business_discovery", "oat", params={"posts": "1", "pages": "2"}), page).follow_ups
    assert (following.endpoint, following.cursor, following.params["pages"]) == ("media", "QVF", "1")
    assert read(task(IG, "media", "oat", params={"since": "2026-09-01"}), page).follow_ups[0].cursor == "QVF"
    assert not read(task(IG, "media", "oat", params={"since": "2026-10-02"}), page).follow_ups
    assert not read(task(IG, "media", "oat", params={"since": "2026-09-01"}), discovery(MEDIUM)).follow_ups


def test_a_cursor_too_old_begins_the_list_anew_once() -> None:
    asked = task(IG, "media", "oat", cursor="old")
    (again,) = read(asked, error(100), 400).follow_ups
    assert (again.cursor, again.endpoint) == ("", "media")
    assert read(task(IG, "media", "oat", cursor="old", params=again.params), error(100), 400).fate is Fate.DEAD


def test_every_recorded_discovery_lands(real_data: Path) -> None:
    folder = api_folder(real_data, "instagram") / "python-facebook" / "testdata"
    seen = 0
    for name, document in recorded(folder):
        asked = task(IG, "media", "facebookfordevelopers")
        reading = read(asked, document)
        if not isinstance(document, dict) or "business_discovery" not in document:
            assert reading.fate in {Fate.RETRY, Fate.DEAD}, name
            assert not reading.sightings, name
            continue
        seen += 1
        media = document["business_discovery"].get("media", {"data": []})["data"]
        found = landed(asked, document)
        assert (len(found.records), found.reasons) == (len(media), []), name
        if not media:
            (profile,) = landed(task(IG, "business_discovery", "facebookfordevelopers"), document).payloads
            assert profile["platform_account_id"] == document["business_discovery"]["id"]
    assert seen >= 5


def test_recorded_errors(real_data: Path) -> None:
    folder = api_folder(real_data, "instagram") / "python-facebook" / "testdata"
    for name in ("error.json", "base/error_data.json"):
        document = json.loads((folder / name).read_bytes())
        assert read(task(IG, "business_discovery", "oat"), document, 400).fate is Fate.DEAD
