"""Followers of all accounts of a platform at any time: whole numbers at each day's edge, straight lines between them.

Whole-number arithmetic, so that one account and all accounts agree to the last follower.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict

import numpy as np

from lakehouse.simulate.draws import Draws, Floats, Ids, Ints
from lakehouse.simulate.metrics import GROWTH_DAYS, Metrics
from lakehouse.simulate.platforms.life import DAY_SECONDS, Fates, jumped, origin_of
from lakehouse.simulate.world import World

SCALES = (1, 4, 16, 64)
"""Days between the knots of the noise; the longer ones move further, as a random walk would."""
KEPT_DAYS = 64
"""Days whose values are kept: 8 bytes an account each."""
MOST_FOLLOWERS = 2e9
EARLIEST_DAY = -3_650
"""Further back than ten years nothing is known; the growth of today would not hold."""


class FollowerCurve:
    """Followers of the accounts of one platform, in the order of `ids`."""

    def __init__(self, world: World, ids: Ids, metrics: Metrics, fates: Fates) -> None:
        """Curves through the followers of the newest snapshot."""
        self._world, self._ids, self._metrics, self._fates = world, ids, metrics, fates
        self._origin = origin_of(world)
        self._draws = Draws(world.seed)
        self._start = self._noise(0)
        self._days: OrderedDict[int, Ints] = OrderedDict()

    def of(self, row: int, seconds: float) -> int:
        """Followers of one account at a time (Unix seconds)."""
        day, rest = self._split(seconds)
        low = int(self._day(day)[row])
        return low + (int(self._day(day + 1)[row]) - low) * rest // DAY_SECONDS

    def all(self, seconds: float) -> Ints:
        """Followers of all accounts at a time."""
        day, rest = self._split(seconds)
        low = self._day(day)
        return np.asarray(low + (self._day(day + 1) - low) * rest // DAY_SECONDS, dtype=np.int64)

    def _split(self, seconds: float) -> tuple[int, int]:
        """Days since the newest snapshot, and the seconds of the day."""
        return divmod(max(int(seconds) - self._origin, EARLIEST_DAY * DAY_SECONDS), DAY_SECONDS)

    def _day(self, day: int) -> Ints:
        found = self._days.get(day)
        if found is None:
            found = self._computed(day)
            self._days[day] = found
            if len(self._days) > KEPT_DAYS:
                self._days.popitem(last=False)
        return found

    def _computed(self, day: int) -> Ints:
        if day <= 0:
            past = self._world.last_date + dt.timedelta(days=day)
            return np.asarray(self._metrics.followers_on(past, self._world), dtype=np.int64)
        moved = self._metrics.growth * (day / GROWTH_DAYS) + self._fates.spread * (self._noise(day) - self._start)
        values = np.maximum(self._metrics.followers, 1.0) * np.exp(moved + jumped(self._fates, day))
        return np.asarray(np.clip(values, 1, MOST_FOLLOWERS), dtype=np.int64)

    def _noise(self, day: int) -> Floats:
        """Noise of several time scales, standard normal at each scale's knots."""
        total = np.zeros(len(self._ids))
        for scale in SCALES:
            knot, rest = divmod(day, scale)
            value = self._draws.normal(f"life/noise/{scale}/{knot}", self._ids)
            if rest:
                after = self._draws.normal(f"life/noise/{scale}/{knot + 1}", self._ids)
                value = value + (after - value) * (rest / scale)
            total += np.sqrt(scale) * value
        return total
