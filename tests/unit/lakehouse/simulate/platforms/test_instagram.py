"""Instagram's business discovery: fields, media pages, who cannot be discovered, throttling."""

import json
import re

import pytest

from lakehouse.simulate.platforms.drift import Drift
from lakehouse.simulate.platforms.graph_fields import FieldsError, parse_fields
from lakehouse.simulate.platforms.instagram import is_discoverable
from lakehouse.simulate.platforms.instagram_items import MEDIA_FIELDS, USER_FIELDS
from lakehouse.simulate.platforms.quotas import Quotas
from lakehouse.simulate.platforms.registry import PERSONAL, Status

OWN = "17841400000000001"


def visible(lab):
    return [state for state in lab.states("instagram") if is_discoverable(state)]


def error(response):
    found = response.json()["error"]
    return found["code"], found.get("error_subcode")


def test_a_professional_account_with_the_fields_asked_for(lab):
    for state in visible(lab)[:20]:
        body = lab.instagram(state.handle.upper(), ",".join(sorted(USER_FIELDS))).json()
        found = body["business_discovery"]
        assert body["id"] == OWN != found["id"]
        assert (found["ig_id"], found["username"]) == (int(state.platform_id), state.handle)
        assert (found["followers_count"], found["media_count"]) == (state.followers, state.posts_count)
        assert found.get("biography", "") == state.bio
        assert ("website" in found) == bool(state.profile.website or state.profile.links)
    assert set(lab.instagram(state.handle, "followers_count").json()["business_discovery"]) == {"followers_count", "id"}


def test_media_page_through_and_have_the_graph_s_times(start):
    lab = start(days=30)
    state = max(visible(lab), key=lambda s: s.profile.later_posts(lab.now))
    found, after = [], ""
    while True:
        inner = f"media{f'.after({after})' if after else ''}.limit(4){{{','.join(sorted(MEDIA_FIELDS))}}}"
        media = lab.instagram(state.handle, inner).json()["business_discovery"]["media"]
        found += media["data"]
        after = media.get("paging", {}).get("cursors", {}).get("after", "")
        if not after:
            break
    posts = lab.emulator.timelines["instagram"].of(state.profile, lab.now)
    assert [item["id"] for item in found] == [post.post_id for post in posts]
    for item, post in zip(found, posts, strict=True):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000", item["timestamp"])
        assert ("like_count" in item) == (post.likes is not None)


def test_hidden_likes_and_media_addresses_are_absent_somewhere(lab):
    seen = []
    for state in visible(lab)[:60]:
        media = lab.instagram(state.handle, "media.limit(100){id,like_count,media_url,media_type}").json()
        seen += media["business_discovery"]["media"]["data"]
    assert any("like_count" not in item for item in seen)
    assert any("media_url" not in item for item in seen)
    assert {item["media_type"] for item in seen} == {"IMAGE", "VIDEO", "CAROUSEL_ALBUM"}


def test_everybody_who_cannot_be_discovered_gets_the_same_answer(start):
    lab = start(life=True, days=40)
    states = lab.states("instagram")
    hidden = [
        next(s for s in states if s.status == status) for status in (Status.PRIVATE, Status.DELETED, Status.SUSPENDED)
    ]
    hidden += [next(s for s in states if s.status == Status.ACTIVE and s.account_type == PERSONAL)]
    hidden += [next(s for s in states if s.status == Status.ACTIVE and s.profile.is_age_gated)]
    for name in [state.handle for state in hidden] + ["nobody.at.all"]:
        response = lab.instagram(name)
        assert (response.status_code, *error(response)) == (400, 100, 2_207_013)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", 2_500),
        ("business_discovery.username(a){id", 2_500),
        ("business_discovery.username(a){id}}", 2_500),
        ("shoe_size", 100),
        ("id", 100),
        ("business_discovery{id}", 100),
        ("business_discovery.username(NAME){shoe_size}", 100),
        ("business_discovery.username(NAME){media{shoe_size}}", 100),
        ("business_discovery.username(NAME){media.limit(0){id}}", 100),
        ("business_discovery.username(NAME){media.after(CURSOR){id}}", 100),
    ],
)
def test_fields_are_read_strictly(lab, fields, expected):
    name = visible(lab)[0].handle
    params = {"fields": fields.replace("NAME", name), "access_token": "ig-lab"}
    response = lab.http.get(f"/v25.0/{OWN}", params=params)
    assert (response.status_code, error(response)[0]) == (400, expected)


def test_tokens_parameters_and_paths(lab):
    name = visible(lab)[0].handle
    fields = f"business_discovery.username({name}){{id}}"
    assert error(lab.instagram(name, token="stolen"))[0] == 190
    bearer = lab.http.get(f"/v25.0/{OWN}", params={"fields": fields}, headers={"Authorization": "Bearer ig-x"})
    assert bearer.status_code == 200
    odd = lab.http.get(f"/v25.0/{OWN}", params={"fields": fields, "access_token": "ig-x", "colour": "red"})
    assert odd.status_code == 400
    assert lab.http.get("/v25.0/me", params={"fields": fields, "access_token": "ig-x"}).status_code == 400


def test_usage_rises_throttles_and_falls_with_the_rolling_hour(start):
    lab = start(quotas=Quotas(instagram_calls_per_hour=4))
    name = visible(lab)[0].handle
    seen = [lab.instagram(name) for _ in range(5)]
    percents = [json.loads(response.headers["x-app-usage"])["call_count"] for response in seen]
    assert percents == [25, 50, 75, 100, 125]
    assert [response.status_code for response in seen] == [200, 200, 200, 200, 403]
    assert error(seen[-1])[0] == 4
    case = json.loads(seen[-1].headers["x-business-use-case-usage"])[OWN][0]
    assert case["call_count"] == 125
    assert case["estimated_time_to_regain_access"] == 60
    lab.advance(3_601)
    assert lab.instagram(name).status_code == 200


def test_calls_made_while_throttled_prolong_it(start):
    lab = start(quotas=Quotas(instagram_calls_per_hour=2))
    name = visible(lab)[0].handle
    for _ in range(2):
        lab.instagram(name)
    lab.advance(1_800)
    assert lab.instagram(name).status_code == lab.instagram(name).status_code == 403
    lab.advance(1_801)
    assert lab.instagram(name).status_code == 403
    lab.advance(3_601)
    assert lab.instagram(name).status_code == 200


def test_the_business_use_case_has_its_own_code(start):
    lab = start(quotas=Quotas(instagram_calls_per_day=1))
    name = visible(lab)[0].handle
    lab.instagram(name)
    assert error(lab.instagram(name))[0] == 80_002


def test_drift_takes_the_text_away_and_adds_kinds(lab):
    lab.emulator.drift = Drift(removed_field=True, new_field=True, new_enum=True)
    state = next(s for s in visible(lab) if s.bio)
    found = lab.instagram(state.handle, "biography,media.limit(100){media_type}").json()["business_discovery"]
    assert "biography" not in found
    assert "beta_insight" in found
    assert "CLIP" in {item["media_type"] for item in found["media"]["data"]}


def test_the_fields_expression_is_a_tree():
    tree = parse_fields("business_discovery.username(a.b_c){id,media.after(X).limit(3){id,children{id}}},id")
    assert [field.name for field in tree] == ["business_discovery", "id"]
    assert tree[0].arguments == {"username": "a.b_c"}
    media = tree[0].inner[1]
    assert (media.arguments, media.names(), media.inner[1].names()) == (
        {"after": "X", "limit": "3"},
        ["id", "children"],
        ["id"],
    )
    for broken in ("a{", "a,,b", "a{b}c", "{a}", "a." + "b", "a{" * 9):
        with pytest.raises(FieldsError):
            parse_fields(broken)
