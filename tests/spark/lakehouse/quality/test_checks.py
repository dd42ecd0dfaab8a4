"""Structural checks over real frames: each broken rule is named and counted; an unchanged table is read once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lakehouse.contracts.tables import CREATOR_IDS as SPEC
from lakehouse.quality import memory
from lakehouse.quality.memory import checked
from lakehouse.quality.structural import check_frame

pytestmark = pytest.mark.spark
NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = {
    "platform": "x",
    "creator_id": "c",
    "cluster_size_count": 1,
    "is_anchor": True,
    "confidence_score": 1.0,
    "first_seen_at": NOW,
}


def _frame(lake, *rows):
    names = [field.name for field in lake.spark_schema(SPEC).fields]
    filled = [{"platform_account_id": str(i), **GOOD, **row} for i, row in enumerate(rows)]
    schema = lake.spark_schema(SPEC)
    for field in schema.fields:
        field.nullable = True
    return lake.spark.createDataFrame([tuple(row.get(name) for name in names) for row in filled], schema)


def test_a_sound_frame_passes(lake):
    outcome = check_frame(SPEC, _frame(lake, {}, {}))
    assert (outcome.is_passed, outcome.rows_count) == (True, 2)


def test_each_broken_rule_is_named_and_counted(lake):
    rows = [
        {"platform_account_id": "same"},
        {"platform_account_id": "same"},
        {"creator_id": None},
        {"confidence_score": 1.5},
        {"cluster_size_count": -1},
        {"cluster_size_count": -2},
    ]
    assert check_frame(SPEC, _frame(lake, *rows)).problems == {
        "duplicate_key": 1,
        "null:creator_id": 1,
        "outside_0_1:confidence_score": 1,
        "negative:cluster_size_count": 2,
    }


def test_an_unchanged_table_is_read_once_and_a_changed_one_again(lake, monkeypatch):
    lake.replace(SPEC, _frame(lake, {}))
    reads = []
    real = memory.check_table
    monkeypatch.setattr(memory, "check_table", lambda *given: reads.append(1) or real(*given))
    assert checked(lake, SPEC) == checked(lake, SPEC)
    assert len(reads) == 1
    lake.replace(SPEC, _frame(lake, {}, {}))
    assert checked(lake, SPEC).rows_count == 2
    assert len(reads) == 2
