"""Structural checks by both engines: each broken rule is named and counted; an unchanged table is read once, a grown one
where it grew."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow.dataset as ds
import pytest

from lakehouse.contracts.tables import BRONZE_PROFILES, TABLES
from lakehouse.contracts.tables import CREATOR_IDS as SPEC
from lakehouse.quality import memory, structural
from lakehouse.quality.expectations import metrics_of
from lakehouse.quality.memory import checked
from lakehouse.quality.structural import check_frame, check_rows

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


def by_spark(spec, frame, metrics):
    return check_frame(spec, frame, metrics)


def by_duckdb(spec, frame, metrics):
    return check_rows(spec, ds.dataset(frame.toArrow()), metrics)


ENGINES = pytest.mark.parametrize("check", [by_spark, by_duckdb])


@ENGINES
def test_a_sound_frame_passes(lake, check):
    outcome = check(SPEC, _frame(lake, {}, {}), {})
    assert (outcome.is_passed, outcome.rows_count) == (True, 2)


@ENGINES
def test_each_broken_rule_is_named_and_counted(lake, check):
    rows = [
        {"platform_account_id": "same"},
        {"platform_account_id": "same"},
        {"creator_id": None},
        {"confidence_score": 1.5},
        {"cluster_size_count": -1},
        {"cluster_size_count": -2},
    ]
    assert check(SPEC, _frame(lake, *rows), {}).problems == {
        "duplicate_key": 1,
        "null:creator_id": 1,
        "outside_0_1:confidence_score": 1,
        "negative:cluster_size_count": 2,
    }


def test_an_unchanged_table_is_read_once_and_a_changed_one_again(lake, monkeypatch):
    lake.replace(SPEC, _frame(lake, {}))
    reads = []
    real = memory.check_table
    monkeypatch.setattr(memory, "check_table", lambda *a, **k: reads.append(1) or real(*a, **k))
    assert checked(lake, SPEC) == checked(lake, SPEC)
    assert len(reads) == 1
    lake.replace(SPEC, _frame(lake, {}, {}))
    assert checked(lake, SPEC).rows_count == 2
    assert len(reads) == 2


@pytest.mark.parametrize("name", sorted(TABLES))
def test_both_engines_read_the_rules_and_metrics_of_every_table_alike(lake, name):
    spec, metrics = TABLES[name], metrics_of(name)
    empty = lake.spark.createDataFrame([], lake.spark_schema(spec))
    assert by_spark(spec, empty, metrics) == by_duckdb(spec, empty, metrics)


def test_metrics_have_one_value_in_both_engines(lake):
    rows = lake.spark.sql(
        "SELECT 'c' AS creator_id, array(float(0.6), float(0.8)) AS vector, array('x') AS platforms, array() AS profiles, "
        "timestamp'2003-12-31 23:59:59Z' AS published_at, timestamp'2003-12-29 00:00:00Z' AS observed_at, 'a@b.com' AS bio "
        "UNION ALL SELECT 'c', array(float(1), float(1)), array('x', 'y'), array(null), "
        "timestamp'2004-01-01 00:00:00Z', timestamp'2004-01-01 00:00:00Z', 'nobody'"
    )
    names = ("not_unit", "dimensions", "without_profiles", "early_posts", "late_posts", "email_in_bio")
    known = {name: sql for table in TABLES for name, sql in metrics_of(table).items() if name in names}
    assert set(known) == set(names)
    spec = SPEC.__class__(name="t", description="", columns=("creator_id",), key=("creator_id",))
    found = [check(spec, rows, known) for check in (by_spark, by_duckdb)]
    assert found[0] == found[1]
    expected = {"not_unit": 1.0, "dimensions": 1.0, "without_profiles": 1.0, "early_posts": 1.0, "late_posts": 1.0}
    assert found[0].metrics == expected | {"email_in_bio": 1.0}
    assert found[0].problems == {"duplicate_key": 1}


BRONZE = BRONZE_PROFILES["x"]


def _append(lake, batch, rows):
    names = [field.name for field in lake.spark_schema(BRONZE).fields]
    values = {"record_id": "r", "source_code": "s", "platform": "x", "record_type": "profile", "payload": "{}"}
    values |= {"observed_at": NOW, "landed_at": NOW, "batch_seq": batch}
    filled = [values | {"record_seq": seq} for seq in range(rows)]
    data = [tuple(row.get(name) for name in names) for row in filled]
    lake.append(BRONZE, lake.spark.createDataFrame(data, lake.spark_schema(BRONZE)), batch_seq=batch)


@pytest.mark.parametrize("small_bytes", [structural.SMALL_BYTES, -1])
def test_a_table_that_grew_is_read_where_it_grew(lake, monkeypatch, small_bytes):
    monkeypatch.setattr(structural, "SMALL_BYTES", small_bytes)
    said = []
    real = memory.check_table
    monkeypatch.setattr(memory, "check_table", lambda *a, **k: said.append(k["since"]) or real(*a, **k))
    _append(lake, 1, 3)
    first = checked(lake, BRONZE)
    _append(lake, 2, 2)
    second = checked(lake, BRONZE)
    assert (first.rows_count, first.newest, second.rows_count, second.newest) == (3, 1, 5, 2)
    assert said == [None, first]
    lake.replace(BRONZE, lake.read(BRONZE).where("batch_seq = 2"))
    said.clear()
    lake.objects.replace("progress/check_bronze_x__profiles.json", b"{}")
    assert (checked(lake, BRONZE).rows_count, said) == (2, [None])
