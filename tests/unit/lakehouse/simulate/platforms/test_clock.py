import datetime as dt
import time

import pytest

from lakehouse.errors import SettingsError
from lakehouse.simulate.platforms.clock import VirtualClock

START = dt.datetime(2026, 6, 30, 12, tzinfo=dt.UTC)


def test_a_frozen_clock_stands_still_and_can_be_moved():
    clock = VirtualClock(START, speed=0)
    time.sleep(0.002)
    assert clock.now() == START
    clock.jump(90)
    assert clock.now() == START + dt.timedelta(seconds=90)
    clock.jump(START - dt.timedelta(days=1))
    assert clock.now() == START - dt.timedelta(days=1)


def test_speed_multiplies_real_time_and_can_change():
    clock = VirtualClock(START, speed=3_600)
    time.sleep(0.01)
    assert clock.now() >= START + dt.timedelta(seconds=36)
    clock.run_at(0)
    seen = clock.now()
    time.sleep(0.002)
    assert clock.now() == seen


def test_a_clock_needs_a_zone_and_never_runs_backwards():
    with pytest.raises(SettingsError):
        VirtualClock(dt.datetime(2026, 6, 30))
    with pytest.raises(SettingsError):
        VirtualClock(START, speed=-1)
    clock = VirtualClock(START, speed=0)
    for beyond in (float("inf"), float("nan"), 1e12, -1e12):
        with pytest.raises(SettingsError):
            clock.jump(beyond)
        with pytest.raises(SettingsError):
            clock.run_at(beyond)
    assert clock.now() == START
