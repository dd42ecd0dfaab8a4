"""X: batches with partial errors, windows, money, drift."""

import pytest

from lakehouse.simulate.platforms.drift import Drift
from lakehouse.simulate.platforms.quotas import Quotas
from lakehouse.simulate.platforms.registry import Status

FIELDS = "created_at,description,entities,location,protected,public_metrics,url,verified,verified_type"


def kind(problem) -> str:
    return problem["type"].rsplit("/", 1)[-1]


def test_users_by_id_have_the_truth(lab):
    states = lab.states("x")[:100]
    body = lab.x("users", ids=",".join(s.platform_id for s in states), user__fields=FIELDS).json()
    assert "errors" not in body
    for item, state in zip(body["data"], states, strict=True):
        assert (item["id"], item["username"], item["name"]) == (
            state.platform_id, state.handle, state.profile.display_name,
        )  # fmt: skip
        assert item["description"] == state.bio
        assert item["public_metrics"]["followers_count"] == state.followers
        assert item["public_metrics"]["post_count"] == state.posts_count
        assert item["protected"] is (state.status == Status.PRIVATE)


def test_only_default_fields_unless_asked(lab):
    state = lab.states("x")[0]
    assert set(lab.x("users", ids=state.platform_id).json()["data"][0]) == {"id", "name", "username"}
    shown = lab.x("users", ids=state.platform_id, expansions="most_recent_post_id").json()["data"][0]
    posts = lab.emulator.timelines["x"].of(state.profile, lab.now)
    assert shown["most_recent_post_id"] == posts[0].post_id


def test_partial_success_maps_every_error_to_its_key(start):
    lab = start(life=True, days=40)
    states = lab.states("x")
    there = next(s for s in states if not s.is_gone)
    deleted, suspended = (next(s for s in states if s.status == w) for w in (Status.DELETED, Status.SUSPENDED))
    ids = [there.platform_id, deleted.platform_id, suspended.platform_id, "42"]
    response = lab.x("users", ids=",".join(ids))
    assert response.status_code == 200
    assert [item["id"] for item in response.json()["data"]] == ids[:1]
    errors = {error["resource_id"]: kind(error) for error in response.json()["errors"]}
    assert errors == {ids[1]: "resource-not-found", ids[2]: "resource-unavailable", ids[3]: "resource-not-found"}
    assert "data" not in lab.x("users", ids="42").json()


def test_users_by_name_and_one_by_one(lab):
    first, second = lab.states("x")[:2]
    body = lab.x("users/by", usernames=f"{first.handle.upper()},{second.handle},nobody_at_all").json()
    assert [item["id"] for item in body["data"]] == [first.platform_id, second.platform_id]
    assert body["errors"][0]["value"] == "nobody_at_all"
    assert lab.x(f"users/by/username/{first.handle}").json()["data"]["id"] == first.platform_id
    assert lab.x(f"users/{first.platform_id}", user__fields="protected").json()["data"]["protected"] in {True, False}
    assert kind(lab.x("users/42").json()["errors"][0]) == "resource-not-found"


def test_a_name_given_up_belongs_to_its_next_owner(start):
    lab = start(life=True, days=90)
    book = lab.emulator.registry.book("x")
    state, owner = next(
        (s, owner)
        for s in lab.states("x")
        if s.handle != s.profile.handle
        and (owner := book.row_of_handle(s.profile.handle, lab.now)) is not None
        and not book.state(owner, lab.now).is_gone
    )
    shown = lab.x("users/by", usernames=state.profile.handle).json()["data"][0]
    assert shown["id"] == book.platform_ids[owner] != state.platform_id


def test_posts_page_through_and_since_id_gives_the_newer_ones(start):
    lab = start(days=40)
    state = max((s for s in lab.states("x") if s.status == Status.ACTIVE), key=lambda s: s.profile.later_posts(lab.now))
    path, found, token = f"users/{state.platform_id}/tweets", [], {}
    while token is not None:
        body = lab.x(path, max_results=5, post__fields="created_at,public_metrics", **token).json()
        found += [post["id"] for post in body["data"]]
        assert body["meta"]["result_count"] == len(body["data"])
        following = body["meta"].get("next_token")
        token = {"pagination_token": following} if following else None
    assert found == [post.post_id for post in lab.emulator.timelines["x"].of(state.profile, lab.now)]
    newer = lab.x(path, max_results=100, since_id=found[3]).json()
    assert [post["id"] for post in newer["data"]] == found[:3]
    assert lab.x(path, since_id=found[0]).json() == {"meta": {"result_count": 0}}
    assert lab.x(path, pagination_token="x").status_code == 400


def test_posts_of_protected_and_gone_accounts_are_refused(start):
    lab = start(life=True, days=40)
    for status, expected in {
        Status.PRIVATE: "not-authorized-for-resource",
        Status.DELETED: "resource-not-found",
    }.items():
        state = next(s for s in lab.states("x") if s.status == status)
        body = lab.x(f"users/{state.platform_id}/tweets").json()
        assert [kind(error) for error in body["errors"]] == [expected]


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("users", {"ids": "12,abc"}),
        ("users", {"ids": ""}),
        ("users", {"ids": ",".join(["1"] * 101)}),
        ("users/1/tweets", {"max_results": "9" * 5_000}),
        ("usage/tweets", {"usage.fields": "shoe_size"}),
        ("users", {"ids": "1", "user__fields": "shoe_size"}),
        ("users", {"ids": "1", "colour": "red"}),
        ("users/by", {"usernames": "name.with.dots"}),
        ("users/1/tweets", {"max_results": 4}),
        ("users/abc", {}),
        ("usage/tweets", {"days": 91}),
    ],
)
def test_a_malformed_request_fails_as_a_whole(lab, path, params):
    response = lab.x(path, **params)
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("application/problem+json")
    assert kind(response.json()) == "invalid-request"
    assert response.headers["x-rate-limit-remaining"]


def test_tokens_are_needed_and_other_paths_do_not_exist(lab):
    assert lab.x("users", token="stolen", ids="1").status_code == 401
    assert lab.x("lists/1").status_code == 404


def test_windows_of_fifteen_minutes_close_and_open_again(start):
    lab = start(quotas=Quotas(x_user_requests=3))
    seen = [lab.x("users", ids="1") for _ in range(4)]
    assert [response.status_code for response in seen] == [200, 200, 200, 429]
    assert [response.headers["x-rate-limit-remaining"] for response in seen] == ["2", "1", "0", "0"]
    reset = int(seen[-1].headers["x-rate-limit-reset"])
    assert reset == int(lab.now) + 900
    assert kind(seen[-1].json()) == "rate-limit-exceeded"
    assert "retry-after" not in seen[-1].headers
    assert lab.x("users/by", usernames="a").status_code == 200
    assert lab.x("users", token="x-other", ids="1").status_code == 200
    lab.advance(reset - lab.now - 1)
    assert lab.x("users", ids="1").status_code == 429
    lab.advance(1)
    assert lab.x("users", ids="1").status_code == 200


def test_money_is_billed_once_a_utc_day_and_ends_at_the_cap(start):
    lab = start(quotas=Quotas(x_usd_per_cycle=0.25))
    ids = [s.platform_id for s in lab.states("x")[:60]]
    for _ in range(3):
        lab.x("users", ids=",".join([*ids[:10], "42"]))
    assert lab.emulator.ledger.total("x")["usd"] == pytest.approx(0.10)
    lab.at(2026, 6, 30, 23, 59, 59)
    lab.x("users", ids=ids[0])
    lab.at(2026, 7, 1, 0, 0, 0)
    lab.x("users", ids=ids[0])
    assert lab.emulator.ledger.total("x")["usd"] == pytest.approx(0.11)
    lab.x("users", ids=",".join(ids))
    assert lab.emulator.ledger.total("x")["usd"] == pytest.approx(0.70)
    capped = lab.x("users", ids=ids[0])
    assert (capped.status_code, kind(capped.json())) == (429, "usage-capped")
    assert lab.x("usage/tweets").status_code == 200
    lab.at(2026, 8, 1)
    assert lab.x("users", ids=ids[0]).status_code == 200


def test_usage_counts_posts_and_posts_have_a_cap(start):
    lab = start(quotas=Quotas(x_posts_per_cycle=5))
    state = next(s for s in lab.states("x") if s.status == Status.ACTIVE and s.profile.content)
    body = lab.x(f"users/{state.platform_id}/tweets", max_results=5).json()
    lab.x(f"users/{state.platform_id}/tweets", max_results=5)
    usage = lab.x("usage/tweets").json()["data"]
    assert usage["project_usage"] == str(len(body["data"])) == "5"
    assert usage["project_cap"] == "5"
    capped = lab.x(f"users/{state.platform_id}/tweets")
    assert (capped.status_code, kind(capped.json())) == (429, "usage-capped")


def test_drift_renames_what_the_recorded_responses_name_otherwise(lab):
    lab.emulator.drift = Drift(x_tweet_names=True, x_number_cap=True, x_legacy_errors=True, new_field=True)
    lab.emulator.quotas = Quotas(x_user_requests=2)
    state = lab.states("x")[0]
    user = lab.x("users", ids=state.platform_id, user__fields="public_metrics").json()["data"][0]
    assert user["public_metrics"]["tweet_count"] == state.posts_count
    assert "post_count" not in user["public_metrics"]
    assert "beta_insight" in user
    problem = lab.x("users", ids="42").json()["errors"][0]
    assert problem["type"] == "https://api.twitter.com/2/problems/resource-not-found"
    assert lab.x("users", ids="42").json() == {"errors": [{"code": 88, "message": "Rate limit exceeded"}]}
    assert lab.x("usage/tweets").json()["data"]["project_cap"] == 3_000_000
