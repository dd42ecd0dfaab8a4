"""The refresh planner's rules, one by one: batches, order, budgets, reasons, what is left out and said so."""

import datetime as dt
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.errors import SettingsError
from lakehouse.fetch.asked import Known
from lakehouse.fetch.change_rate import Evidence, Priors, estimate_rates, observe, observe_flags
from lakehouse.fetch.refresh import fit_priors, plan_refresh, routes_of
from lakehouse.fetch.refresh_budget import hour_budget
from lakehouse.fetch.refresh_policy import load_policy
from lakehouse.fetch.refresh_state import string_hashes
from lakehouse.fetch.refresh_value import Reason, freshness_gain, weights_of
from lakehouse.fetch.source import USD_CYCLE, USD_DAY, load_sources
from lakehouse.fetch.task import Priority
from tests.refresh_factory import INSTAGRAM, NOW, YOUTUBE, X, chosen, row, state, terms


def plan(rows, **changed):
    return plan_refresh([state(rows)], terms(**changed))


def test_ids_are_batched_and_named_by_their_endpoint():
    made = plan([row(n) for n in range(120)], units=3)
    assert [len(task.keys) for task in made.tasks] == [50, 50, 20]
    assert {(task.source, task.endpoint, task.cycle) for task in made.tasks} == {
        ("youtube_api", "channels", "2026-11-04T12:00:00+00:00")
    }


def test_a_handle_is_asked_for_where_no_id_is_known():
    made = plan([row(1, has_id=False), row(2)])
    assert {(task.endpoint, task.keys) for task in made.tasks} == {
        ("channels", ("id2",)),
        ("channels_by_handle", ("handle1",)),
    }


def test_the_endpoint_with_the_largest_batches_is_the_route():
    assert routes_of(X) == {"id": "users", "handle": "users_by_username"}
    assert routes_of(INSTAGRAM) == {"handle": "business_discovery"}


def test_an_account_without_a_key_is_counted_as_unreachable():
    made = plan([row(1, source=INSTAGRAM, handle=False), row(2, has_id=False, handle=False)])
    assert made.summary.unreachable == 2
    assert not made.tasks


def test_a_source_without_a_budget_plans_nothing():
    made = plan([row(n, source=source) for n, source in enumerate([YOUTUBE, X, INSTAGRAM])], units=0, usd=0.0)
    assert not made.tasks
    assert made.summary.spending["x_api"].value_left > 0


def test_a_handle_that_costs_fifty_ids_waits_behind_them():
    ids = [row(n) for n in range(50)]
    made = plan([*ids, row(99, has_id=False)], units=1, oldest_share=0.01)
    assert len(chosen(made)) == 50
    assert "handle99" not in chosen(made)


def test_duties_come_first():
    rows = [row(n, age_hours=26 * 24.0) for n in range(30)]
    rows += [row(n, followers_count=5_000_000, tenants_count=3, impressions=1e6) for n in range(100, 300)]
    made = plan(rows, units=1)
    assert set(chosen(made, Reason.DUTY)) == {f"id{n}" for n in range(30)}
    assert made.tasks[0].priority == Priority.DUTY
    assert set(chosen(made, Reason.DUTY)) <= set(made.tasks[0].keys)


def test_expired_rows_and_tiers_on_demand_are_no_duty():
    made = plan([row(1, age_hours=31 * 24.0), row(2, source=INSTAGRAM, age_hours=26 * 24.0)], units=20)
    assert chosen(made, Reason.DUTY) == []
    assert set(chosen(made)) == {"id1", "handle2"}


def test_requested_come_before_value():
    rows = [row(n, followers_count=5_000_000) for n in range(200)] + [row(999, is_requested=True)]
    assert chosen(plan(rows, units=1), Reason.REQUESTED) == ["id999"]


def test_the_top_is_hourly_where_all_of_it_fits():
    rows = [row(n, age_hours=200.0) for n in range(300)]
    top = [row(1_000 + n, followers_count=2_000_000, age_hours=1.0) for n in range(10)]
    made = plan([*rows, *top], units=1, oldest_share=0.1)
    assert made.summary.high_value["youtube_api"]
    assert set(chosen(made, Reason.HIGH_VALUE)) == {f"id{1_000 + n}" for n in range(10)}
    many = [row(1_000 + n, followers_count=2_000_000, age_hours=1.0) for n in range(20)]
    assert not plan([*rows, *many], units=1).summary.high_value["youtube_api"]


def test_nothing_is_asked_for_twice_within_the_hour_nor_when_deleted():
    assert chosen(plan([row(1, age_hours=0.1), row(2, state="deleted")])) == []


def test_a_half_empty_batch_is_filled_where_it_is_free():
    rows = [row(n, age_hours=1.0, change_rate=0.001) for n in range(80)]
    made = plan(rows, units=1, oldest_share=0.01, explore_share=0.5)
    assert len(made.tasks) == 1
    assert len(made.tasks[0].keys) == 50


def test_on_x_every_row_costs():
    made = plan([row(n, source=X) for n in range(150)], usd=1.2)
    assert len(chosen(made)) == 120
    spent = made.summary.spending["x_api"]
    assert (spent.usd, spent.requests) == (1.2, 2)


def test_who_changes_all_the_time_is_worth_less_than_who_changes_now_and_then():
    ages = np.full(3, 24.0)
    gains = freshness_gain(np.array([1.0, 1 / 24, 1e-6]), ages, np.zeros(3, dtype=bool))
    assert gains[1] > gains[0] > gains[2] >= 0


def test_the_gain_is_the_derivative_of_freshness():
    rate, hours = 0.05, 30.0

    def right(looks):
        x = rate / looks
        return -math.expm1(-x) / x

    step = 1e-6
    slope = (right(1 / hours + step) - right(1 / hours - step)) / (2 * step)
    gain = freshness_gain(np.array([rate]), np.array([hours]), np.array([False]))[0]
    assert gain == pytest.approx(slope, rel=1e-5)


def test_the_summary_adds_up():
    rows = [row(n, age_hours=10.0 * n + 1) for n in range(100)] + [row(500, age_hours=None)]
    made = plan(rows, units=1)
    summary = made.summary
    assert sum(summary.counts.values()) == summary.spending["youtube_api"].accounts == len(chosen(made)) == 50
    assert summary.spending["youtube_api"].units == 1
    freshness = summary.freshness["youtube", "P3"]
    assert freshness.accounts == 101
    assert freshness.p50_hours == pytest.approx(501, rel=0.05)


def test_the_day_is_spread_over_its_own_hours():
    left, spent = 250.0, []
    start = dt.datetime(2026, 11, 1, 7, tzinfo=dt.UTC)  # midnight in Los Angeles, on a day of 25 hours
    for hour in range(25):
        units = hour_budget(YOUTUBE, start + dt.timedelta(hours=hour), {"day": left}).units["day"]
        left -= units
        spent.append(units)
    assert left == 0
    assert set(spent) == {10}


@pytest.mark.parametrize("units", [0, 1, 5, 10, 23, 24, 25, 100])
def test_few_units_are_spread_too_and_none_is_left(units):
    left, spent = float(units), []
    for hour in range(24):
        now = (
            dt.datetime(2026, 11, 4, 8 + hour % 16, tzinfo=dt.UTC)
            if hour < 16
            else dt.datetime(2026, 11, 5, hour - 16, tzinfo=dt.UTC)
        )
        taken = hour_budget(YOUTUBE, now, {"day": left}).units["day"]
        left -= taken
        spent.append(taken)
    assert left == 0
    assert max(spent) - min(spent) <= 1


def test_a_rolling_window_gives_its_hour_and_money_the_lesser_of_day_and_month():
    assert hour_budget(INSTAGRAM, NOW, {}).units == {"hour": 200}
    assert hour_budget(INSTAGRAM, NOW, {"hour": 7}).units == {"hour": 7}
    assert hour_budget(X, NOW, {USD_DAY: 12.0}).usd == pytest.approx(1.0)
    assert hour_budget(X, NOW, {USD_CYCLE: 6.36}).usd == pytest.approx(0.01)


def test_the_published_rate_bounds_requests():
    rows = [row(n, source=X) for n in range(3)]
    slow = X.model_copy(update={"rates": (X.rates[0].model_copy(update={"requests": 1, "seconds": 7200}),)})
    assert not plan(rows, usd=100.0, sources={"x_api": slow}).tasks


def test_the_rate_of_a_known_poisson_process_is_found_from_flags():
    random, rate = np.random.default_rng(5), 1 / 30
    accounts, looks = 200, 60
    empty = Evidence(*(np.zeros(accounts) for _ in range(3)))
    rows = np.arange(accounts)
    for _ in range(looks):
        hours = random.uniform(5, 60, accounts)
        observe_flags(empty, rows, hours, random.poisson(rate * hours) > 0, memory_hours=1e9)
    weak = Priors(np.full(1, 1e-6), np.full(1, 1e-6))
    found = estimate_rates(empty, weak, np.zeros(accounts, dtype=np.int64))
    assert found.mean() == pytest.approx(rate, rel=0.05)
    naive = empty.changes / (empty.flagged_hours + empty.counted_hours)
    assert naive.mean() < 0.75 * rate


def test_equal_windows_give_the_known_closed_form():
    hours, looks, changed = 24.0, 20, 12
    evidence = Evidence(np.array([float(changed)]), np.array([changed * hours]), np.array([(looks - changed) * hours]))
    found = estimate_rates(evidence, Priors(np.array([1e-9]), np.array([1e-9])), np.zeros(1, dtype=np.int64))
    assert found[0] == pytest.approx(-math.log(1 - changed / looks) / hours, rel=1e-6)


def test_an_account_that_was_not_seen_has_its_peers_rate_and_one_that_was_its_own():
    priors = Priors(np.array([0.5]), np.array([1_000.0]))
    evidence = Evidence(np.array([0.0, 50.0]), np.zeros(2), np.array([0.0, 1_000.0]))
    found = estimate_rates(evidence, priors, np.zeros(2, dtype=np.int64))
    assert found[0] == pytest.approx(0.0005)
    assert found[1] == pytest.approx(50.5 / 2_000)


def test_steady_growth_shows_whatever_the_distance_of_looks():
    rates = []
    for distance in (6.0, 24.0, 96.0):
        evidence = Evidence(*(np.zeros(1) for _ in range(3)))
        for _ in range(int(960 / distance)):
            observe(evidence, np.zeros(1, dtype=np.int64), np.array([distance]), np.array([distance / 96.0]), 1e9)
        rates.append(float(evidence.changes[0] / evidence.counted_hours[0]))
    assert rates == pytest.approx([1 / 96] * 3)


def test_priors_follow_what_was_seen_of_each_platform_and_size():
    rows = [row(n, changes=4.0, counted_hours=100.0) for n in range(50)]
    rows += [row(n, source=X, changes=0.0, counted_hours=5_000.0) for n in range(50)]
    priors = fit_priors([state(rows)], load_policy())
    bands = priors.shape / priors.hours
    youtube, x = (bands.reshape(len(PLATFORMS), -1)[PLATFORMS.index(name), 1] for name in ("youtube", "x"))
    assert youtube == pytest.approx(0.04, rel=0.15)
    assert x < 0.0001


def test_a_dump_with_two_times_is_one_quiet_window():
    rows = [row(1, changes=0.0, counted_hours=0.0, age_hours=24.0, last_changed_at=NOW - dt.timedelta(hours=124))]
    assert state(rows).evidence.counted_hours[0] == pytest.approx(100)


def test_hashes_do_not_depend_on_slices_and_differ():
    names = pa.array(["a", "", None, "ab", "ba", "a" * 40, "ü"])
    whole = string_hashes(names)
    assert len(set(whole.tolist())) == 6  # null is empty
    assert whole[2:5].tolist() == string_hashes(names.slice(2, 3)).tolist()


def test_a_wrong_policy_is_refused_with_its_place(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("change_ratio: 2")
    with pytest.raises(SettingsError, match="change_ratio"):
        load_policy(path)


def test_an_unknown_state_is_refused():
    with pytest.raises(ValueError, match="none of"):
        state([row(1, state="sleeping")])


@pytest.mark.parametrize(
    ("name", "routes"),
    [
        ("youtube_api", {"id": "channels", "handle": "channels_by_handle"}),
        ("x_api", {"id": "users", "handle": "users_by_username"}),
        ("instagram_graph", {"handle": "business_discovery"}),
        ("tiktok_display", {"handle": "user_info"}),
        ("tiktok_research", {"handle": "user_info"}),
        ("licensed_instagram", {"handle": "profiles"}),
    ],
)
def test_shipped_sources_have_their_lookups(name, routes):
    assert routes_of(load_sources()[name]) == routes


def test_a_batch_of_handles_is_filled_with_handles_and_of_ids_with_ids():
    rows = [row(n) for n in range(60)] + [row(100 + n, has_id=False) for n in range(3)]
    for task in plan(rows, units=3).tasks:
        assert {key[:2] for key in task.keys} == ({"id"} if task.endpoint == "channels" else {"ha"})


def test_handles_are_asked_for_with_the_ids_that_are_known():
    made = plan([row(1, source=INSTAGRAM), row(2, source=INSTAGRAM, has_id=False), row(3)])
    found = {task.keys[0]: task.id_of(task.keys[0].upper()) for task in made.tasks}
    assert found == {"handle1": "id1", "handle2": "", "id3": ""}


def test_posts_are_asked_for_where_their_number_moved_within_their_share():
    rows = [
        row(number, posts_count=9 * (number < 40), followers_count=1_000_000 if number == 7 else 1_000)
        for number in range(80)
    ]
    plan = plan_refresh([state(rows)], terms(units=100, posts_share=0.2))
    posts = [task for task in plan.tasks if task.endpoint == "uploads"]
    assert len(posts) == 10  # two units each: the list, and the videos that it names
    assert "id7" in chosen(plan, Reason.POSTS)
    assert {int(task.keys[0].removeprefix("id")) < 40 for task in posts} == {True}
    assert {task.priority for task in posts} == {Priority.FOLLOW_UP}
    assert {tuple(sorted(task.params.items())) for task in posts} == {
        (("pages", "1"), ("since", "2026-10-07"), ("until", "2026-11-04T11:59:30Z"))
    }
    assert plan.summary.spending["youtube_api"].units == 20 + 2
    assert plan.summary.spending["youtube_api"].accounts == 80
    others = [reason for reason in Reason if reason is not Reason.POSTS]
    assert sorted(chosen(plan, *others)) == sorted(f"id{number}" for number in range(80))  # and their profiles as ever


def test_posts_are_asked_for_once_for_each_number_of_them_and_of_accounts_that_can_be_read():
    known = [row(number, posts_count=number) for number in range(6)]
    closed = [
        row(number, posts_count=9, state=kind) for number, kind in enumerate(("private", "suspended", "deleted"), 6)
    ]
    chunk = state([*known, *closed])
    keys = np.sort(chunk.keys[2:5])
    at = np.argsort(chunk.keys[2:5])
    asked = Known(keys, np.array([2.0, 3.0, 99.0])[at])  # 4 had 99 then
    plan = plan_refresh([chunk], replace(terms(units=100, posts_share=0.5), posts=asked))
    assert sorted(chosen(plan, Reason.POSTS)) == ["id1", "id4", "id5"]
    assert {float(count) for pick in plan.picks if pick.reason is Reason.POSTS for count in pick.chosen.posts} == {
        1,
        4,
        5,
    }


def test_keys_that_the_endpoint_does_not_take_are_not_planned():
    source = X.model_copy(
        update={
            "endpoints": {
                name: one.model_copy(
                    update={"key_pattern": "[A-Za-z0-9_]{1,15}" if one.key_kind == "handle" else "[0-9]+"}
                )
                for name, one in X.endpoints.items()
            }
        }
    )
    rows = [row(number, source=X, has_id=False, handle=False) for number in range(3)]
    rows[0] |= {"handle": "fine_1"}
    rows[1] |= {"handle": "not a handle"}
    rows[2] |= {"handle": "by_handle", "platform_account_id": "id2"}
    plan = plan_refresh([state(rows)], terms(sources={"x_api": source}))
    assert sorted(chosen(plan)) == ["by_handle", "fine_1"]
    assert plan.summary.unreachable == 1


def test_on_x_a_page_of_posts_costs_as_if_it_were_full():
    rows = [row(number, source=X, posts_count=9) for number in range(50)]
    plan = plan_refresh([state(rows)], terms(usd=1.0, posts_share=0.3))
    assert len([task for task in plan.tasks if task.endpoint == "posts"]) == 3  # 30 cents: 20 posts of half a cent each
    assert plan.summary.spending["x_api"].usd <= 1.0


def test_accounts_never_seen_have_a_share_and_what_others_leave():
    known = [row(number) for number in range(5_000)]
    new = [
        row(number, has_id=False, age_hours=None, followers_count=None, referrers_count=number % 7 + 1)
        for number in range(5_000, 6_000)
    ]
    plan = plan_refresh([state(known + new)], terms(units=100, discover_share=0.1, posts_share=0.0))
    found = chosen(plan, Reason.DISCOVER)
    assert len(found) == 10
    assert {(int(name.removeprefix("handle")) % 7) for name in found} == {6}  # who is pointed at most
    assert not {name for name in chosen(plan) if name.startswith("handle")} - set(found)
    assert [task.priority for task in plan.tasks if task.endpoint == "channels_by_handle"] == [Priority.FOLLOW_UP] * 10
    alone = plan_refresh([state(new)], terms(units=100, discover_share=0.1, posts_share=0.0))
    assert len(chosen(alone, Reason.DISCOVER)) == 100  # what is left costs nothing else
    assert alone.summary.unreachable == 0
    assert alone.summary.freshness == {}
    assert alone.summary.spending["youtube_api"].units == 100
    assert alone.summary.spending["youtube_api"].live_units == 0  # and is not held back from backfills
    found = state(new).keys
    again = replace(terms(units=100), new=Known(np.sort(found[:990]), np.zeros(990)))
    assert len(chosen(plan_refresh([state(new)], again), Reason.DISCOVER)) == 10
    on_x = [one | {"platform": "x", "source": "x_api"} for one in new]
    paid = plan_refresh([state(on_x)], terms(usd=1.0, discover_share=0.1))
    assert len(chosen(paid, Reason.DISCOVER)) == 10  # money that nothing else needs is kept


def test_a_handle_that_answers_to_nobody_is_worth_little():
    known = row(1, state="unknown")
    nobody = row(2, state="unknown", followers_count=None)
    plan = plan_refresh([state([known, nobody])], terms(units=0))
    assert chosen(plan) == []
    old = [row(3, state="unknown", followers_count=None, age_hours=24 * 29), row(4, age_hours=24 * 29)]
    due = plan_refresh([state(old)], terms(units=100, oldest_share=0.1, explore_share=0.0))
    assert chosen(due, Reason.DUTY, Reason.OVERDUE) == ["id4"]
    weights = weights_of(state([known, nobody]), load_policy(), np.array([3, 3]))
    assert weights[1] == pytest.approx(weights[0] * load_policy().nameless_weight)
