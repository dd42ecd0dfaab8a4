"""Sizes, growth and engagement: heavy-tailed followers that agree across platforms, rates that fall with size, bought ones.

Rates by size follow the published benchmarks of product.md section 5 (nano to mega), read as points of a curve.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from lakehouse.simulate.draws import Draws, Floats, Ids, Ints, Mask
from lakehouse.simulate.world import INSTAGRAM, TIKTOK, YOUTUBE, World, X

TAIL_EXPONENT = 0.85
"""Pareto exponent of followers: about 14 % above 10,000, 4 % above 50,000, 0.3 % above a million."""
SMALLEST_FOLLOWERS = 1_000
"""Where the Pareto tail starts, on Instagram."""
PLATFORM_SCALES = (1.0, 1.4, 0.8, 0.5)
"""Typical followers on each platform relative to Instagram."""
LARGEST_FOLLOWERS = 400_000_000
SIZE_CORRELATION = 0.85
"""Correlation of the normal sizes of two accounts with their creator's; of two accounts of a creator it is the square."""
SMALL_RATIO, SMALL_DECADES = 0.25, 1.5
"""Share of accounts below the tail's start, spread over so many powers of ten."""
GROWTH_MEAN, GROWTH_SPREAD = 0.05, 0.08
"""Log growth of followers over `GROWTH_DAYS`."""
GROWTH_DAYS = 120
SIZE_POINTS = np.log(np.array([1e3, 5e3, 2.5e4, 1e5, 1e6, 1e7]))
"""Logs of the follower counts at which the rates below hold."""
ER_POINTS = {
    INSTAGRAM: (0.0300, 0.0180, 0.0095, 0.0060, 0.0036, 0.0030),
    TIKTOK: (0.1000, 0.0784, 0.0521, 0.0389, 0.0215, 0.0160),
    YOUTUBE: (0.0500, 0.0340, 0.0250, 0.0180, 0.0100, 0.0060),
    X: (0.0120, 0.0080, 0.0045, 0.0030, 0.0012, 0.0008),
}
"""Interactions per follower and post, as fractions, by platform and size."""
ER_VIEWS = (0.0350, 0.0486, 0.0441, 0.0231)
"""Interactions per view, as fractions, by platform."""
ER_SPREAD = 0.45
"""Standard deviation of an account's log rate around its tier."""
COMMENT_RATIOS, SHARE_RATIOS = (0.03, 0.02, 0.05, 0.08), (0.0, 0.05, 0.0, 0.12)
"""Comments and shares as shares of all interactions, by platform."""

ANOMALIES = ("inflated_likes", "follower_spike", "dead_followers", "mass_following")
INFLATED_LIKES, FOLLOWER_SPIKE, DEAD_FOLLOWERS, MASS_FOLLOWING = range(len(ANOMALIES))
INFLATION = 9.0
"""Bought likes per own like."""
SPIKE_LOG_GROWTH = 1.1
"""Followers tripled between the last two snapshots."""
DEAD_RATIO = 0.06
"""Interactions left where most followers are bought."""
MASS_FOLLOWS = (4_000, 7_500)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Counts of accounts at the newest snapshot, and how they got there.

    `growth` is the log growth of followers over `GROWTH_DAYS`; `anomaly` a position in `ANOMALIES` or -1; `er` the
    account's own interactions per follower and post, without bought likes.
    """

    followers: Floats
    following: Ints
    content: Ints
    views: Ints
    likes: Ints
    growth: Floats
    er: Floats
    anomaly: Ints

    def followers_on(self, day: dt.date, world: World) -> Ints:
        """Followers on a day: smooth growth; those with a spike got it between the last two snapshots."""
        days = (world.last_date - day).days
        steady = self.followers * np.exp(-self.growth * days / GROWTH_DAYS)
        is_before = (self.anomaly == FOLLOWER_SPIKE) & (days > 0)
        return np.maximum(np.where(is_before, steady * np.exp(-SPIKE_LOG_GROWTH), steady), 1).astype(np.int64)

    def content_on(self, day: dt.date, world: World) -> Ints:
        """Posts published up to a day; a few percent of them since the first snapshot."""
        days = (world.last_date - day).days
        return np.maximum((self.content * (1 - days / GROWTH_DAYS / 30)).astype(np.int64), 0)


def metrics_of(world: World, ids: Ids, platform: int, size: Floats) -> Metrics:
    """Metrics of accounts.

    Args:
        world: the specification.
        ids: accounts.
        platform: of all of them.
        size: standard normal size of their creators.
    """
    draws = Draws(world.seed)
    is_bought = draws.is_hit("anomalous", ids, world.anomalous_ratio)
    anomaly = np.where(is_bought, draws.below("anomaly", ids, len(ANOMALIES)), -1)
    followers = _followers(draws, ids, platform, size)
    er = _rates(draws, ids, platform, followers) * np.where(anomaly == DEAD_FOLLOWERS, DEAD_RATIO, 1.0)
    content = _log_normal(draws, "content", ids, median=180, spread=1.1)
    return Metrics(
        followers=followers,
        following=_following(draws, ids, anomaly == MASS_FOLLOWING),
        content=content.astype(np.int64),
        views=(content * followers * er / ER_VIEWS[platform] * 0.7).astype(np.int64),
        likes=(content * followers * er * 0.8).astype(np.int64),
        growth=GROWTH_MEAN + GROWTH_SPREAD * draws.normal("growth", ids),
        er=er,
        anomaly=anomaly,
    )


def rates(followers: Floats, platform: int) -> Floats:
    """Typical interactions per follower and post at a size, as fractions."""
    curve = np.interp(np.log(np.maximum(followers, 1.0)), SIZE_POINTS, np.log(ER_POINTS[platform]))
    return np.asarray(np.exp(curve), dtype=np.float64)


def _followers(draws: Draws, ids: Ids, platform: int, size: Floats) -> Floats:
    own = SIZE_CORRELATION * size + np.sqrt(1 - SIZE_CORRELATION**2) * draws.normal("account size", ids)
    tail = SMALLEST_FOLLOWERS * PLATFORM_SCALES[platform] * ndtr(-own) ** (-1 / TAIL_EXPONENT)
    is_small = draws.is_hit("small", ids, SMALL_RATIO) & (own < 0.5)
    shrunk = tail * 10 ** (-SMALL_DECADES * draws.uniform("how small", ids))
    whole = np.floor(np.where(is_small, shrunk, tail))
    return np.asarray(np.minimum(whole, LARGEST_FOLLOWERS), dtype=np.float64)


def _rates(draws: Draws, ids: Ids, platform: int, followers: Floats) -> Floats:
    return rates(followers, platform) * np.exp(ER_SPREAD * draws.normal("er", ids))


def _following(draws: Draws, ids: Ids, is_mass: Mask) -> Ints:
    low, high = MASS_FOLLOWS
    usual = np.minimum(_log_normal(draws, "following", ids, median=350, spread=0.9), low - 1)
    return np.where(is_mass, low + draws.below("mass following", ids, high - low), usual.astype(np.int64))


def _log_normal(draws: Draws, purpose: str, ids: Ids, *, median: float, spread: float) -> Floats:
    return np.asarray(median * np.exp(spread * draws.normal(purpose, ids)), dtype=np.float64)
