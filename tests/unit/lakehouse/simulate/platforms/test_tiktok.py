"""TikTok: the envelope, consent, scopes, big numbers, two kinds of limits."""

import json

import pytest

from lakehouse.simulate.platforms.drift import Drift
from lakehouse.simulate.platforms.quotas import Quotas
from lakehouse.simulate.platforms.registry import Status
from lakehouse.simulate.platforms.tiktok_items import DISPLAY_USER_FIELDS, RESEARCH_USER_FIELDS

DAYS = {"start_date": "20260601", "end_date": "20260630"}


def code(response) -> str:
    error = response.json()["error"]
    assert error["log_id"].startswith("2026")
    return error["code"]


def of_user(state, **more):
    condition = {"operation": "EQ", "field_name": "username", "field_values": [state.handle]}
    return {"query": {"and": [condition]}, **DAYS, **more}


def test_display_shows_the_user_whom_the_token_names(lab):
    state = lab.states("tiktok")[0]
    response = lab.display(state, "user/info/", ",".join(DISPLAY_USER_FIELDS))
    user = response.json()["data"]["user"]
    assert code(response) == "ok"
    assert set(user) == set(DISPLAY_USER_FIELDS)
    assert (user["username"], user["follower_count"], user["video_count"]) == (
        state.handle, state.followers, state.posts_count,
    )  # fmt: skip
    assert user["bio_description"] == state.bio
    assert user["open_id"] != user["union_id"]


def test_only_the_fields_asked_for(lab):
    user = lab.display(lab.states("tiktok")[0], "user/info/", "open_id,username").json()["data"]["user"]
    assert set(user) == {"open_id", "username"}


@pytest.mark.parametrize(
    ("fields", "scopes", "status", "expected"),
    [
        ("", "", 400, "invalid_params"),
        ("shoe_size", "", 400, "invalid_params"),
        ("follower_count", "~basic", 401, "scope_not_authorized"),
        ("display_name", "~basic", 200, "ok"),
        ("display_name,username,follower_count", "~basic+profile+stats", 200, "ok"),
    ],
)
def test_scopes_and_fields(lab, fields, scopes, status, expected):
    response = lab.display(lab.states("tiktok")[0], "user/info/", fields, scopes)
    assert (response.status_code, code(response)) == (status, expected)


def test_consent_ends_with_the_account_or_when_it_is_taken_back(start):
    lab = start(life=True, days=40)
    states = lab.states("tiktok")
    revoked = next(s for s in states if s.profile.revoked_at <= lab.now and not s.is_gone)
    for state in (revoked, next(s for s in states if s.is_gone)):
        response = lab.display(state, "user/info/", "open_id")
        assert (response.status_code, code(response)) == (401, "access_token_invalid")
    kept = next(s for s in states if s.profile.revoked_at > lab.now and not s.is_gone)
    assert code(lab.display(kept, "user/info/", "open_id")) == "ok"


def test_videos_page_through_with_one_that_comes_twice(start):
    lab = start(days=30)
    state = max(lab.states("tiktok"), key=lambda s: s.profile.later_posts(lab.now))
    body, found, raw = {"max_count": 4}, [], ""
    while True:
        response = lab.display(state, "video/list/", "id,create_time,view_count,title", body=body)
        data, raw = response.json()["data"], response.text
        found += [video["id"] for video in data["videos"]]
        if not data["has_more"]:
            break
        body = {"max_count": 4, "cursor": data["cursor"]}
    posts = lab.emulator.timelines["tiktok"].of(state.profile, lab.now)
    assert list(dict.fromkeys(found)) == [int(post.post_id) for post in posts]
    assert len(found) > len(posts)
    assert all(isinstance(one, int) and one > 1 << 53 for one in found)
    assert json.loads(raw, parse_int=float)["data"]["videos"][0]["id"] not in {str(one) for one in found}


def test_display_allows_so_many_requests_within_a_sliding_minute(start):
    lab = start(quotas=Quotas(tiktok_display_per_minute=3))
    state = lab.states("tiktok")[0]
    for passed, expected in (
        (0, "ok"),
        (30, "ok"),
        (0, "ok"),
        (0, "rate_limit_exceeded"),
        (30, "ok"),
        (0, "rate_limit_exceeded"),
    ):
        lab.advance(passed)
        assert code(lab.display(state, "user/info/", "open_id")) == expected
    assert code(lab.display(state, "video/list/", "id", body={})) == "ok"


def test_research_needs_a_client_token_that_lives_two_hours(lab):
    state = next(s for s in lab.states("tiktok") if s.status == Status.ACTIVE)
    token = lab.research_token()
    ask = {"path": "user/info/", "fields": "follower_count", "body": {"username": state.handle}}
    assert lab.research(**ask, token=token).json()["data"]["follower_count"] == state.followers
    lab.advance(7_199)
    assert code(lab.research(**ask, token=token)) == "ok"
    lab.advance(1)
    expired = lab.research(**ask, token=token)
    assert (expired.status_code, code(expired)) == (401, "access_token_invalid")
    assert code(lab.research(**ask, token=token[:-1] + "x")) == "access_token_invalid"
    assert code(lab.research(**ask, token="act.1")) == "access_token_invalid"


@pytest.mark.parametrize("form", [{}, {"grant_type": "client_credentials", "client_key": "x", "client_secret": "y"}])
def test_tokens_are_given_to_known_clients_only(lab, form):
    response = lab.http.post("/v2/oauth/token/", data=form)
    assert response.status_code == 400
    assert {"error", "error_description", "log_id"} == set(response.json())


def test_research_users_have_no_id_and_a_renamed_one_is_gone(start):
    lab = start(life=True, days=40)
    states = lab.states("tiktok")
    state = next(s for s in states if s.status == Status.ACTIVE and s.handle != s.profile.handle)
    data = lab.research("user/info/", ",".join(RESEARCH_USER_FIELDS), {"username": state.handle}).json()["data"]
    assert set(data) <= set(RESEARCH_USER_FIELDS)
    book = lab.emulator.registry.book("tiktok")
    free = next(s for s in states if book.row_of_handle(s.profile.handle, lab.now) is None)
    private = next(s for s in states if s.status == Status.PRIVATE)
    for name in (free.profile.handle, private.handle, "nobody.at.all"):
        response = lab.research("user/info/", "display_name", {"username": name})
        assert (response.status_code, code(response)) == (400, "invalid_params")
        assert response.json()["error"]["message"] == "User not found"


def test_research_counts_requests_and_records_of_a_utc_day(start):
    lab = start(quotas=Quotas(tiktok_research_requests_per_day=4, tiktok_research_records_per_day=7))
    state = next(s for s in lab.states("tiktok") if s.status == Status.ACTIVE and 4 <= len(videos_of(lab, s)) <= 6)
    ask = ("user/info/", "display_name", {"username": state.handle})
    assert [lab.research(*ask).status_code for _ in range(5)] == [200, 200, 200, 200, 429]
    lab.at(2026, 6, 30, 23, 59, 59)
    assert lab.research(*ask).status_code == 429
    lab.at(2026, 7, 1)
    asked = [lab.research("video/query/", "id", of_user(state, max_count=100)) for _ in range(3)]
    assert [response.status_code for response in asked] == [200, 200, 429]


def test_research_queries_page_with_a_search_id(lab):
    state = max((s for s in lab.states("tiktok") if s.status == Status.ACTIVE), key=lambda s: len(videos_of(lab, s)))
    found, more = [], {}
    while more is not None:
        data = lab.research("video/query/", "id,username,create_time", of_user(state, max_count=3, **more)).json()[
            "data"
        ]
        found += [video["id"] for video in data["videos"]]
        more = {"cursor": data["cursor"], "search_id": data["search_id"]} if data["has_more"] else None
    assert list(dict.fromkeys(found)) == [int(post.post_id) for post in videos_of(lab, state)]
    assert len(found) > len(set(found))
    foreign = lab.research("video/query/", "id", of_user(state, search_id="7", cursor=3))
    assert code(foreign) == "invalid_params"


def videos_of(lab, state):
    start = 1_780_272_000  # 2026-06-01, unix seconds
    return [post for post in lab.emulator.timelines["tiktok"].of(state.profile, lab.now) if post.published >= start]


def test_research_conditions_narrow_the_videos(lab):
    body = {
        "query": {"and": [{"operation": "IN", "field_name": "region_code", "field_values": ["BR", "US"]}]},
        **DAYS,
        "max_count": 100,
    }
    regions = lab.research("video/query/", "id,region_code", body).json()["data"]["videos"]
    assert {video["region_code"] for video in regions} <= {"BR", "US"}
    body["query"]["not"] = [{"operation": "EQ", "field_name": "region_code", "field_values": ["US"]}]
    rest = lab.research("video/query/", "id,region_code", body).json()["data"]["videos"]
    assert {video["region_code"] for video in rest} == {"BR"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": {}, **DAYS},
        {"query": {"xor": []}, **DAYS},
        {"query": {"and": []}, "start_date": "20260501", "end_date": "20260630"},
        {"query": {"and": []}, "start_date": "June", "end_date": "20260630"},
        {"query": {"and": [{"operation": "LIKE", "field_name": "username", "field_values": ["a"]}]}, **DAYS},
        {"query": {"and": []}, **DAYS, "max_count": 101},
        {"query": {"and": []}, **DAYS, "colour": "red"},
        {"query": {"and": ["username"]}, **DAYS},
        {"query": {"and": [{"operation": "EQ", "field_name": "username", "field_values": []}]}, **DAYS},
        {"query": {"and": [{"operation": "EQ", "field_name": "username", "field_values": "a"}]}, **DAYS},
    ],
)
def test_research_refuses_what_is_no_query(lab, body):
    assert code(lab.research("video/query/", "id", body)) == "invalid_params"


@pytest.mark.parametrize(
    ("operation", "field_name", "value", "holds"),
    [
        ("GTE", "create_date", "20260615", lambda video: video["create_time"] >= 1_781_481_600),
        ("LT", "create_date", "20260615", lambda video: video["create_time"] < 1_781_481_600),
        ("EQ", "video_length", "SHORT", lambda video: video["video_duration"] <= 15),
        ("EQ", "keyword", "update", lambda video: "update" in video["video_description"]),
    ],
)
def test_research_compares_dates_lengths_and_words(lab, operation, field_name, value, holds):
    condition = {"operation": operation, "field_name": field_name, "field_values": [value]}
    body = {"query": {"or": [condition]}, **DAYS, "max_count": 100}
    fields = "id,create_time,video_duration,video_description"
    videos = lab.research("video/query/", fields, body).json()["data"]["videos"]
    assert videos
    assert all(map(holds, videos))


def test_a_page_of_one_comes_to_an_end(lab):
    state = next(s for s in lab.states("tiktok") if s.status == Status.ACTIVE and s.profile.content)
    body, found = {"max_count": 1}, []
    while len(found) < 40:
        data = lab.display(state, "video/list/", "id", body=body).json()["data"]
        found += [video["id"] for video in data["videos"]]
        if not data["has_more"]:
            break
        body = {"max_count": 1, "cursor": data["cursor"]}
    assert found == [int(post.post_id) for post in lab.emulator.timelines["tiktok"].of(state.profile, lab.now)]


def test_ids_can_drift_to_strings(lab):
    lab.emulator.drift = Drift(tiktok_text_ids=True)
    state = next(s for s in lab.states("tiktok") if s.status == Status.ACTIVE and s.profile.content)
    videos = lab.display(state, "video/list/", "id", body={}).json()["data"]["videos"]
    assert all(isinstance(video["id"], str) for video in videos)


def test_unknown_parameters_bodies_and_paths_are_refused(lab):
    state = lab.states("tiktok")[0]
    headers = {"Authorization": f"Bearer act.{state.platform_id}"}
    assert lab.http.get("/v2/user/info/?fields=open_id&colour=red", headers=headers).status_code == 400
    assert code(lab.display(state, "video/list/", "id", body={"max_count": 21})) == "invalid_params"
    assert code(lab.display(state, "video/list/", "id", body={"colour": 1})) == "invalid_params"
    assert lab.http.get("/v2/user/elsewhere/", headers=headers).status_code == 404
    assert lab.http.get("/v2/user/info/?fields=open_id").status_code == 401
