"""Delta through the lake: every write mode is idempotent and enforces the declared schema."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from lakehouse.contracts.fields import FIELDS
from lakehouse.contracts.tables import CREATOR_ALIASES as SPEC
from lakehouse.contracts.tables import TABLES, TableSpec
from lakehouse.errors import SchemaError
from lakehouse.storage import lake as storage
from lakehouse.storage.keys import Keys

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


def test_a_small_and_a_large_table_read_alike(lake, monkeypatch):
    """All types of all tables in one: what goes into the plan as rows is what Spark reads from the files."""
    by_type = {str(field.type): name for name, field in FIELDS.items()}
    wide = TableSpec("silver_core__wide", "", columns=tuple(by_type.values()), key=())
    monkeypatch.setitem(TABLES, wide.name, wide)
    types = [field.type for field in wide.fields]
    rows = [tuple(_sample(kind) for kind in types), tuple(None for _ in types)]
    for frame in (lake.spark.createDataFrame([], lake.spark_schema(wide)), _rows(lake, wide, rows)):
        lake.replace(wide, frame)
        read = []
        for mib in (16, 0):
            lake.settings = lake.settings.model_copy(update={"small_table_mib": mib})
            read.append(lake.read(wide))
        small, large = read
        assert small.dtypes == large.dtypes
        assert sorted(map(repr, small.collect())) == sorted(map(repr, large.collect()))
    assert ["parquet" in _plan(df) for df in (small, large)] == [False, True]
    assert small.count() == len(rows)


def _rows(lake, spec, rows):
    return lake.spark.createDataFrame(rows, lake.spark_schema(spec))


def _plan(df):
    return df._jdf.queryExecution().analyzed().toString()


def _sample(kind):
    """A value of an Arrow type, as Spark takes it."""
    if pa.types.is_list(kind):
        return [_sample(kind.value_type), None]
    if pa.types.is_map(kind):
        return {_sample(kind.key_type): _sample(kind.item_type)}
    if pa.types.is_struct(kind):
        return tuple(_sample(kind.field(at).type) for at in range(kind.num_fields))
    samples = {
        pa.types.is_string: "é\u200d👩",
        pa.types.is_boolean: True,
        pa.types.is_integer: 7,
        pa.types.is_floating: 0.1,
        pa.types.is_timestamp: NOW,
        pa.types.is_date: NOW.date(),
        pa.types.is_binary: b"\x00\xff",
    }
    return next(value for is_kind, value in samples.items() if is_kind(kind))


def test_append_of_the_same_batch_is_a_no_op(lake):
    lake.append(SPEC, _frame(lake, ("a", "1")), batch_seq=1)
    lake.append(SPEC, _frame(lake, ("a", "1")), batch_seq=1)
    lake.append(SPEC, _frame(lake, ("b", "2")), batch_seq=2)
    assert _content(lake) == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize(("small_table_mib", "commits"), [(0, 2), (16, 1)])
def test_upsert_updates_inserts_and_keeps(lake, small_table_mib, commits):
    lake.settings = lake.settings.model_copy(update={"small_table_mib": small_table_mib})
    lake.upsert(SPEC, _frame(lake, ("a", "1"), ("b", "2")))
    lake.upsert(SPEC, _frame(lake, ("b", "3"), ("c", "4")))
    assert _content(lake) == [("a", "1"), ("b", "3"), ("c", "4")]
    assert _content(lake, version=0) == [("a", "1"), ("b", "2")]
    assert lake.version(SPEC.name) == commits
    lake.upsert(SPEC, _frame(lake, ("b", "3"), ("c", "4")))
    assert lake.version(SPEC.name) == commits


def test_upsert_of_given_values_removes_what_the_frame_lacks_of_them_and_nothing_else(lake):
    lake.upsert(SPEC, _frame(lake, ("a", "1"), ("b", "1"), ("c", "2"), ("d", "3")))
    of = Keys.of_frame(lake.spark.createDataFrame([("1",), ("2",)], "creator_id string"))
    lake.upsert(SPEC, _frame(lake, ("b", "1"), ("e", "2")), of=of)
    assert _content(lake) == [("b", "1"), ("d", "3"), ("e", "2")]
    lake.upsert(SPEC, _frame(lake), of=of)
    assert _content(lake) == [("d", "3")]


def test_a_changed_row_leaves_its_file_and_is_read_by_other_engines(lake):
    lake.replace(SPEC, _frame(lake, *((f"a{i}", "1") for i in range(200))))
    (before,) = {file["path"] for file in lake.files(SPEC)} if len(lake.files(SPEC)) == 1 else (None,)
    lake.upsert(SPEC, _frame(lake, ("a7", "2")))
    paths = {file["path"] for file in lake.files(SPEC)}
    assert before is None or before in paths
    other = lake.rows(SPEC).read_all()
    assert other.num_rows == 200
    assert dict(zip(*(other.column(name).to_pylist() for name in ("alias_id", "creator_id")), strict=True))["a7"] == "2"


def _changed(lake, since):
    rows = lake.changes(SPEC, since=since)
    return None if rows is None else sorted({(row.alias_id, row.creator_id) for row in rows.collect()})


def test_changes_are_rows_as_they_were_and_as_they_are(lake):
    assert _changed(lake, None) == []
    lake.upsert(SPEC, _frame(lake, ("a", "1"), ("b", "2"), ("c", "3")))
    since = lake.state(SPEC.name)
    assert _changed(lake, None) == [("a", "1"), ("b", "2"), ("c", "3")]
    assert _changed(lake, since) == []
    lake.upsert(
        SPEC,
        _frame(lake, ("b", "9"), ("d", "4")),
        of=Keys.of_frame(_frame(lake, ("a", ""), ("b", "")).select("alias_id")),
    )
    assert _changed(lake, since) == [("a", "1"), ("b", "2"), ("b", "9"), ("d", "4")]
    lake.compact(SPEC)
    assert _changed(lake, since) == [("a", "1"), ("b", "2"), ("b", "9"), ("d", "4")]
    assert _changed(lake, "0-000000000000") is None, "a state that the table never had"
    assert _changed(lake, "7-000000000000") is None
    lake.settings = lake.settings.model_copy(update={"vacuum_hours": 0})
    assert _changed(lake, since) is None, "changes that may be vacuumed"


def test_keys_that_changed_are_found_without_spark_as_with_it(lake):
    """After every kind of write: the feed that delta-rs reads names no key less than the one that Spark reads."""
    lake.settings = lake.settings.model_copy(update={"small_table_mib": 0})
    lake.replace(SPEC, _frame(lake, *((f"a{i}", "1") for i in range(50))))
    writes = (
        lambda: lake.upsert(SPEC, _frame(lake, ("a1", "2"), ("b", "1"))),
        lambda: lake.delete_where(SPEC, "alias_id = 'a7'"),
        lambda: lake.upsert(SPEC, _frame(lake), of=Keys.of_frame(_frame(lake, ("a2", "")).select("alias_id"))),
        lambda: lake.replace_where(SPEC, _frame(lake, ("a3", "9")), predicate="alias_id = 'a3'"),
        lambda: lake.append(SPEC, _frame(lake, ("c", "1")), batch_seq=1),
        lambda: lake.replace_where(SPEC, _frame(lake, ("a1", "9")), predicate="alias_id < 'a2'"),
        lambda: lake.delete_where(SPEC, "alias_id < 'a30'"),
        lambda: lake.replace(SPEC, _frame(lake, ("y", "1"), ("z", "1"))),
        lambda: lake.upsert(SPEC, _frame(lake, ("z", "2"))),
        lambda: lake.compact(SPEC),
        lambda: lake.replace(SPEC, _frame(lake, ("z", "1"))),
    )
    for write in writes:
        since = lake.state(SPEC.name)
        write()
        told = {alias for alias, _ in _changed(lake, since)}
        found = lake.changed_keys({SPEC: since}, ("alias_id",))
        assert {row.alias_id for row in found.frame.collect()} == told
        assert lake.count(SPEC) == lake.read(SPEC).count()
    assert lake.count(SPEC, where="creator_id = '1'") == 1


def test_many_keys_are_read_and_compared_by_spark_to_the_same_end(lake, monkeypatch):
    def outcome(few):
        monkeypatch.setattr("lakehouse.storage.keys.FEW", few)
        monkeypatch.setattr("lakehouse.storage.lake.FEW", few)
        lake.settings = lake.settings.model_copy(update={"small_table_mib": 0})
        lake.replace(SPEC, _frame(lake, ("a", "1"), ("b", "2"), ("c", "3")))
        since = lake.state(SPEC.name)
        gone = Keys.of_frame(_frame(lake, ("a", ""), ("b", ""), ("d", "")).select("alias_id"))
        read = sorted(tuple(row) for row in lake.read_of(SPEC, gone, columns=("creator_id", "alias_id")).collect())
        at = lake.keys_at(SPEC, gone, ("creator_id",))
        assert sorted(row.creator_id for row in at.frame.collect()) == ["1", "2"]
        lake.upsert(SPEC, _frame(lake, ("b", "9"), ("d", "4")), of=gone)
        keys = lake.changed_keys({SPEC: since}, ("alias_id",))
        return read, _content(lake), sorted(row.alias_id for row in keys.frame.collect()), gone.few is None

    assert outcome(100) == ([("1", "a"), ("2", "b")], [("b", "9"), ("c", "3"), ("d", "4")], ["a", "b", "d"], False)
    monkeypatch.setattr("lakehouse.storage.lake.SAMPLED", 1)
    monkeypatch.setattr("lakehouse.storage.picking.MAX_BYTES", 1)
    assert not storage._fits_here(_frame(lake, ("b", "9"), ("d", "4")), 2)
    assert outcome(100) == ([("1", "a"), ("2", "b")], [("b", "9"), ("c", "3"), ("d", "4")], ["a", "b", "d"], False)
    assert outcome(1) == ([("1", "a"), ("2", "b")], [("b", "9"), ("c", "3"), ("d", "4")], ["a", "b", "d"], True)


def test_a_table_made_without_a_feed_keeps_one_once_it_is_rebuilt(lake):
    _frame(lake, ("a", "1")).write.format("delta").save(lake.layout.table_uri(SPEC))
    since = lake.state(SPEC.name)
    lake.append(SPEC, _frame(lake, ("b", "1")), batch_seq=1)
    assert _changed(lake, since) is None
    lake.replace(SPEC, _frame(lake, ("a", "1")))
    since = lake.state(SPEC.name)
    lake.upsert(SPEC, _frame(lake, ("a", "2")))
    assert _changed(lake, since) == [("a", "1"), ("a", "2")]


def test_replace_where_touches_only_its_slice(lake):
    lake.upsert(SPEC, _frame(lake, ("a", "1"), ("b", "2")))
    lake.replace_where(SPEC, _frame(lake, ("b", "9")), predicate="alias_id = 'b'")
    assert _content(lake) == [("a", "1"), ("b", "9")]
    lake.replace(SPEC, _frame(lake, ("z", "0")))
    assert _content(lake) == [("z", "0")]


def test_other_columns_are_refused_by_name(lake):
    frame = (
        _frame(lake, ("a", "1")).withColumn("creator_id", F.lit(1)).withColumn("more", F.lit(1)).drop("last_seen_at")
    )
    with pytest.raises(SchemaError, match="missing last_seen_at; undeclared more; creator_id is int, not string"):
        lake.upsert(SPEC, frame)
    assert lake.version(SPEC.name) is None


def test_a_null_in_a_required_column_fails_the_write_and_leaves_nothing(lake):
    with pytest.raises(SchemaError, match=rf"^{SPEC.name}.creator_id is null\.$"):
        lake.append(SPEC, _frame(lake, ("a", "1")).withColumn("creator_id", F.lit(None).cast("string")), batch_seq=1)
    assert lake.version(SPEC.name) is None
