"""How often an account changes, from looks at irregular times.

The model is a Poisson process with a gamma prior for each platform and size, fitted to all accounts of it (empirical Bayes):
an account that was seen often has its own rate, one that was not has that of its peers. A look shows by how much followers
moved, or only whether (a window with at least one change: Cho, Garcia-Molina 2003, "Estimating frequency of change", ACM TOIT
3(3)). What is kept of an account are three numbers. Values only; nothing is fetched or stored here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lakehouse.contracts.taxonomy import PLATFORMS, TIER_EDGES
from lakehouse.fetch.refresh_policy import HOURS_PER_DAY, Prior

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BANDS = len(TIER_EDGES) + 1
GROUPS = len(PLATFORMS) * BANDS
"""Groups that share a prior: platform by size."""
NEWTON_STEPS = 10
"""The iteration rises to its limit without overshooting; ten steps left a relative error below 1e-11 in each of a million
random cases, eight left one of 6e-4."""
FASTEST_PER_HOUR = 1.0
"""Rates are clipped: hourly looks cannot tell faster ones apart."""
FADED = 1e-6
"""Changes below this have faded away: twenty half-lives ago there was one."""
MOST_MOVED = 20.0
"""Thresholds that one look may count: a wrong count does not mark an account for weeks."""
SLOWEST_PER_HOUR = 1e-7
"""Once in a thousand years; keeps divisions finite."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of accounts: `changes` between looks, and the hours between them.

    `flagged_hours` are those of windows of which is known only that something changed, `counted_hours` all others.
    """

    changes: Floats
    flagged_hours: Floats
    counted_hours: Floats


def groups_of(platforms: Ints, followers: Floats) -> Ints:
    """Which prior an account shares: positions of `PLATFORMS`, followers (NaN is the smallest size)."""
    bands = np.searchsorted(np.asarray(TIER_EDGES, dtype=np.float64), np.nan_to_num(followers), side="right")
    return np.asarray(platforms * BANDS + bands, dtype=np.int64)


def observe(evidence: Evidence, rows: Ints, hours: Floats, moved: Floats, memory_hours: float) -> None:
    """Add one look at each of `rows` that shows by how much followers moved, in place.

    A move of m thresholds counts as m changes below one, so that steady growth shows whatever the distance of the looks. Above
    one it may be a single jump or m steps: it counts as the geometric mean of both, the root of m.

    Args:
        evidence: of all accounts.
        rows: accounts that were looked at, each once.
        hours: since the look before.
        moved: by how much followers moved since then, in thresholds, without sign.
        memory_hours: half-life of older looks.
    """
    changes = np.where(moved > 1, np.sqrt(np.minimum(moved, MOST_MOVED)), moved)
    _add(evidence, rows, hours, (changes, np.zeros(len(rows)), hours), memory_hours)


def observe_flags(
    evidence: Evidence, rows: Ints, hours: Floats, is_changed: npt.NDArray[np.bool_], memory_hours: float
) -> None:
    """Add one look at each of `rows` that says only whether something changed, in place. Else as `observe`."""
    parts = (is_changed.astype(np.float64), np.where(is_changed, hours, 0.0), np.where(is_changed, 0.0, hours))
    _add(evidence, rows, hours, parts, memory_hours)


def _add(
    evidence: Evidence, rows: Ints, hours: Floats, parts: tuple[Floats, Floats, Floats], memory_hours: float
) -> None:
    kept = np.exp2(-hours / memory_hours)
    columns = (evidence.changes, evidence.flagged_hours, evidence.counted_hours)
    for column, part in zip(columns, parts, strict=True):
        column[rows] = column[rows] * kept + part


@dataclass(frozen=True, slots=True)
class Priors:
    """Gamma priors by group: `shape` in changes, `hours` in which they would be seen. The mean rate is shape / hours."""

    shape: Floats
    hours: Floats

    @classmethod
    def default(cls, prior: Prior) -> Priors:
        """What is believed before anything was seen."""
        shape = np.full(GROUPS, prior.strength_min)
        return cls(shape, shape * HOURS_PER_DAY / prior.changes_per_day)


class PriorFit:
    """Sums over chunks of accounts, from which the priors follow. Chunks in any number and order give equal sums (to rounding)."""

    def __init__(self) -> None:
        """Nothing seen."""
        self._sums = np.zeros((6, GROUPS))

    def add(self, groups: Ints, evidence: Evidence) -> None:
        """Add accounts."""
        count, hours = evidence.changes, evidence.flagged_hours + evidence.counted_hours
        moments = (count, evidence.flagged_hours, evidence.counted_hours, count * count, count * hours, hours * hours)
        for position, values in enumerate(moments):
            self._sums[position] += np.bincount(groups, weights=values, minlength=GROUPS)

    def priors(self, prior: Prior) -> Priors:
        """Mean and strength of each group, by moments of the negative binomial; the default counts as one account."""
        changes, changed, unchanged, squares, products, hours_squared = self._sums
        mean = self._means(prior)
        excess = squares - 2 * mean * products + mean**2 * hours_squared - mean * (changed + unchanged)
        shape = np.full(GROUPS, prior.strength_max)
        np.divide(mean**2 * hours_squared, excess, out=shape, where=excess > 0)
        shape = np.where(changes > 0, np.clip(shape, prior.strength_min, prior.strength_max), prior.strength_min)
        return Priors(shape, shape / mean)

    def _means(self, prior: Prior) -> Floats:
        """Mean rate of each group: that of all its windows together, with one change at the default rate added."""
        changes, changed, unchanged = self._sums[:3]
        hours = np.full(GROUPS, HOURS_PER_DAY / prior.changes_per_day)
        pooled = Evidence(changes, changed, unchanged)
        return estimate_rates(pooled, Priors(np.ones(GROUPS), hours), np.arange(GROUPS))


def fit_priors(chunks: Iterable[tuple[Ints, Evidence]], prior: Prior) -> Priors:
    """Priors from chunks of (groups, evidence)."""
    fit = PriorFit()
    for groups, evidence in chunks:
        fit.add(groups, evidence)
    return fit.priors(prior)


def estimate_rates(evidence: Evidence, priors: Priors, groups: Ints) -> Floats:
    """Changes an hour of each account.

    With a prior Gamma(a, b), c changes and T hours it is `(a + c) / (b + T)`, the posterior mean. Where c are windows that are
    only flagged, of mean length m, it is the root of `a + c * x / (1 - exp(-x)) = rate * (b + T)` with `x = rate * m`: the
    unseen number of changes in a window is replaced by its expectation (the fixed point of EM).
    Newton from the left: the difference of both sides is convex and falls, so the steps never overshoot.
    """
    shape, total = priors.shape[groups], priors.hours[groups] + evidence.flagged_hours + evidence.counted_hours
    rate = (shape + evidence.changes) / total
    rows = np.flatnonzero((evidence.flagged_hours > 0) & (evidence.changes > FADED))
    if len(rows):
        rate[rows] = _newton(shape[rows], total[rows], evidence.changes[rows], evidence.flagged_hours[rows])
    return np.asarray(np.clip(rate, SLOWEST_PER_HOUR, FASTEST_PER_HOUR), dtype=np.float64)


def _newton(shape: Floats, total: Floats, changes: Floats, flagged: Floats) -> Floats:
    window, rate = flagged / changes, (shape + changes) / (total - flagged / 2)  # the first step, from 0
    for _ in range(NEWTON_STEPS):
        value, slope = _window_changes(rate * window)
        rate = rate + (shape + changes * value - rate * total) / (total - changes * slope * window)
    return rate


def _window_changes(x: Floats) -> tuple[Floats, Floats]:
    """Expected events of a Poisson variable of mean x that is not zero, x / (1 - exp(-x)), and its derivative."""
    safe = np.maximum(x, 1e-6)
    chance = -np.expm1(-safe)
    value = safe / chance
    slope = (1 - value * (1 - chance)) / chance
    return value, slope
