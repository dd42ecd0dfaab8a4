"""Quality and anomaly scores from features and peer statistics: pure, numpy, no Spark (product.md section 6).

Formula, version 1. Each component is a severity or a goodness 0-1 from a piecewise line (tables below, read top to
bottom). `quality_score` = weighted mean of the components that are known: contribution = weight share x goodness.
`anomaly_score` = 1 - product(1 - weight x severity): one strong signal is enough, many weak ones add up; each
contribution is the signal's share of the total in log space. Contributions add up to their score. An unusual account is
not a verdict: a viral month looks the same, so every reason is a sentence with its number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lakehouse.contracts.taxonomy import PLATFORMS, TIER_EDGES

Column = npt.NDArray[np.float64]

FORMULA_VERSION = "quality/1"
MIN_PEERS = 20
"""Smallest peer group; below it the account is compared with its platform, then with all accounts."""
PROBABILITIES = tuple(round(i / 20, 2) for i in range(21))
"""Grid of the peer percentiles."""
PEER_STEP = 0.02
"""Peer percentiles are rounded to this in log units, 2 %: a night moves them by less as a rule, and who is compared with the
same values keeps the same score."""
IQR_TO_SIGMA = 1.349
MIN_SIGMA = 0.1
"""Least spread in log units: peers that are all alike do not make a small difference strange."""
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
    """One line of a score: which value it reads, its weight, and the curve from the value to 0-1."""

    code: str
    reads: str
    weight: float
    curve: tuple[tuple[float, float], ...]
    text: str


QUALITY: tuple[Component, ...] = (
    Component("engagement", "er_followers_percentile", 0.45, ((0, 0), (0.1, 0.5), (0.25, 0.8), (0.9, 1)),
              "Engagement rate is above {percent} of its peers"),
    Component("views", "er_views_percentile", 0.15, ((0, 0), (0.1, 0.5), (0.25, 0.8), (0.9, 1)),
              "Engagement per view is above {percent} of its peers"),
    Component("activity", "days_since_post", 0.15, ((30, 1), (180, 0.4), (365, 0)),
              "Age of the newest known post in days: {value:.0f}"),
    Component("completeness", "completeness", 0.1, ((0, 0), (1, 1)),
              "{percent} of the profile is filled in"),
    Component("regularity", "regularity", 0.15, ((0, 0), (1, 1)),
              "Regularity {value:.2f}: 1 less the anomaly score"),
)  # fmt: skip
"""Quality: only the lowest quarter of engagement loses much, the lowest tenth most."""
ANOMALY: tuple[Component, ...] = (
    Component("low_engagement", "er_followers_percentile", 0.5, ((0, 1), (0.1, 0.3), (0.25, 0)),
              "Engagement rate is above only {percent} of its peers"),
    Component("high_engagement", "er_followers_percentile", 0.35, ((0.9, 0), (0.98, 0.5), (1, 1)),
              "Engagement rate is above {percent} of its peers"),
    Component("likes_per_comment", "log_likes_per_comment_sigmas", 0.5, ((3, 0), (8, 1)),
              "Likes per comment are {value:.1f} spreads from the peers' median"),
    Component("views_per_follower", "views_excess", 0.35, ((3, 0), (8, 1)),
              "Views per follower are {value:.1f} spreads above the peers' median"),
    Component("view_inflation", "view_inflation", 0.5, ((0.02, 0), (0.3, 1)),
              "Posts gain views without interactions: mean post score {value:.2f}"),
    Component("follower_spike", "spike_sigmas", 0.6, ((8, 0), (30, 1)),
              "Followers jumped {value:.1f} spreads away from the usual daily change"),
    Component("mass_following", "mass_following", 0.5, ((0.5, 0), (2, 1)),
              "Follows {value:.1f} accounts per follower"),
    Component("bare_profile", "completeness", 0.1, ((0.2, 1), (0.6, 0)),
              "Only {percent} of the profile is filled in"),
)  # fmt: skip
"""Anomaly: both tails of engagement, ratios far from the peers, jumps. Weight = score of that signal alone at its worst."""


@dataclass(frozen=True, slots=True)
class Score:
    """A score 0-1 with reasons (code, contribution, value, text) that add up to it; None with no reasons if unknown."""

    value: float | None
    reasons: tuple[dict[str, Any], ...]


def tier_of(followers: Column) -> npt.NDArray[np.int64]:
    """Index of the follower tier, -1 where followers are unknown."""
    tiers = np.searchsorted(np.asarray(TIER_EDGES, dtype=np.float64), followers, side="right")
    return np.where(np.isnan(followers), -1, tiers).astype(np.int64)


def peer_stats(
    platforms: Sequence[str], features: Mapping[str, Column]
) -> dict[tuple[str, str | None, int | None], Column]:
    """Exact peer statistics of a set held in memory; Spark makes the same for a lake."""
    names, tiers = np.asarray(platforms, dtype=object), tier_of(features["followers"])
    groups: list[tuple[Tier, npt.NDArray[np.bool_]]] = [((None, None), np.ones(len(names), dtype=bool))]
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


def percentile(value: float, grid: Column) -> float:
    """Share of peers below `value`, 0-1, interpolated on the grid; of a run of equal grid values its middle."""
    ties = np.flatnonzero(grid == value)
    if len(ties) > 1:
        return float(np.mean([PROBABILITIES[ties[0]], PROBABILITIES[ties[-1]]]))
    return float(np.interp(value, grid, PROBABILITIES))


def sigmas(value: float, grid: Column) -> float:
    """Robust z: distance from the median in spreads, the spread being IQR / 1.349."""
    low, middle, high = (grid[PROBABILITIES.index(p)] for p in (0.25, 0.5, 0.75))
    return float((value - middle) / max((high - low) / IQR_TO_SIGMA, MIN_SIGMA))


def score_rows(platforms: Sequence[str], features: Mapping[str, Column], stats: PeerStats) -> list[tuple[Score, Score]]:
    """(quality, anomaly) of every account.

    Args:
        platforms: platform of each account.
        features: the columns `FEATURES`, NaN where unknown.
        stats: peer statistics.
    """
    tiers = tier_of(features["followers"])
    scores = []
    for row, platform in enumerate(platforms):
        values = {name: float(features[name][row]) for name in FEATURES}
        inputs = values | _against_peers(values, stats, platform=platform, tier=int(tiers[row]))
        anomaly = _anomaly(inputs)
        inputs["regularity"] = np.nan if anomaly.value is None else 1 - anomaly.value
        scores.append((_quality(inputs), anomaly))
    return scores


def _against_peers(values: Mapping[str, float], stats: PeerStats, *, platform: str, tier: int) -> dict[str, float]:
    """The values that need peers; NaN where the value or the peers are unknown."""

    def compare(metric: str, how: Callable[[float, Column], float]) -> float:
        grid = find_peers(stats, metric, platform, tier)
        return np.nan if grid is None or np.isnan(values[metric]) else how(values[metric], grid)

    followers, following = values["followers"], values["following"]
    return {
        "er_followers_percentile": compare("er_followers", percentile),
        "er_views_percentile": compare("er_views", percentile),
        "log_likes_per_comment_sigmas": abs(compare("log_likes_per_comment", sigmas)),
        "views_excess": compare("log_views_per_follower", sigmas),
        "mass_following": _mass_following(followers, following),
    }


def _mass_following(followers: float, following: float) -> float:
    """Accounts followed per follower; 0 for those that follow few, NaN where unknown."""
    if np.isnan(following) or np.isnan(followers):
        return np.nan
    return following / max(followers, 1.0) if following > MASS_FOLLOWING else 0.0


def _quality(inputs: Mapping[str, float]) -> Score:
    """Weighted mean over known components; unknown without an engagement rate to compare."""
    if np.isnan(inputs["er_followers_percentile"]):
        return Score(None, ())
    known = [(part, inputs[part.reads]) for part in QUALITY if not np.isnan(inputs[part.reads])]
    total = sum(part.weight for part, _ in known)
    return _summed("quality", [(part, value, part.weight / total * _curve(part, value)) for part, value in known])


def _anomaly(inputs: Mapping[str, float]) -> Score:
    """Noisy-or over known components; unknown where nothing but the profile is known."""
    known = [(part, inputs[part.reads]) for part in ANOMALY if not np.isnan(inputs[part.reads])]
    if not any(part.code != "bare_profile" for part, _ in known):
        return Score(None, ())
    logs = [-np.log1p(-part.weight * _curve(part, value)) for part, value in known]
    total = float(sum(logs))
    score = -np.expm1(-total)
    share = [float(score * log / total) if total > 0 else 0.0 for log in logs]
    fired = [(part, value, c) for (part, value), c in zip(known, share, strict=True) if c > 0]
    return _summed("anomaly", fired)


def _summed(score: str, parts: Sequence[tuple[Component, float, float]]) -> Score:
    """Largest first; the score is the sum of the rounded contributions, so it can be checked exactly."""
    rounded = sorted(((part, value, round(c, 6)) for part, value, c in parts), key=lambda p: (-p[2], p[0].code))
    reasons = tuple(
        {
            "code": f"{score}:{part.code}",
            "contribution": contribution,
            "value": round(value, 6),
            "text": part.text.format(value=value, percent=f"{value:.0%}") + ".",
        }
        for part, value, contribution in rounded
    )
    return Score(round(min(1.0, sum(contribution for *_, contribution in rounded)), 6), reasons)


def _curve(part: Component, value: float) -> float:
    return float(np.interp(value, [x for x, _ in part.curve], [y for _, y in part.curve]))
