"""Delta through the lake: every write mode is idempotent and enforces the declared schema."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pyspark.sql import functions as F

from lakehouse.contracts.tables import CREATOR_ALIASES as SPEC
from lakehouse.errors import SchemaError

pytestmark = pytest.mark.spark
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _frame(lake, *rows):
    return lake.spark.createDataFrame(
        [(alias, creator, "merge", NOW) for alias, creator in rows], lake.spark_schema(SPEC)
    )


def _content(lake, version=None):
    return sorted((row.alias_id, row.creator_id) for row in lake.read(SPEC, version=version).collect())


def test_a_table_that_was_never_written_is_empty(lake):
    assert lake.version(SPEC.name) is None
    assert lake.read(SPEC).count() == 0
    assert lake.max_value(SPEC, "alias_id") == 0


def test_append_of_the_same_batch_is_a_no_op(lake):
    lake.append(SPEC, _frame(lake, ("a", "1")), batch_seq=1)
    lake.append(SPEC, _frame(lake, ("a", "1")), batch_seq=1)
    lake.append(SPEC, _frame(lake, ("b", "2")), batch_seq=2)
    assert _content(lake) == [("a", "1"), ("b", "2")]


def test_merge_updates_inserts_and_keeps(lake):
    lake.merge(SPEC, _frame(lake, ("a", "1"), ("b", "2")))
    lake.merge(SPEC, _frame(lake, ("b", "3"), ("c", "4")))
    assert _content(lake) == [("a", "1"), ("b", "3"), ("c", "4")]
    assert _content(lake, version=0) == [("a", "1"), ("b", "2")]


def test_sync_also_deletes(lake):
    lake.merge(SPEC, _frame(lake, ("a", "1"), ("b", "2")))
    lake.sync(SPEC, _frame(lake, ("b", "2"), ("c", "4")))
    assert _content(lake) == [("b", "2"), ("c", "4")]


def test_replace_where_touches_only_its_slice(lake):
    lake.merge(SPEC, _frame(lake, ("a", "1"), ("b", "2")))
    lake.replace_where(SPEC, _frame(lake, ("b", "9")), predicate="alias_id = 'b'")
    assert _content(lake) == [("a", "1"), ("b", "9")]
    lake.replace(SPEC, _frame(lake, ("z", "0")))
    assert _content(lake) == [("z", "0")]


def test_other_columns_are_refused_by_name(lake):
    frame = (
        _frame(lake, ("a", "1")).withColumn("creator_id", F.lit(1)).withColumn("more", F.lit(1)).drop("last_seen_at")
    )
    with pytest.raises(SchemaError, match="missing last_seen_at; undeclared more; creator_id is int, not string"):
        lake.merge(SPEC, frame)
    assert lake.version(SPEC.name) is None


def test_a_null_in_a_required_column_fails_the_write_and_leaves_nothing(lake):
    with pytest.raises(SchemaError, match=rf"^{SPEC.name}.creator_id is null\.$"):
        lake.append(SPEC, _frame(lake, ("a", "1")).withColumn("creator_id", F.lit(None).cast("string")), batch_seq=1)
    assert lake.version(SPEC.name) is None
