"""A jump of a count is told against its own history, whatever one bad night did to it."""

from __future__ import annotations

import pytest

from lakehouse.quality.measures import HISTORY_MIN, UNUSUAL_SIGMAS, sigmas


def test_too_little_history_says_nothing():
    assert sigmas(1e9, [10.0] * (HISTORY_MIN - 1)) == 0.0


@pytest.mark.parametrize(("value", "is_jump"), [(1_000_000, False), (1_050_000, False), (2_000_000, True), (0, True)])
def test_a_steady_table_may_grow_a_little_and_not_double_or_vanish(value, is_jump):
    assert (abs(sigmas(value, [1_000_000.0] * 10)) > UNUSUAL_SIGMAS) == is_jump


def test_one_bad_night_does_not_hide_the_next():
    history = [0.0, *[1_000.0 + night for night in range(10)]]
    assert sigmas(0.0, history) < -UNUSUAL_SIGMAS
    assert abs(sigmas(1_005.0, history)) < 1
