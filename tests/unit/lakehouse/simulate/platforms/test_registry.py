"""The hidden truth: it starts at the newest snapshot, depends on nothing but seed, account and time, and moves."""

import json

import numpy as np
import pytest

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.simulate.platforms.life import DAY_SECONDS, Life, origin_of
from lakehouse.simulate.platforms.registry import PERSONAL, Status, registry_of
from lakehouse.simulate.platforms.truth import TOLERANCE, accounts_of, followers_of, fresh_ratio, ids_of
from lakehouse.simulate.world import World
from lakehouse.simulate.write import profile_tables

WORLD = World(creators_count=300)
ORIGIN = origin_of(WORLD)


def days(count: float) -> float:
    return ORIGIN + count * DAY_SECONDS


def test_the_world_at_the_start_is_the_newest_snapshot(lively):
    shown = {
        (row["platform"], row["handle"]): row for table in profile_tables(WORLD) for row in table.to_pylist()
    }  # fmt: skip
    assert len(lively) == len(shown)
    for platform in PLATFORMS:
        for state in lively.states(platform, ORIGIN):
            row = shown[platform, state.handle]
            assert row["platform_account_id"] in {None, state.platform_id}
            assert (row["display_name"], row["bio"] or "") == (state.profile.display_name, state.bio)
            assert state.is_hidden == (row["followers"] is None)
            assert state.is_hidden or state.followers == row["followers"]
            assert state.posts_count == row["content_count"]


def test_equal_seeds_give_equal_worlds_in_any_order_and_other_seeds_others(lively):
    again = registry_of(WORLD, lively.life)
    late = [state.as_dict() for state in again.states("x", days(40))]
    assert [state.as_dict() for state in again.states("x", days(3))] == [
        state.as_dict() for state in lively.states("x", days(3))
    ]
    assert [state.as_dict() for state in lively.states("x", days(40))] == late
    other = registry_of(World(creators_count=300, seed=8), lively.life)
    assert ids_of(other, "x") != ids_of(lively, "x")


def test_chunks_change_nothing(lively):
    pieces = registry_of(World(creators_count=300, chunk_creators=70), lively.life)
    for platform in PLATFORMS:
        whole = [json.dumps(state.as_dict()) for state in lively.states(platform, days(20))]
        assert [json.dumps(state.as_dict()) for state in pieces.states(platform, days(20))] == whole


@pytest.mark.parametrize("passed", [-30.5, 0, 0.25, 1, 17.9, 200])
def test_one_account_and_all_accounts_agree_on_followers(lively, passed):
    for platform in PLATFORMS:
        book = lively.book(platform)
        found = book.curve.all(days(passed))
        assert found.tolist() == [book.curve.of(row, days(passed)) for row in range(len(book))]


def test_followers_grow_wobble_and_jump(lively, calm):
    book = lively.book("youtube")
    steps = np.diff(np.log([book.curve.all(days(day)) for day in range(31)]), axis=0)
    big = book.curve.all(ORIGIN) > 5_000
    assert (steps[:, big] < 0).any()
    assert (np.abs(steps) > 0.09).any(axis=0).mean() > 0.1
    smooth = calm.book("youtube")
    moved = np.log(smooth.curve.all(days(120)) / smooth.curve.all(ORIGIN))[big]
    assert moved == pytest.approx(np.concatenate([c.metrics.growth for c in smooth.chunks])[big], abs=0.01)


def test_a_share_of_accounts_has_each_event_of_life(lively):
    before, after = list(lively.states("instagram", ORIGIN)), list(lively.states("instagram", days(30)))
    for name, ratio in {"bio": 0.3, "handle": 0.2, "is_hidden": 0.2}.items():
        changed = sum(getattr(a, name) != getattr(b, name) for a, b in zip(before, after, strict=True)) / len(before)
        assert 0.5 * ratio < changed < 2.2 * ratio, name
    assert {state.status for state in before} == {Status.ACTIVE, Status.PRIVATE}
    assert {state.status for state in after} == set(Status)
    flips = {(a.status, b.status) for a, b in zip(before, after, strict=True)}
    assert {(Status.PRIVATE, Status.ACTIVE), (Status.ACTIVE, Status.PRIVATE)} <= flips
    assert {(a.account_type, b.account_type) for a, b in zip(before, after, strict=True)} >= {
        (PERSONAL, "creator"), ("creator", PERSONAL),
    }  # fmt: skip
    assert any(s.status == Status.SUSPENDED for s in after)
    later = {s.platform_id: s.status for s in lively.states("instagram", days(60))}
    assert any(s.status == Status.SUSPENDED and later[s.platform_id] == Status.ACTIVE for s in after)


def test_a_calm_life_changes_no_text_and_no_status(calm):
    for platform in PLATFORMS:
        for before, after in zip(calm.states(platform, ORIGIN), calm.states(platform, days(300)), strict=True):
            assert (before.handle, before.bio, before.status) == (after.handle, after.bio, after.status)
            assert after.posts_count >= before.posts_count


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_handle_has_one_owner_and_old_ones_go_to_others(lively, platform):
    book, taken = lively.book(platform), 0
    for passed in (0, 15, 30, 90):
        handles = [state.handle.lower() for state in lively.states(platform, days(passed))]
        assert len(set(handles)) == len(handles)
        for row, handle in enumerate(handles):
            assert book.row_of_handle(handle.upper(), days(passed)) == row
    for row in book.handles.renamed_at:
        first = book.profile(row).handle
        owner = book.row_of_handle(first, days(999))
        taken += owner not in {None, row}
        assert owner != row
    assert taken > 3


def test_truth_helpers_count_fresh_copies(lively):
    true = followers_of(lively, "tiktok", days(10))
    assert fresh_ratio(lively, "tiktok", true, days(10)) == 1
    assert fresh_ratio(lively, "tiktok", {}, days(10)) == 0
    off = {key: round(value * (1 + 3 * TOLERANCE)) + 1 for key, value in true.items()}
    assert fresh_ratio(lively, "tiktok", off, days(10)) == 0
    old = fresh_ratio(lively, "tiktok", followers_of(lively, "tiktok", ORIGIN), days(10))
    assert 0.1 < old < 0.9
    listed = accounts_of(lively, "instagram", days(10), offset=5, limit=7)
    assert [entry["id"] for entry in listed] == ids_of(lively, "instagram")[5:12]
    assert {"id", "handle", "status", "is_discoverable"} == set(listed[0])


def test_a_state_by_id_or_nothing(lively):
    assert lively.state("x", ids_of(lively, "x")[3], ORIGIN).profile.row == 3
    assert lively.state("x", "1", ORIGIN) is None


def test_no_life_at_all_is_possible():
    still = registry_of(World(creators_count=20), Life.none())
    assert all(state.status in {Status.ACTIVE, Status.PRIVATE} for state in still.states("tiktok", days(500)))
