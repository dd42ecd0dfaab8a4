"""What holds of every plan: budgets, batch limits, no starvation, independence of order and chunks, fair exploration."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.fetch.change_rate import Evidence, Priors, estimate_rates
from lakehouse.fetch.refresh import plan_refresh, routes_of
from lakehouse.fetch.refresh_budget import HourBudget, Purse
from lakehouse.fetch.refresh_value import Reason
from lakehouse.fetch.shortlist import Candidates, Pool
from tests.refresh_factory import NOW, SOURCES, YOUTUBE, chosen, row, state, terms

pytestmark = pytest.mark.properties

ACCOUNTS = st.lists(
    st.fixed_dictionaries(
        {
            "source": st.sampled_from(list(SOURCES.values())),
            "age_hours": st.one_of(st.none(), st.floats(0, 24 * 40)),
            "has_id": st.booleans(),
            "handle": st.booleans(),
            "followers_count": st.one_of(st.none(), st.sampled_from([0, 500, 20_000, 150_000, 3_000_000])),
            "changes": st.sampled_from([0.0, 0.5, 3.0, 20.0]),
            "is_requested": st.booleans(),
            "tenants_count": st.sampled_from([0, 0, 2]),
            "impressions": st.sampled_from([0.0, 5.0, 1e4]),
            "state": st.sampled_from(["active", "active", "private", "deleted", "unknown"]),
        }
    ),
    max_size=120,
)


def rows_of(accounts):
    return [row(number, **account) for number, account in enumerate(accounts)]


@settings(deadline=None, max_examples=60)
@given(ACCOUNTS, st.integers(0, 4), st.floats(0, 1), st.integers(0, 3))
def test_no_budget_is_exceeded_and_no_batch_is_too_large(accounts, units, usd, seed):
    made = plan_refresh([state(rows_of(accounts))], terms(units, usd=usd, seed=seed))
    units_of, usd_of = dict.fromkeys(SOURCES, 0), dict.fromkeys(SOURCES, 0.0)
    for task in made.tasks:
        endpoint = SOURCES[task.source].endpoints[task.endpoint]
        assert 1 <= len(task.keys) <= endpoint.batch
        units_of[task.source] += endpoint.units if endpoint.bucket else 0
        usd_of[task.source] += len(task.keys) * endpoint.usd_per_row
    assert units_of["youtube_api"] <= units
    assert units_of["instagram_graph"] <= units
    assert usd_of["x_api"] <= usd + 1e-6
    for name, spent in made.summary.spending.items():
        assert spent.units == units_of[name]
        assert spent.usd == pytest.approx(usd_of[name])
    names = [(task.source, key) for task in made.tasks for key in task.keys]
    assert len(names) == len(set(names))


@settings(deadline=None, max_examples=60)
@given(ACCOUNTS, st.integers(0, 4), st.randoms(use_true_random=False), st.integers(1, 30))
def test_order_and_chunks_change_nothing(accounts, units, random, size):
    rows = rows_of(accounts)
    whole = plan_refresh([state(rows)], terms(units))
    shuffled = random.sample(rows, len(rows))
    parts = [state(shuffled[start : start + size]) for start in range(0, len(rows), size)]
    cut = plan_refresh(parts, terms(units))
    assert cut.tasks == whole.tasks
    assert cut.summary.counts == whole.summary.counts
    assert cut.summary.freshness == whole.summary.freshness


@settings(deadline=None, max_examples=60)
@given(ACCOUNTS, st.integers(1, 4))
def test_who_must_and_fits_is_there(accounts, units):
    """Duties that fit into their share are all planned, whatever else is asked for."""
    rows = rows_of(accounts)
    made = plan_refresh([state(rows)], terms(units, duty_share=1.0, oldest_share=0.0001, explore_share=0.0))
    youtube = [
        one
        for one in rows
        if one["source"] == "youtube_api" and one["state"] != "deleted" and one["platform_account_id"]
        if one["last_fetched_at"] and 25 * 24 <= (NOW - one["last_fetched_at"]).total_seconds() / 3600 < 30 * 24
    ]
    if len(youtube) <= 45 and all(one["platform_account_id"] for one in rows if one["source"] == "youtube_api"):
        asked = set(chosen(made))
        assert {one["platform_account_id"] for one in youtube} <= asked


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, -np.inf]) | st.floats(0, 9), max_size=30), max_size=6),
    st.integers(0, 40),
)
def test_chunked_selection_equals_a_global_sort(chunks, size):
    pool, start, every = Pool(size), 0, []
    random = np.random.default_rng(1)
    for scores in chunks:
        found = np.array(scores, dtype=np.float64)
        keys = random.integers(0, 2**63, len(found)).astype(np.uint64)
        rows = np.arange(start, start + len(found))
        every += [
            (-score, int(key), int(at)) for score, key, at in zip(found, keys, rows, strict=True) if score > -np.inf
        ]
        at = pool.find(found, keys)
        names = rows[at].astype(object)
        pool.add(Candidates(found[at], keys[at], rows[at], rows[at] * 0, found[at], found[at], names, names))
        start += len(found)
    assert pool.held.rows.tolist() == [at for _, _, at in sorted(every)[:size]]


def _bound_hours(count, hourly, share, ceiling_hours):
    """The bound of docs/refresh.md for accounts of one cost."""
    return ceiling_hours + np.ceil(count / np.floor(share * hourly))


@settings(deadline=None, max_examples=6)
@given(
    st.integers(20, 60),
    st.integers(0, 2**16),
    st.sampled_from([0.1, 0.25]),
    st.sampled_from(["quiet", "loud few", "requests"]),
)
def test_nobody_waits_longer_than_the_bound(count, seed, share, world):
    """An adversary demands, requests and changes all the time among a few; the others must still be reached."""
    random, hourly = np.random.default_rng(seed), 20
    accounts = [row(n, changes=0.0, counted_hours=1e6, age_hours=float(random.uniform(0, 24))) for n in range(count)]
    policy = {"oldest_share": share, "duty_share": 0.8, "tiers": _short_tiers()}
    fetched = np.array([(NOW - one["last_fetched_at"]).total_seconds() / -3600 for one in accounts])
    limit = _bound_hours(count, hourly, share, 48.0)
    source = YOUTUBE.model_copy(
        update={"endpoints": {"one": YOUTUBE.endpoints["channels"].model_copy(update={"batch": 1})}}
    )
    for hour in range(120):  # the largest bound is 78
        now = NOW + dt.timedelta(hours=hour)
        rows = [
            one | {"last_fetched_at": NOW + dt.timedelta(hours=float(at))}
            for one, at in zip(accounts, fetched, strict=True)
        ]
        if world != "quiet":
            for one in rows[: count // 2]:
                one |= {"change_rate": 1.0, "impressions": 1e9, "is_requested": world == "requests", "tenants_count": 9}
        made = plan_refresh([state(rows)], terms(hourly, now=now, seed=seed, sources={"youtube_api": source}, **policy))
        asked = [int(name[2:]) for name in chosen(made)]
        assert len(asked) <= hourly
        fetched[asked] = hour
        assert (hour - fetched).max() <= limit


def _short_tiers():
    """The shipped tiers with ceilings of two days, so that the bound is reached within a test."""
    tiers = terms().policy.tiers
    days = dict.fromkeys(tiers[0].ceiling_days, 2.0)
    return tuple(tier.model_copy(update={"ceiling_days": days}) for tier in tiers)


def test_exploration_is_uniform_and_seeded():
    chunk = state([row(n, followers_count=10 ** (1 + n % 6), changes=float(n % 7)) for n in range(400)])
    only = {"explore_share": 0.5, "oldest_share": 0.0001}
    hits = np.zeros(400)
    for seed in range(300):
        made = plan_refresh([chunk], terms(2, seed=seed, **only))
        rows = np.concatenate([pick.chosen.rows for pick in made.picks if pick.reason is Reason.EXPLORE])
        hits[rows] += 1
    valued = plan_refresh([chunk], terms(2, **only))
    taken = np.concatenate([pick.chosen.rows for pick in valued.picks if pick.reason is Reason.VALUE])
    others = np.setdiff1d(np.arange(400), taken)
    expected = hits[others].mean()
    assert expected > 30
    # each other account is a binomial draw: the spread of the counts is that of chance, not of followers or rates
    assert hits[others].var() < 1.5 * expected
    small = hits[others[others % 6 == 0]].mean()
    large = hits[others[others % 6 == 5]].mean()
    assert small == pytest.approx(large, rel=0.15)
    again = plan_refresh([chunk], terms(2, seed=7, **only))
    assert again.tasks == plan_refresh([chunk], terms(2, seed=7, **only)).tasks
    assert again.tasks != plan_refresh([chunk], terms(2, seed=8, **only)).tasks


@settings(deadline=None)
@given(
    st.just(0.0) | st.floats(0.01, 100),
    st.floats(0, 5_000),
    st.floats(0, 5_000),
    st.floats(0.3, 5),
    st.floats(1, 50_000),
)
def test_the_estimate_is_the_root_of_its_equation(changes, window, counted, shape, hours):
    flagged = changes * window
    evidence = Evidence(np.array([changes]), np.array([flagged]), np.array([counted]))
    priors = Priors(np.array([shape]), np.array([hours]))
    rate = float(estimate_rates(evidence, priors, np.zeros(1, dtype=np.int64))[0])
    if 1e-6 < rate < 0.99:
        x = rate * flagged / changes if changes else 0.0
        seen = changes * (x / -np.expm1(-x) if x > 1e-9 else 1.0)
        assert shape + seen == pytest.approx(rate * (hours + flagged + counted), rel=1e-4)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 8))
def test_shares_of_the_hour_are_sound(ids, handles, units):
    """What adds up to one hour by shares fits into it in whole requests."""
    purse = Purse.of(YOUTUBE, HourBudget({"day": units}), tuple(routes_of(YOUTUBE).values()), 1_000)
    counts = np.array([ids, handles])
    with np.errstate(invalid="ignore"):
        spent = float(np.nansum(counts * purse.costs))
    if spent <= 1:
        assert purse.fits(counts)
