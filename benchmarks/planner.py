"""The refresh planner against fixed tiers, round robin, and itself with the true rates, on a simulated population.

`make bench-ingest PART=planner`. Every policy has the same budget in every hour and learns only from what it fetched. Truth is
common to all: followers that drift, jump, lie still or go viral. `measure` gives the figures, `draw` the picture.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import NullLocator

from benchmarks.report import Figure
from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.fetch.change_rate import Evidence, Priors, estimate_rates, groups_of, observe
from lakehouse.fetch.refresh import Terms, fit_priors, plan_refresh, routes_of
from lakehouse.fetch.refresh_budget import HourBudget, Purse, hour_budget
from lakehouse.fetch.refresh_policy import HOURS_PER_DAY, RefreshPolicy, load_policy
from lakehouse.fetch.refresh_state import RefreshState, hours_of
from lakehouse.fetch.refresh_value import tiers_of, weights_of
from lakehouse.fetch.source import USD_CYCLE, USD_DAY, Source, parse_source
from lakehouse.simulate.draws import Draws
from lakehouse.simulate.metrics import metrics_of
from lakehouse.simulate.world import World

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ACCOUNTS, SEED, MIDDLE = 100_000, 1, 0.05
"""Accounts over four platforms at the middle budget: by tier, over time."""
FURTHER_ACCOUNTS, FURTHER_SEEDS = 10_000, (2, 3, 4)
"""Fewer accounts at every budget, with other seeds: the spread."""
SHARES = (0.02, MIDDLE, 0.20)
"""Budgets: accounts that a platform's day can pay, as a share of its accounts. The default quota of YouTube pays 0.2 % of 250
million accounts a day, and 5 % of 10 million."""
WARM_UP_HOURS, MEASURED_HOURS = 14 * 24, 28 * 24
START = dt.datetime(2026, 10, 5, tzinfo=dt.UTC)
"""The measured weeks hold the end of daylight saving time in the zone of YouTube's day."""
TOLERANCE = float(np.log(1.01))
"""A shown count is right within 1 % of the true one."""
PLANNER, CHANGE, FIXED, ROBIN, ORACLE = "planner", "chance only", "fixed tiers", "round robin", "true rates"
POLICIES = (PLANNER, CHANGE, FIXED, ROBIN, ORACLE)
"""`chance only` ranks by the chance of a change times the weight; `true rates` is the planner that knows every rate."""
SAMPLE_HOURS = 2
"""What is shown is compared with the truth every so many hours."""
TARGET = Path(__file__).parents[1] / "docs" / "images" / "planner.svg"

RATE_SIZES = np.log(np.array([1e3, 1e4, 1e5, 1e6, 1e7]))
RATE_MEDIANS = np.log(np.array([0.03, 0.06, 0.15, 0.3, 0.5]))
"""Median changes of 1 % a day by followers; an assumption, since no public data has hourly counts."""
RATE_SPREAD = 1.2
"""Standard deviation of an account's log rate around its size."""
DORMANT_RATIO, DORMANT_RATE = 0.3, 0.001
"""Accounts that nearly never change, and their changes a day."""
JUMP = (0.011, 0.05)
"""Log size of a jump, from and to."""
VIRAL_PER_DAY, VIRAL_HOURS, VIRAL_FACTOR = 1 / 90, 72, 10.0
"""An account goes viral four times a year: three days at ten times its rate."""
TENANT_RATIO = 0.01
RETENTION_DAYS = 30
"""Of YouTube and Instagram; an older row is deleted, so nothing right is shown."""

SOURCE = """
source: {name}
platform: {platform}
description: simulated
checked_on: 2026-11-28
base_url: https://localhost
api_version: v0
auth: {{header: x-key}}
retention_days: {retention}
{limits}
endpoints:
  lookup: {{path: lookup, keys: keys, key_kind: {kind}, batch: {batch}, {draws}}}
"""


def source_of(platform: str, accounts: int, share: float) -> Source:
    """A source of the real shape, whose day pays a share of the accounts."""
    rows = share * accounts
    day = "buckets: [{{name: day, units: {}, day: {}}}]"
    shapes: dict[str, tuple[str, int, str, int, str, str]] = {
        "youtube": ("youtube", RETENTION_DAYS, day.format(round(rows / 50), "America/Los_Angeles"), 50, "id", "bucket: day"),
        "x": ("x_api", 0, f"spend: {{usd_per_day: {rows / 100}, usd_per_cycle: {rows}}}", 100, "id", "usd_per_row: 0.01"),
        "tiktok": ("tiktok_display", 0, day.format(round(rows), "UTC"), 1, "id", "bucket: day"),
        "instagram": (
            "instagram_graph", RETENTION_DAYS, f"buckets: [{{name: day, units: {round(rows / 24)}, seconds: 3600}}]", 1, "handle",
            "bucket: day",
        ),
    }  # fmt: skip
    name, retention, limits, batch, kind, draws = shapes[platform]
    text = SOURCE.format(
        name=name, platform=platform, retention=retention, limits=limits, batch=batch, kind=kind, draws=draws
    )
    return parse_source(text, name=name)


class Truth:
    """Log followers of every account, moved by the hour."""

    def __init__(self, seed: int, accounts: int) -> None:
        """A population with its rates."""
        self.random = np.random.default_rng(seed)
        each = accounts // len(PLATFORMS)
        self.platform = np.repeat(np.arange(len(PLATFORMS)), each)
        self.size = len(self.platform)
        world, creators = World(seed=seed), np.arange(each, dtype=np.uint64)
        normal = Draws(seed).normal("size", creators)
        found = [metrics_of(world, creators * np.uint64(8) + np.uint64(p), p, normal).followers for p in range(4)]
        self.log = np.log(np.maximum(np.concatenate(found), 10.0))
        self._draw_rates()
        self.viral_until = np.full(self.size, -1)

    def _draw_rates(self) -> None:
        random = self.random
        median = np.interp(self.log, RATE_SIZES, RATE_MEDIANS)
        rates = np.exp(median + RATE_SPREAD * random.standard_normal(self.size)) / HOURS_PER_DAY
        is_dormant = random.random(self.size) < DORMANT_RATIO * np.where(self.log > np.log(1e5), 0.4, 1.0)
        self.rate = np.where(is_dormant, DORMANT_RATE / HOURS_PER_DAY, rates)
        self.steady = random.beta(0.7, 0.7, self.size)
        self.sign = np.where(random.random(self.size) < 0.8, 1.0, -1.0)
        self.drift = self.rate * self.steady * TOLERANCE * self.sign
        self.jump_rate = self.rate * (1 - self.steady)

    def before(self, hours: Floats) -> Floats:
        """Log followers so many hours ago, about."""
        jumps = self.random.poisson(self.jump_rate * hours) * np.mean(JUMP) * self.sign
        return self.log - self.drift * hours - jumps

    def move(self, hour: int) -> None:
        """Go on by one hour."""
        starts = self.random.random(self.size) < VIRAL_PER_DAY / HOURS_PER_DAY
        self.viral_until[starts] = hour + VIRAL_HOURS
        factor = np.where(self.viral_until > hour, VIRAL_FACTOR, 1.0)
        self.log = self.log + self.drift * factor
        jumps = np.flatnonzero(self.random.random(self.size) < self.jump_rate * factor)
        self.log[jumps] += self.random.uniform(*JUMP, len(jumps)) * self.sign[jumps]

    def rates_now(self, hour: int) -> Floats:
        """True changes an hour."""
        return self.rate * np.where(self.viral_until > hour, VIRAL_FACTOR, 1.0)


@dataclass
class Arm:
    """A policy with a budget: what it shows, what it knows, and how that went."""

    name: str
    share: float
    sources: Mapping[str, Source]
    policy: RefreshPolicy
    state: RefreshState
    shown: Floats
    priors: Priors
    fetched: int = 0
    right: list[tuple[float, float]] = field(default_factory=list)
    oldest: float = 0.0

    @property
    def has_planner(self) -> bool:
        """Whether it plans, or follows a baseline."""
        return self.name not in (FIXED, ROBIN)

    def choose(self, now: dt.datetime, budgets: Mapping[str, HourBudget]) -> Ints:
        """Accounts to fetch in this hour."""
        if self.has_planner:
            plan = plan_refresh([self.state], Terms(self.sources, budgets, self.policy, self.priors, now))
            return np.concatenate([pick.chosen.rows for pick in plan.picks] or [np.zeros(0, dtype=np.int64)])
        found = [
            self._oldest(position, budgets[name], hours_of(now)) for position, name in enumerate(self.state.sources)
        ]
        return np.concatenate(found)

    def _oldest(self, position: int, budget: HourBudget, now: float) -> Ints:
        """The oldest of a source; for fixed tiers those that are due, by their tier's cadence."""
        source = self.sources[self.state.sources[position]]
        capacity = int(
            Purse.of(source, budget, tuple(routes_of(source).values()), self.policy.max_rows_per_hour).capacities[0]
        )
        rows = np.flatnonzero(self.state.source == position)
        if self.name == FIXED:
            age = now - self.state.fetched_at[rows]
            tier = tiers_of(self.state, self.policy, np.zeros(len(self.state)))[rows]
            rows = rows[age >= self.policy.ceiling_hours()[tier, self.state.platform[rows]]]
        if len(rows) > capacity:
            rows = rows[np.argpartition(self.state.fetched_at[rows], capacity)[:capacity]]
        return rows

    def fetch(self, rows: Ints, truth: Truth, now: float) -> None:
        """Look at accounts: what was shown is compared with what is true, and replaced by it."""
        state, hours = self.state, now - self.state.fetched_at[rows]
        seen = truth.log[rows]
        moved = np.abs(seen - self.shown[rows]) / TOLERANCE
        observe(
            Evidence(state.changes, state.flagged_hours, state.counted_hours),
            rows,
            hours,
            moved,
            self.policy.prior.memory_days * HOURS_PER_DAY,
        )
        self.shown[rows], state.fetched_at[rows], state.followers[rows] = seen, now, np.exp(seen)
        self.fetched += len(rows)
        if self.has_planner and self.name != ORACLE:
            few = Evidence(state.changes[rows], state.flagged_hours[rows], state.counted_hours[rows])
            state.change_rate[rows] = estimate_rates(
                few, self.priors, groups_of(state.platform[rows], state.followers[rows])
            )

    def learn(self) -> None:
        """Once a day: what peers teach."""
        self.priors = fit_priors([self.state], self.policy)
        groups = groups_of(self.state.platform, self.state.followers)
        self.state.change_rate[:] = estimate_rates(self.state.evidence, self.priors, groups)


class Race:
    """All policies over one truth."""

    def __init__(self, seed: int, accounts: int, shares: Sequence[float], names: Sequence[str]) -> None:
        """Everybody starts from the same looks, up to 30 days old."""
        self.truth, self.policy = Truth(seed, accounts), load_policy()
        self.ages = self.truth.random.uniform(0, 30 * HOURS_PER_DAY, self.truth.size)
        self.shown = self.truth.before(self.ages)
        self.demand = self._demand()
        first = self._state()
        tiers = tiers_of(first, self.policy, np.zeros(self.truth.size))
        self.tiers, self.weights = tiers, weights_of(first, self.policy, tiers)
        is_expiring = np.isin(self.truth.platform, [PLATFORMS.index("youtube"), PLATFORMS.index("instagram")])
        self.retention = np.where(is_expiring, RETENTION_DAYS * HOURS_PER_DAY, np.inf)
        self.arms = [self._arm(name, share) for share in shares for name in names]

    def _demand(self) -> tuple[Ints, Floats]:
        random, size = self.truth.random, self.truth.size
        liked = np.exp(random.normal(-1.0, 1.5, size)) * np.exp(0.3 * (self.truth.log - np.log(1e4)))
        return (random.random(size) < TENANT_RATIO).astype(np.int64), liked

    def _state(self) -> RefreshState:
        size, hour = self.truth.size, hours_of(START)
        names = pa.array([f"{number:012d}" for number in range(size)])
        zeros = [np.zeros(size) for _ in range(3)]
        return RefreshState(
            ("instagram_graph", "tiktok_display", "youtube", "x_api"), self.truth.platform, self.truth.platform, names, names,
            np.exp(self.shown), np.full(size, hour - 8760.0), hour - self.ages, np.full(size, np.nan), *zeros,
            np.full(size, np.nan), np.zeros(size, dtype=np.bool_), *self.demand, np.zeros(size, dtype=np.int64),
            np.full(size, np.nan), np.zeros(size),
        )  # fmt: skip

    def _arm(self, name: str, share: float) -> Arm:
        each = self.truth.size // len(PLATFORMS)
        sources = {one.source: one for one in (source_of(platform, each, share) for platform in PLATFORMS)}
        policy = self.policy.model_copy(update={"ranking": "change"}) if name == CHANGE else self.policy
        arm = Arm(name, share, sources, policy, self._state(), self.shown.copy(), Priors.default(policy.prior))
        if name not in (FIXED, ROBIN):
            arm.learn()
        return arm

    def run(self) -> None:
        """Warm-up and the measured weeks."""
        spending = {arm.share: Spending(arm.sources) for arm in self.arms}
        for hour in range(WARM_UP_HOURS + MEASURED_HOURS):
            now = START + dt.timedelta(hours=hour)
            self.truth.move(hour)
            budgets = {share: one.next_hour(now) for share, one in spending.items()}
            for arm in self.arms:
                self._step(arm, hour, now, budgets[arm.share])

    def _step(self, arm: Arm, hour: int, now: dt.datetime, budgets: Mapping[str, HourBudget]) -> None:
        if arm.name == ORACLE:
            arm.state.change_rate[:] = self.truth.rates_now(hour)
        elif arm.has_planner and hour % 24 == 0:
            arm.learn()
        if hour == WARM_UP_HOURS:
            arm.fetched = 0
        arm.fetch(arm.choose(now, budgets), self.truth, hours_of(now))
        if hour % SAMPLE_HOURS == 0:
            self._look(arm, hour, hours_of(now))

    def _look(self, arm: Arm, hour: int, now: float) -> None:
        ages = now - arm.state.fetched_at
        is_right = (np.abs(arm.shown - self.truth.log) <= TOLERANCE) & (ages < self.retention)
        arm.right.append((float(self.weights @ is_right / self.weights.sum()), float(is_right.mean())))
        if hour >= WARM_UP_HOURS:
            arm.oldest = max(arm.oldest, float(ages.max()))

    def arm(self, name: str, share: float) -> Arm:
        """A policy at a budget."""
        return next(arm for arm in self.arms if (arm.name, arm.share) == (name, share))

    def ages_of(self, arm: Arm) -> Iterator[tuple[str, float, float]]:
        """Half and 95 % of a tier's accounts are at most so many hours old, at the end."""
        ages = hours_of(START) + WARM_UP_HOURS + MEASURED_HOURS - 1 - arm.state.fetched_at
        for position, tier in enumerate(self.policy.tiers):
            p50, p95 = np.percentile(ages[self.tiers == position], [50, 95])
            yield tier.code, float(p50), float(p95)


class Spending:
    """The same budgets for every policy: each hour's share of a day that is spent to the end."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        """Nothing spent."""
        self.sources = sources
        self.left: dict[str, dict[str, float]] = {}
        self.day: dict[str, dt.date] = {}

    def next_hour(self, now: dt.datetime) -> dict[str, HourBudget]:
        """This hour's budgets."""
        found = {}
        for name, source in self.sources.items():
            zone = source.buckets[0].day if source.buckets else "UTC"
            day = now.astimezone(ZoneInfo(zone or "UTC")).date()
            if self.day.get(name) != day:
                self.day[name] = day
                self.left[name] = {one.name: one.units for one in source.buckets}
                if source.spend is not None:
                    self.left[name] = {USD_DAY: source.spend.usd_per_day, USD_CYCLE: 1e9}
            is_rolling = any(one.day is None for one in source.buckets)
            found[name] = hour_budget(source, now, {} if is_rolling else self.left[name])
            self._pay(name, found[name])
        return found

    def _pay(self, name: str, budget: HourBudget) -> None:
        for bucket, units in budget.units.items():
            self.left[name][bucket] -= units
        if USD_DAY in self.left[name]:
            self.left[name][USD_DAY] -= budget.usd


def measure() -> list[Figure]:
    """All figures; draws the picture too."""
    large = run_race(SEED, ACCOUNTS, (MIDDLE,), POLICIES)
    further = [run_race(seed, FURTHER_ACCOUNTS, SHARES, POLICIES) for seed in FURTHER_SEEDS]
    draw(large, further)
    figures = [
        *_figures([large], MIDDLE, f"planner {ACCOUNTS:,} accounts, {MIDDLE:.0%} a day:"),
        *_ages(large, f"planner {ACCOUNTS:,} accounts, {MIDDLE:.0%} a day:"),
    ]
    for share in SHARES:
        figures += _figures(
            further, share, f"planner {len(further)} x {FURTHER_ACCOUNTS:,} accounts, {share:.0%} a day:"
        )
    return [*figures, *speed()]


def run_race(seed: int, accounts: int, shares: Sequence[float], names: Sequence[str]) -> Race:
    """One seed."""
    race = Race(seed, accounts, shares, names)
    race.run()
    return race


def _figures(races: Sequence[Race], share: float, label: str) -> list[Figure]:
    """What a budget came to: the planner's value, with the spread over seeds and the others beside it."""
    arms = {name: [race.arm(name, share) for race in races] for name in POLICIES}
    right = {name: np.array([_right(arm) for arm in found]) for name, found in arms.items()}
    looks = {name: np.array([_looks(arm) for arm in found]) for name, found in arms.items()}
    oldest = {name: np.array([arm.oldest / HOURS_PER_DAY for arm in found]) for name, found in arms.items()}
    return [
        _figure(f"{label} right, by value", {name: found[:, 0] for name, found in right.items()}, "of 1"),
        _figure(f"{label} right, by account", {name: found[:, 1] for name, found in right.items()}, "of 1"),
        _figure(f"{label} looks an account and day", looks, "looks"),
        _figure(f"{label} oldest", oldest, "days"),
    ]


def _ages(race: Race, label: str) -> list[Figure]:
    ages = {name: {code: both for code, *both in race.ages_of(race.arm(name, MIDDLE))} for name in POLICIES}
    return [
        _figure(
            f"{label} age {title} of {tier.code}",
            {name: np.array([found[tier.code][place] / HOURS_PER_DAY]) for name, found in ages.items()},
            "days",
        )
        for tier in race.policy.tiers
        for place, title in enumerate(("p50", "p95"))
    ]


def _right(arm: Arm) -> Floats:
    return np.array(arm.right[WARM_UP_HOURS // SAMPLE_HOURS :]).mean(axis=0)


def _looks(arm: Arm) -> float:
    return arm.fetched / len(arm.state) / (MEASURED_HOURS / HOURS_PER_DAY)


def _figure(name: str, values: Mapping[str, Floats], unit: str) -> Figure:
    digits = 2 if unit == "days" else 3
    texts = [f"{other} {_text(values[other], digits)}" for other in POLICIES[1:]]
    spread = f"over seeds {values[PLANNER].min():.{digits}f} to {values[PLANNER].max():.{digits}f}; "
    peer = (spread if len(values[PLANNER]) > 1 else "") + ", ".join(texts)
    return Figure(name, round(float(values[PLANNER].mean()), digits), unit, peer=peer)


def _text(values: Floats, digits: int) -> str:
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{values.mean():.{digits}f} ({values.min():.{digits}f} to {values.max():.{digits}f})"


def speed() -> list[Figure]:
    """Accounts a second of one plan, with hashes and estimates made anew, as for a chunk that was just read."""
    race = Race(SEED, ACCOUNTS, (MIDDLE,), (PLANNER,))
    arm = race.arms[0]
    budgets = Spending(arm.sources).next_hour(START)
    arm.state.change_rate[:] = np.nan
    started = time.perf_counter()
    plan_refresh([arm.state], Terms(arm.sources, budgets, arm.policy, arm.priors, START))
    seconds = time.perf_counter() - started
    return [Figure("planner speed: a plan", round(seconds / len(arm.state) * 1e6, 2), "s per million accounts")]


def draw(large: Race, further: Sequence[Race], target: Path = TARGET) -> None:
    """Share shown right over time at the middle budget, and over budgets."""
    mpl.rcParams["svg.hashsalt"] = "creatorlake"  # the same figures give the same file
    figure = Picture(figsize=(10, 4.5), layout="constrained")
    over_time, over_budget = figure.subplots(1, 2)
    for name, style in zip(POLICIES, ("k-", "C1-", "C2-", "C0-", "k:"), strict=True):
        by_day = np.array(large.arm(name, MIDDLE).right)[:, 0].reshape(-1, 24 // SAMPLE_HOURS).mean(axis=1)
        over_time.plot(np.arange(len(by_day)) - WARM_UP_HOURS / 24, by_day, style, label=name)
        means = [np.mean([_right(race.arm(name, share))[0] for race in further]) for share in SHARES]
        over_budget.semilogx([share * 100 for share in SHARES], means, style, marker="o", markersize=3, label=name)
    title = f"{ACCOUNTS:,} accounts, a budget of {MIDDLE:.0%} a day"
    over_time.set(xlabel="days; measured from 0", ylabel="shown right, by value", title=title)
    over_budget.set(xlabel="accounts a day that the budget pays, %", title="Mean of four weeks, by budget")
    over_budget.xaxis.set_minor_locator(NullLocator())
    over_budget.set_xticks([share * 100 for share in SHARES], [f"{share:.0%}" for share in SHARES])
    for axes in (over_time, over_budget):
        axes.grid(which="both", alpha=0.3)
        axes.legend(fontsize=8)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None})
