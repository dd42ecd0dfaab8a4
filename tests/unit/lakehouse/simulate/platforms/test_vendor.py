"""The vendor's API: batches by name, the feed of changes, credits, one bill a profile."""

import datetime as dt

import pytest

from lakehouse.simulate.platforms.quotas import Quotas
from lakehouse.simulate.platforms.registry import Status


def test_profiles_by_name_personal_and_private_ones_too(start):
    lab = start(life=True, days=30)
    states = [s for s in lab.states("instagram") if not s.is_gone][:99]
    names = [s.handle for s in states] + ["nobody.at.all"]
    body = lab.vendor(usernames=",".join(names)).json()
    assert body["paging"] == {"next": None}
    assert body["credits"] == {"used": 99, "remaining": 9_999_901}
    for item, state in zip(body["data"], states, strict=True):
        assert (item["id"], item["username"], item["biography"]) == (state.platform_id, state.handle, state.bio)
        assert item["followers_count"] == (None if state.is_hidden else state.followers)
        assert item["is_private"] is (state.status == Status.PRIVATE)
    assert lab.emulator.ledger.total("vendor")["usd"] == pytest.approx(99 * 0.002)


def test_gone_accounts_are_missing(start):
    lab = start(life=True, days=60)
    gone = next(s for s in lab.states("instagram") if s.is_gone)
    assert lab.vendor(usernames=gone.handle).json()["data"] == []


def test_the_feed_has_what_changed_and_only_that(start):
    lab = start(life=True, days=5)
    since = dt.datetime.fromtimestamp(lab.now, dt.UTC).isoformat()
    before = {s.platform_id: s for s in lab.states("instagram")}
    lab.advance(2 * 86_400)
    after = {s.platform_id: s for s in lab.states("instagram") if not s.is_gone}
    found, cursor = [], {}
    while cursor is not None:
        body = lab.vendor("profiles/changed", since=since, limit=20, **cursor).json()
        found += [item["id"] for item in body["data"]]
        cursor = {"cursor": body["paging"]["next"]} if body["paging"]["next"] else None
        lab.advance(1)
    assert len(set(found)) == len(found)
    texts = {
        key
        for key, s in after.items()
        if (s.handle, s.bio, s.status) != (before[key].handle, before[key].bio, before[key].status)
    }
    moved = {
        key for key, s in after.items() if abs(s.followers - before[key].followers) > 0.02 * before[key].followers + 1
    }
    still = {key for key, s in after.items() if s._replace(profile=None) == before[key]._replace(profile=None)}
    assert texts | moved <= set(found)
    assert not still & set(found)
    assert 0 < len(found) < len(after)


@pytest.mark.parametrize(
    ("endpoint", "params", "status", "name"),
    [
        ("profiles", {}, 400, "invalid_parameter"),
        ("profiles", {"usernames": ",".join(["a"] * 101)}, 400, "invalid_parameter"),
        ("profiles", {"usernames": "a", "colour": "red"}, 400, "unknown_parameter"),
        ("profiles/changed", {}, 400, "invalid_parameter"),
        ("profiles/changed", {"since": "2026-06-30", "limit": 0}, 400, "invalid_parameter"),
        ("profiles/changed", {"since": "2026-06-30", "cursor": "1.abc"}, 400, "invalid_cursor"),
        ("accounts", {}, 404, "not_found"),
    ],
)
def test_refusals(lab, endpoint, params, status, name):
    response = lab.vendor(endpoint, **params)
    assert (response.status_code, response.json()["error"]["code"]) == (status, name)


def test_keys_rates_and_credits(start):
    lab = start(quotas=Quotas(vendor_requests_per_second=2, vendor_credits_per_cycle=1))
    name = lab.states("instagram")[0].handle
    assert lab.vendor(key="stolen", usernames=name).status_code == 401
    assert [lab.vendor(usernames="nobody.at.all").status_code for _ in range(3)] == [200, 200, 429]
    assert lab.vendor(usernames="nobody.at.all").headers["retry-after"] == "1"
    lab.advance(1)
    assert lab.vendor(usernames=name).json()["credits"] == {"used": 1, "remaining": 0}
    assert lab.vendor(usernames=name).status_code == 402
    lab.at(2026, 7, 1)
    assert lab.vendor(usernames=name).status_code == 200
