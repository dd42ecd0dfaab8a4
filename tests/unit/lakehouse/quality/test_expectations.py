"""Expectations: a metric outside its range is named with its value; every suite belongs to a table."""

from __future__ import annotations

import pytest

from lakehouse.contracts.tables import CREATOR_IDS, TABLES
from lakehouse.quality.expectations import EXPECTATIONS, metrics_of, validate


def test_suites_are_of_known_tables_and_count_their_rows():
    for suite in EXPECTATIONS:
        assert suite.table in TABLES
        assert "rows" in metrics_of(suite.table)


@pytest.mark.parametrize(
    ("metrics", "broken"),
    [
        ({"rows": 5.0, "largest_cluster": 3.0, "anchors_minus_creators": 0.0}, {}),
        ({"rows": 5.0, "largest_cluster": 61.0, "anchors_minus_creators": 0.0}, {"largest_cluster": 61}),
        (
            {"rows": 0.0, "largest_cluster": 0.0, "anchors_minus_creators": -1.0},
            {"rows": 0, "anchors_minus_creators": -1},
        ),
    ],
)
def test_metrics_outside_their_range_are_named(metrics, broken):
    outcome = validate(CREATOR_IDS.name, metrics)
    assert outcome.problems == broken
    assert outcome.is_passed is not bool(broken)
