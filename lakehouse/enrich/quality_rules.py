"""Quality and anomaly scores from features and peer statistics: pure, numpy, no Spark (product.md section 6).

Formula, version 1. Each component is a severity or a goodness 0-1 from a piecewise line (tables below, read top to
bottom). `quality_score` = weighted mean of the components that are known: contribution = weight share x goodness.
`anomaly_score` = 1 - product(1 - weight x severity): one strong signal is enough, many weak ones add up; each
contribution is the signal's share of the total in log space. Contributions add up to their score. An unusual account is
not a verdict: a viral month looks the same, so every reason is a sentence with its number.

Many accounts are scored at once: a matrix has a row for each component and a column for each account, NaN where unknown.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from lakehouse.contracts.taxonomy import PLATFORMS, TIER_EDGES

Column = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

FORMULA_VERSION = "quality/1"
MIN_PEERS = 20
"""Smallest peer group; below it the account is compared with its platform, then with all accounts."""
PROBABILITIES = tuple(round(i / 20, 2) for i in range(21))
"""Grid of the peer percentiles."""
_SHARES: Column = np.asarray(PROBABILITIES)
PEER_STEP = 0.02
"""Peer percentiles are rounded to this in log units, 2 %: a night moves them by less as a rule, and who is compared with the
same values keeps the same score."""
IQR_TO_SIGMA = 1.349
MIN_SIGMA = 0.1
"""Least spread in log units: peers that are all alike do not make a small difference strange."""
DIGITS = 6
"""Decimals of scores, contributions and values."""
_SAFE, _TIE = 1e6, 1e-3
"""A smaller number times 10^6 is off by less than 1e-3: only that near to a half must it be rounded digit by digit."""
MASS_FOLLOWING = 1_500
"""Following more accounts than this is a pattern of follow-for-follow."""
PEER_METRICS = ("er_followers", "er_views", "log_likes_per_comment", "log_views_per_follower")
FEATURES = (
    *PEER_METRICS,
    "followers",
    "following",
    "view_inflation",
    "spike_sigmas",
    "days_since_post",
    "completeness",
)
"""Columns that scoring reads, float with NaN for unknown, beside `platform`."""
Tier = tuple[str | None, int | None]
PeerStats = Mapping[tuple[str, str | None, int | None], Column]
"""(metric, platform, tier) -> values at `PROBABILITIES`; None widens the group. Groups below `MIN_PEERS` are absent."""


@dataclass(frozen=True, slots=True)
class Component:
    """One line of a score: which value it reads, its weight, the curve from the value to 0-1, and the sentence about it."""

    code: str
    reads: str
    weight: float
    curve: tuple[tuple[float, float], ...]
    text: str


QUALITY: tuple[Component, ...] = (
    Component("engagement", "er_followers_percentile", 0.45, ((0, 0), (0.1, 0.5), (0.25, 0.8), (0.9, 1)),
              "Engagement rate is above {:.0%} of its peers."),
    Component("views", "er_views_percentile", 0.15, ((0, 0), (0.1, 0.5), (0.25, 0.8), (0.9, 1)),
              "Engagement per view is above {:.0%} of its peers."),
    Component("activity", "days_since_post", 0.15, ((30, 1), (180, 0.4), (365, 0)),
              "Age of the newest known post in days: {:.0f}."),
    Component("completeness", "completeness", 0.1, ((0, 0), (1, 1)),
              "{:.0%} of the profile is filled in."),
    Component("regularity", "regularity", 0.15, ((0, 0), (1, 1)),
              "Regularity {:.2f}: 1 less the anomaly score."),
)  # fmt: skip
"""Quality: only the lowest quarter of engagement loses much, the lowest tenth most."""
ANOMALY: tuple[Component, ...] = (
    Component("low_engagement", "er_followers_percentile", 0.5, ((0, 1), (0.1, 0.3), (0.25, 0)),
              "Engagement rate is above only {:.0%} of its peers."),
    Component("high_engagement", "er_followers_percentile", 0.35, ((0.9, 0), (0.98, 0.5), (1, 1)),
              "Engagement rate is above {:.0%} of its peers."),
    Component("likes_per_comment", "log_likes_per_comment_sigmas", 0.5, ((3, 0), (8, 1)),
              "Likes per comment are {:.1f} spreads from the peers' median."),
    Component("views_per_follower", "views_excess", 0.35, ((3, 0), (8, 1)),
              "Views per follower are {:.1f} spreads above the peers' median."),
    Component("view_inflation", "view_inflation", 0.5, ((0.02, 0), (0.3, 1)),
              "Posts gain views without interactions: mean post score {:.2f}."),
    Component("follower_spike", "spike_sigmas", 0.6, ((8, 0), (30, 1)),
              "Followers jumped {:.1f} spreads away from the usual daily change."),
    Component("mass_following", "mass_following", 0.5, ((0.5, 0), (2, 1)),
              "Follows {:.1f} accounts per follower."),
    Component("bare_profile", "completeness", 0.1, ((0.2, 1), (0.6, 0)),
              "Only {:.0%} of the profile is filled in."),
)  # fmt: skip
"""Anomaly: both tails of engagement, ratios far from the peers, jumps. Weight = score of that signal alone at its worst."""
REASONS: tuple[tuple[str, Component], ...] = (
    *((f"quality:{part.code}", part) for part in QUALITY),
    *((f"anomaly:{part.code}", part) for part in ANOMALY),
)
"""Code of each reason and the component that it is about."""
_CODE_ORDER: Rows = np.argsort(np.argsort([code for code, _ in REASONS]))
"""Rank of each by its code."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """What made up the scores, one entry a component that counted.

    Sorted by account; of an account the reasons of its quality come first, and of a score the largest contribution.

    Attributes:
        rows: the account, counted from 0.
        kinds: which of `REASONS`.
        contributions: rounded; those of one score add up to it exactly.
        values: what the component read.
    """

    rows: Rows
    kinds: Rows
    contributions: Column
    values: Column

    def texts(self) -> list[str]:
        """Each reason as a sentence with its number."""
        templates = [part.text.format for _, part in REASONS]
        return [templates[kind](value) for kind, value in zip(self.kinds.tolist(), self.values.tolist(), strict=True)]


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores 0-1 of many accounts, NaN where unknown, and the reasons that add up to them."""

    quality: Column
    anomaly: Column
    reasons: Reasons


def tier_of(followers: Column) -> Rows:
    """Index of the follower tier, -1 where followers are unknown."""
    tiers = np.searchsorted(np.asarray(TIER_EDGES, dtype=np.float64), followers, side="right")
    return np.where(np.isnan(followers), -1, tiers).astype(np.int64)


def peer_stats(
    platforms: Sequence[str], features: Mapping[str, Column]
) -> dict[tuple[str, str | None, int | None], Column]:
    """Exact peer statistics of a set held in memory; Spark makes the same for a lake."""
    names, tiers = np.asarray(platforms, dtype=object), tier_of(features["followers"])
    groups: list[tuple[Tier, Mask]] = [((None, None), np.ones(len(names), dtype=bool))]
    for platform in sorted(set(platforms)):
        of_platform = names == platform
        groups.append(((platform, None), of_platform))
        groups += [((platform, int(t)), of_platform & (tiers == t)) for t in np.unique(tiers[of_platform]) if t >= 0]
    stats: dict[tuple[str, str | None, int | None], Column] = {}
    for metric in PEER_METRICS:
        known = ~np.isnan(features[metric])
        for (platform_or_all, tier), rows in groups:
            values = features[metric][rows & known]
            if len(values) >= MIN_PEERS:
                stats[metric, platform_or_all, tier] = on_grid(metric, np.quantile(values, PROBABILITIES))
    return stats


def on_grid(metric: str, values: Column) -> Column:
    """Percentiles of a metric, rounded to `PEER_STEP`; a rate of 0 stays 0."""
    if metric.startswith("log_"):
        return np.round(values / PEER_STEP) * PEER_STEP
    logs = np.log(np.where(values > 0, values, 1.0))
    return np.where(values > 0, np.exp(np.round(logs / PEER_STEP) * PEER_STEP), values)


def digests(stats: PeerStats) -> dict[str, str]:
    """What each group `platform/tier` is compared with, as a digest; tier -1 where followers are unknown."""
    return {
        f"{platform}/{tier}": _digest([find_peers(stats, metric, platform, tier) for metric in PEER_METRICS])
        for platform in PLATFORMS
        for tier in range(-1, len(TIER_EDGES) + 1)
    }


def changed_groups(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Groups that are compared with other values than before."""
    return [name for name, digest in after.items() if before.get(name) != digest]


def _digest(grids: Sequence[Column | None]) -> str:
    values = [None if grid is None else grid.tolist() for grid in grids]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def find_peers(stats: PeerStats, metric: str, platform: str, tier: int) -> Column | None:
    """Percentiles of the narrowest peer group that is big enough: platform and tier, platform, all."""
    for key in ((metric, platform, tier), (metric, platform, None), (metric, None, None)):
        if key in stats:
            return stats[key]
    return None


def percentile(values: Column, grid: Column) -> Column:
    """Share of peers below each value, 0-1, interpolated on the grid; of a run of equal grid values its middle."""
    below = np.asarray(np.interp(values, grid, _SHARES))
    first, last = np.searchsorted(grid, values, side="left"), np.searchsorted(grid, values, side="right") - 1
    tied = np.flatnonzero(last > first)
    below[tied] = (_SHARES[first[tied]] + _SHARES[last[tied]]) / 2
    return below


def sigmas(values: Column, grid: Column) -> Column:
    """Robust z: distance from the median in spreads, the spread being IQR / 1.349."""
    low, middle, high = (grid[PROBABILITIES.index(p)] for p in (0.25, 0.5, 0.75))
    return np.asarray((values - middle) / max((high - low) / IQR_TO_SIGMA, MIN_SIGMA))


_COMPARISONS: Mapping[str, tuple[str, Callable[[Column, Column], Column]]] = {
    "er_followers": ("er_followers_percentile", percentile),
    "er_views": ("er_views_percentile", percentile),
    "log_likes_per_comment": ("log_likes_per_comment_sigmas", lambda values, grid: np.abs(sigmas(values, grid))),
    "log_views_per_follower": ("views_excess", sigmas),
}
"""Metric -> the name of what components read instead of it, and how that is made from the metric and its peers."""


def score_accounts(platforms: Sequence[str], features: Mapping[str, Column], stats: PeerStats) -> Scores:
    """Quality and anomaly of every account.

    Args:
        platforms: platform of each account.
        features: the columns `FEATURES`, NaN where unknown.
        stats: peer statistics.
    """
    inputs = {**features, **_against_peers(platforms, features, stats)}
    inputs["mass_following"] = _mass_following(features["followers"], features["following"])
    anomaly, of_anomaly = _summed(*_anomaly(inputs), inputs, first=len(QUALITY))
    inputs["regularity"] = 1 - anomaly
    quality, of_quality = _summed(*_quality(inputs), inputs, first=0)
    return Scores(quality, anomaly, _sorted(of_quality, of_anomaly))


def rounded(values: Column) -> Column:
    """Python's `round(value, DIGITS)` of each: the nearest decimal, ties decided by the exact binary value."""
    is_safe = np.abs(values) < _SAFE
    scaled = np.where(is_safe, values, 0.0) * 10**DIGITS
    nearest = np.rint(scaled)
    doubtful = ~is_safe | (np.abs(np.abs(scaled - nearest) - 0.5) < _TIE)
    out: Column = nearest / 10**DIGITS
    out[doubtful] = [round(value, DIGITS) for value in values[doubtful].tolist()]
    return out


def _against_peers(platforms: Sequence[str], features: Mapping[str, Column], stats: PeerStats) -> dict[str, Column]:
    """The values that need peers; NaN where the value or the peers are unknown."""
    compared = {name: np.full(len(platforms), np.nan) for name, _ in _COMPARISONS.values()}
    for (platform, tier), rows in _groups(platforms, tier_of(features["followers"])):
        for metric, (name, compare) in _COMPARISONS.items():
            values, grid = features[metric][rows], find_peers(stats, metric, platform, tier)
            known = ~np.isnan(values)
            if grid is not None and known.any():
                compared[name][rows[known]] = compare(values[known], grid)
    return compared


def _groups(platforms: Sequence[str], tiers: Rows) -> Iterator[tuple[tuple[str, int], Rows]]:
    """Rows of each platform and tier."""
    groups: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for row, group in enumerate(zip(platforms, tiers.tolist(), strict=True)):
        groups[group].append(row)
    return ((group, np.asarray(rows)) for group, rows in groups.items())


def _mass_following(followers: Column, following: Column) -> Column:
    """Accounts followed per follower; 0 for those that follow few, NaN where unknown."""
    with np.errstate(invalid="ignore"):  # without end on both sides is unknown too
        ratio = np.where(following > MASS_FOLLOWING, following / np.maximum(followers, 1.0), 0.0)
    return np.where(np.isnan(followers) | np.isnan(following), np.nan, ratio)


def _quality(inputs: Mapping[str, Column]) -> tuple[Mask, Column]:
    """Which accounts have a quality, and contributions to it: a weighted mean over known components.

    Unknown without an engagement rate to compare.
    """
    curves, weights = _curves(inputs, QUALITY), _weights(QUALITY)
    is_scored = ~np.isnan(inputs["er_followers_percentile"])
    total = np.where(is_scored, _added(np.where(np.isnan(curves), 0.0, weights)), np.nan)
    return is_scored, weights / total * curves


def _anomaly(inputs: Mapping[str, Column]) -> tuple[Mask, Column]:
    """Which accounts have an anomaly score, and contributions to it: noisy-or over known components.

    Unknown where nothing but the profile is known.
    """
    curves = _curves(inputs, ANOMALY)
    telling = curves[[part.code != "bare_profile" for part in ANOMALY]]
    is_scored = np.asarray(np.any(~np.isnan(telling), axis=0))
    logs = -np.log1p(-_weights(ANOMALY) * curves)
    total = np.where(is_scored, _added(np.nan_to_num(logs)), 0.0)
    shares = np.divide(-np.expm1(-total) * logs, total, out=np.zeros_like(logs), where=total > 0)
    return is_scored, np.where(shares > 0, shares, np.nan)


def _curves(inputs: Mapping[str, Column], parts: Sequence[Component]) -> Column:
    """Severity or goodness 0-1 of each component."""
    return np.stack([np.interp(inputs[part.reads], *np.transpose(part.curve)) for part in parts])


def _weights(parts: Sequence[Component]) -> Column:
    return np.array([[part.weight] for part in parts])


def _added(matrix: Column) -> Column:
    """Sum of the rows, one after another: numpy's own sum adds in an order that depends on the shape."""
    return reduce(np.add, matrix)


def _summed(
    is_scored: Mask, contributions: Column, inputs: Mapping[str, Column], *, first: int
) -> tuple[Column, Reasons]:
    """Scores and their reasons. A score is the sum of the rounded contributions, so it can be checked exactly.

    Args:
        is_scored: accounts that have a score.
        contributions: of the components from `REASONS[first]` on, NaN where one is no reason.
        inputs: what components read.
        first: place of the first component.
    """
    kinds, rows = np.nonzero(~np.isnan(contributions))
    shares = rounded(contributions[kinds, rows])
    values = np.stack([inputs[part.reads] for _, part in REASONS[first : first + len(contributions)]])[kinds, rows]
    total = np.bincount(rows, weights=shares, minlength=len(is_scored))
    scores = np.where(is_scored, rounded(np.minimum(1.0, total)), np.nan)
    return scores, Reasons(rows, kinds + first, shares, values)


def _sorted(quality: Reasons, anomaly: Reasons) -> Reasons:
    """The reasons of both scores in their order; equal contributions by code."""
    rows, kinds, contributions, values = (
        np.concatenate([getattr(quality, name), getattr(anomaly, name)])
        for name in ("rows", "kinds", "contributions", "values")
    )
    order = np.lexsort((_CODE_ORDER[kinds], -contributions, kinds >= len(QUALITY), rows))
    return Reasons(rows[order], kinds[order], contributions[order], values[order])
