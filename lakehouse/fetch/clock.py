"""The time that fetch work lives in: the wall clock, or one that runs faster, so that a week can be proven in minutes."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from dataclasses import dataclass, field
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits in it."""

    def now(self) -> dt.datetime:
        """The time, aware, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds of this clock."""


class WallClock:
    """The machine's clock."""

    def now(self) -> dt.datetime:
        """The time, aware, in UTC."""
        return dt.datetime.now(tz=dt.UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(max(0.0, seconds))


@dataclass
class FastClock:
    """Runs `speed` times as fast as the machine's, from `start`; `jump` moves it ahead at once."""

    start: dt.datetime
    speed: float = 1.0
    _began: float = field(default_factory=time.monotonic)

    def now(self) -> dt.datetime:
        """The time, aware, in UTC."""
        return self.start + dt.timedelta(seconds=(time.monotonic() - self._began) * self.speed)

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds of this clock."""
        await asyncio.sleep(max(0.0, seconds) / self.speed)

    def jump(self, to: dt.datetime) -> None:
        """Be at that time now; it must not lie behind."""
        self.start, self._began = max(to, self.now()), time.monotonic()
