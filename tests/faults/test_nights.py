"""Nights with random kills end where one clean build of the same landing objects ends; all tables pass for large ones."""

from __future__ import annotations

import pytest

from lakehouse.simulate.world import World
from tests.faults.nights import live_through
from tests.support import WORLD, Home

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(3600)]
NIGHTS = 3


def test_killed_nights_end_where_a_clean_build_ends(tmp_path):
    home = Home(tmp_path, str(tmp_path / "lake"), WORLD | {"CREATORLAKE_SMALL_TABLE_MIB": "0"})
    lived = live_through(home, World(creators_count=60, seed=7), NIGHTS, seed=11)
    assert lived.differing == []
    assert sum(night.kills for night in lived.nights) > 0, "nothing was killed: choose another seed"
