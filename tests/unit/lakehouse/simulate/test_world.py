"""Specifications that cannot be generated are refused when they are made."""

import datetime as dt
from dataclasses import fields

import pytest

from lakehouse.errors import SettingsError
from lakehouse.simulate.world import MAX_POSTS, Junk, World


@pytest.mark.parametrize(
    "wrong",
    [
        {"creators_count": 0},
        {"chunk_creators": 0},
        {"posts_min": 0},
        {"posts_min": 9, "posts_max": 8},
        {"posts_max": MAX_POSTS + 1},
        {"snapshot_dates": ()},
        {"snapshot_dates": (dt.date(2026, 2, 1), dt.date(2026, 1, 1))},
    ],
)
def test_impossible_worlds_are_refused(wrong):
    with pytest.raises(SettingsError):
        World(**wrong)


def test_no_junk_is_none_of_any_kind():
    assert not any(getattr(Junk.none(), field.name) for field in fields(Junk))


def test_snapshots_are_far_enough_apart_for_growth():
    dates = World().snapshot_dates
    assert len(dates) == 3
    assert (dates[-1] - dates[0]).days == 120
