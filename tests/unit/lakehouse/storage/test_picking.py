"""Few rows picked and compared without Spark, against oracles in plain Python."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.storage import picking
from lakehouse.storage.picking import CHANGED, GONE, KIND, NEW, changed_keys, differing, pick

SCHEMA = pa.schema(
    [
        ("platform", pa.string()),
        ("account", pa.string()),
        ("score", pa.float64()),
        ("names", pa.list_(pa.string())),
        ("parts", pa.list_(pa.struct([("code", pa.string()), ("at", pa.timestamp("us", "UTC"))]))),
    ]
)
KEY = ("platform", "account")
TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)
PART = st.fixed_dictionaries({"code": TEXT, "at": st.none() | st.just(1_700_000_000_000_000)})
VALUES = st.fixed_dictionaries(
    {
        "score": st.none() | st.sampled_from([0.0, 0.5, math.nan, math.inf]),
        "names": st.none() | st.lists(TEXT, max_size=2),
        "parts": st.none() | st.lists(PART, max_size=2),
    }
)
KEYS = st.tuples(st.sampled_from("xy"), st.sampled_from("abcdé"))
ROWS = st.dictionaries(KEYS, VALUES)


def _table(rows):
    return pa.Table.from_pylist([dict(zip(KEY, key, strict=True)) | row for key, row in rows.items()], schema=SCHEMA)


def _by_key(table):
    return {tuple(row[name] for name in KEY): row for row in table.to_pylist()}


@settings(deadline=None)
@given(new=ROWS, old=ROWS)
def test_what_differs_is_new_changed_or_gone(new, old):
    tables = _table(new), _table(old)
    found = _by_key(differing(*tables, key=KEY))
    after, before = ({key: repr(row) for key, row in _by_key(table).items()} for table in tables)
    expected = dict.fromkeys(new.keys() - old.keys(), NEW) | dict.fromkeys(old.keys() - new.keys(), GONE)
    expected |= {key: CHANGED for key in new.keys() & old.keys() if after[key] != before[key]}
    assert {key: row.pop(KIND) for key, row in found.items()} == expected
    assert all(repr(row) == after[key] for key, row in found.items() if key in after)


@pytest.fixture
def stored(tmp_path):
    rows = {(platform, str(number)): {"score": float(number)} for platform in "xy" for number in range(50)}
    write_deltalake(tmp_path / "t", _table(rows), partition_by=["platform"])
    return DeltaTable(tmp_path / "t")


def test_rows_are_picked_by_condition_by_key_and_by_both(stored):
    keys = pa.table({"account": ["1", "7", "none"]})
    by_key = pick(stored, SCHEMA, where="", keys=keys, most=10)
    assert by_key.schema == SCHEMA
    assert set(_by_key(by_key)) == {("x", "1"), ("x", "7"), ("y", "1"), ("y", "7")}
    both = pick(stored, SCHEMA, where="platform = 'x' AND score > 3", keys=keys, most=10)
    assert set(_by_key(both)) == {("x", "7")}
    assert pick(stored, SCHEMA, where="score >= 48", keys=None, most=4).num_rows == 4
    assert pick(stored, SCHEMA, where="score > 99", keys=None, most=4).schema == SCHEMA


def test_more_rows_than_asked_for_are_none(stored):
    assert pick(stored, SCHEMA, where="score >= 48", keys=None, most=3) is None


def test_changed_keys_are_those_of_the_versions_asked_for(tmp_path):
    configuration = {"delta.enableChangeDataFeed": "true"}
    for number in range(3):
        rows = {("x", str(number)): {}, ("y", "same"): {}}
        write_deltalake(tmp_path / "t", _table(rows), mode="append", configuration=configuration)
    table, schema = DeltaTable(tmp_path / "t"), pa.schema([SCHEMA.field(name) for name in KEY])
    found = changed_keys(table, schema, versions=range(1, 3), most=3)
    assert {tuple(row.values()) for row in found.to_pylist()} == {("x", "1"), ("x", "2"), ("y", "same")}
    assert changed_keys(table, schema, versions=range(3), most=3) is None


def test_more_bytes_than_fit_are_none(stored, monkeypatch):
    monkeypatch.setattr("lakehouse.storage.picking.MAX_BYTES", 100)
    assert pick(stored, SCHEMA, where="", keys=None, most=1000) is None
    assert pick(stored, SCHEMA, where="", keys=pa.table({"account": list("0123456789")}), most=1000) is None


def test_keys_are_looked_up_row_by_row_however_many_rows_there_are(tmp_path):
    """With the table as the side that is gathered, these rows would not fit into the memory."""
    rows = pa.table({"platform": ["x"] * 20_000, "account": [str(at) for at in range(20_000)]})
    wide = rows.append_column("names", pa.array([["n" * 2_000]] * 20_000))
    schema = pa.schema([SCHEMA.field(name) for name in ("platform", "account", "names")])
    write_deltalake(tmp_path / "t", wide.cast(schema))
    picking.CONFIG["memory_limit"], before = "20MB", picking.CONFIG["memory_limit"]
    try:
        keys = pa.table({"account": [str(at) for at in range(0, 2_000, 2)]})
        assert pick(DeltaTable(tmp_path / "t"), schema, where="", keys=keys, most=1_000).num_rows == 1_000
    finally:
        picking.CONFIG["memory_limit"] = before
