"""However many runs: upkeep bounds the files of a table, and no row is lost or doubled."""

from __future__ import annotations

import pytest

from tests.faults.growth import MAINTAINED_EVERY, NEW, ROWS, grow

pytestmark = [pytest.mark.spark, pytest.mark.faults, pytest.mark.timeout(900)]
RUNS = 2 * MAINTAINED_EVERY


@pytest.mark.usefixtures("no_retention")
def test_files_do_not_grow_with_runs(lake):
    found = list(grow(lake, RUNS))
    assert [files.rows for files in found] == [ROWS + NEW * run for run in range(1, RUNS + 1)]
    first, last = (found[start : start + MAINTAINED_EVERY] for start in range(0, RUNS, MAINTAINED_EVERY))
    for name in ("live", "stored"):
        most_first, most_last = (max(getattr(files, name) for files in week) for week in (first, last))
        assert most_first > 1
        assert most_last <= most_first, f"{name} files of the last week"
