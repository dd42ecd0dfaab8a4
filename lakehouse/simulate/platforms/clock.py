"""Virtual time: runs at any speed, can stand still, can be moved. Nothing in the emulator reads another clock."""

from __future__ import annotations

import datetime as dt
import time
from typing import NamedTuple

from lakehouse.errors import SettingsError

LATEST_SECONDS = dt.datetime(9000, 1, 1, tzinfo=dt.UTC).timestamp()
MOST_SPEED = 10_000_000
"""Virtual seconds a real second: a year in three seconds."""


class _Anchor(NamedTuple):
    """At `real` (monotonic seconds) it was `virtual` (Unix seconds); replaced as a whole, so that threads see one of both."""

    virtual: float
    real: float
    speed: float


class VirtualClock:
    """Virtual time = start + real time passed x speed. Speed 0 freezes it."""

    def __init__(self, start: dt.datetime, speed: float = 1.0) -> None:
        """A clock that shows `start` now.

        Raises:
            SettingsError: the start has no time zone, or the speed is negative or beyond reason.
        """
        if start.tzinfo is None:
            raise SettingsError("A virtual clock needs a start with a time zone.")
        self._anchor = _Anchor(start.timestamp(), time.monotonic(), _checked(speed))

    @property
    def speed(self) -> float:
        """Virtual seconds per real second."""
        return self._anchor.speed

    def seconds(self) -> float:
        """Virtual Unix seconds."""
        anchor = self._anchor
        if not anchor.speed:
            return anchor.virtual
        return anchor.virtual + (time.monotonic() - anchor.real) * anchor.speed

    def now(self) -> dt.datetime:
        """Virtual time, UTC."""
        return dt.datetime.fromtimestamp(self.seconds(), dt.UTC)

    def jump(self, to: dt.datetime | float) -> None:
        """Move to a time, or forward by seconds; backwards too, as clocks are set back.

        Raises:
            SettingsError: it would show a time before 1970 or after the year 9000.
        """
        target = to.timestamp() if isinstance(to, dt.datetime) else self.seconds() + to
        if not 0 <= target < LATEST_SECONDS:
            raise SettingsError("A virtual clock shows times between 1970 and the year 9000.")
        self._anchor = _Anchor(target, time.monotonic(), self.speed)

    def run_at(self, speed: float) -> None:
        """Go on from the present time at another speed.

        Raises:
            SettingsError: the speed is negative or beyond reason.
        """
        self._anchor = _Anchor(self.seconds(), time.monotonic(), _checked(speed))


def _checked(speed: float) -> float:
    if not 0 <= speed <= MOST_SPEED:
        raise SettingsError(f"A virtual clock runs at 0 to {MOST_SPEED:,} seconds a second; move it instead.")
    return speed
