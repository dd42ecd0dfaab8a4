"""What the platforms allow, and the meters that count it: days of a time zone, fixed windows, sliding windows, money."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict, deque
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

PACIFIC, UTC = "America/Los_Angeles", "UTC"
MICRO = 1_000_000
"""Money is counted in millionths of a dollar."""
X_WINDOW_SECONDS = 900
MINUTE_SECONDS, HOUR_SECONDS, DAY_SECONDS = 60, 3_600, 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """Limits of each credential. Defaults are those of platforms' documentation, where they state one.

    Attributes:
        youtube_units_per_day: of a Pacific day.
        youtube_searches_per_day: bucket of its own.
        x_user_requests: of 15 minutes, for each look-up of users.
        x_post_requests: of 15 minutes, for posts of a user.
        x_usage_requests: of 15 minutes.
        x_usd_per_cycle: money of a calendar month, UTC.
        x_posts_per_cycle: posts of a calendar month.
        tiktok_display_per_minute: sliding, for each endpoint.
        tiktok_research_requests_per_day: of a UTC day.
        tiktok_research_records_per_day: of a UTC day.
        instagram_calls_per_hour: rolling; the limit of the application.
        instagram_calls_per_day: rolling; the limit of the business use case.
        vendor_requests_per_second: sliding.
        vendor_credits_per_cycle: profiles of a calendar month.
    """

    youtube_units_per_day: int = 10_000
    youtube_searches_per_day: int = 100
    x_user_requests: int = 300
    x_post_requests: int = 10_000
    x_usage_requests: int = 50
    x_usd_per_cycle: float = 1_000.0
    x_posts_per_cycle: int = 3_000_000
    tiktok_display_per_minute: int = 600
    tiktok_research_requests_per_day: int = 1_000
    tiktok_research_records_per_day: int = 100_000
    instagram_calls_per_hour: int = 200
    instagram_calls_per_day: int = 4_800
    vendor_requests_per_second: int = 20
    vendor_credits_per_cycle: int = 10_000_000

    @classmethod
    def unlimited(cls) -> Quotas:
        """No limit is ever reached."""
        most = 10**12
        return cls(
            youtube_units_per_day=most, youtube_searches_per_day=most, x_user_requests=most, x_post_requests=most,
            x_usage_requests=most, x_usd_per_cycle=most, x_posts_per_cycle=most, tiktok_display_per_minute=most,
            tiktok_research_requests_per_day=most, tiktok_research_records_per_day=most, instagram_calls_per_hour=most,
            instagram_calls_per_day=most, vendor_requests_per_second=most, vendor_credits_per_cycle=most,
        )  # fmt: skip


def day_of(seconds: float, zone: str = UTC) -> str:
    """The day of a time zone, as `2026-06-30`."""
    return _day_at(int(seconds) // 900, zone)


@lru_cache(maxsize=4_096)
def _day_at(quarter_hour: int, zone: str) -> str:
    """No zone's midnight lies inside a quarter of an hour of Unix time."""
    return dt.datetime.fromtimestamp(quarter_hour * 900, ZoneInfo(zone)).date().isoformat()


def cycle_of(seconds: float) -> str:
    """The billing cycle: a calendar month in UTC, as `2026-06`."""
    return day_of(seconds)[:7]


def day_end(seconds: float, zone: str = UTC) -> float:
    """Unix seconds of the next midnight of a time zone, whether the day has 23, 24 or 25 hours."""
    day = dt.datetime.fromtimestamp(seconds, ZoneInfo(zone)).date() + dt.timedelta(days=1)
    return dt.datetime.combine(day, dt.time(), ZoneInfo(zone)).timestamp()


class PeriodMeter:
    """Counts what was used within named periods (days, months), for each credential."""

    def __init__(self) -> None:
        """Nothing used."""
        self._used: dict[tuple[str, str], int] = defaultdict(int)

    def used(self, credential: str, period: str) -> int:
        """How much was used within a period."""
        return self._used.get((credential, period), 0)

    def add(self, credential: str, period: str, amount: int) -> None:
        """Use some more."""
        self._used[credential, period] += amount


class Window(NamedTuple):
    """State of a fixed window after a request asked for room. `reset` is in Unix seconds."""

    is_open: bool
    remaining: int
    reset: int


class FixedWindows:
    """Windows of a fixed length that start with their first request."""

    def __init__(self, seconds: int) -> None:
        """Windows of so many seconds."""
        self._seconds = seconds
        self._open: dict[str, tuple[float, int]] = {}

    def take(self, key: str, limit: int, now: float) -> Window:
        """Ask for room for one request."""
        start, used = self._open.get(key, (now, 0))
        if not start <= now < start + self._seconds:
            start, used = now, 0
        is_open = used < limit
        used += is_open
        self._open[key] = (start, used)
        return Window(is_open, limit - used, int(start) + self._seconds)


@dataclass(slots=True)
class SlidingWindows:
    """Requests within the last so many seconds, for each key."""

    seconds: int
    times: dict[str, deque[float]] = field(default_factory=dict)

    def count(self, key: str, now: float) -> int:
        """Requests of the window that ends now."""
        found = self.times.setdefault(key, deque())
        while found and not now - self.seconds < found[0] <= now:
            found.popleft()
        return len(found)

    def add(self, key: str, now: float, *, most: int) -> None:
        """Count a request; of more than `most` the oldest are forgotten."""
        found = self.times.setdefault(key, deque())
        found.append(now)
        if len(found) > most:
            found.popleft()

    def free_in(self, key: str, now: float, limit: int) -> float:
        """Seconds until there is room for another request, if nobody asks meanwhile."""
        found = self.times.get(key, deque())
        if len(found) < limit:
            return 0.0
        return max(found[len(found) - limit] + self.seconds - now, 0.0)


class DayOnce:
    """Resources that were billed on a UTC day already, for each credential; the day before is forgotten."""

    def __init__(self) -> None:
        """Nothing billed."""
        self._seen: dict[str, tuple[str, set[str]]] = {}

    def fresh(self, credential: str, day: str, resources: list[str]) -> int:
        """How many of the resources are billed for the first time on that day."""
        known_day, seen = self._seen.get(credential, ("", set()))
        if known_day != day:
            seen = set()
            self._seen[credential] = (day, seen)
        before = len(seen)
        seen.update(resources)
        return len(seen) - before
