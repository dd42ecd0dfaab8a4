"""Rows come back whole, in the order in which they came, whatever was held in between."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from index_build.buckets import Buckets

SCHEMA = pa.schema([("row", pa.int64()), ("text", pa.string())])


@pytest.mark.parametrize("held", [1, 7, 10_000])
def test_every_row_is_in_its_bucket(tmp_path, monkeypatch, held):
    monkeypatch.setattr("index_build.buckets.HELD_ROWS", held)
    numbers = np.random.default_rng(0).integers(0, 5, 100)
    buckets = Buckets(tmp_path / "b", 6, SCHEMA)
    with buckets.filled() as open_ones:
        for start in range(0, 100, 9):
            rows = np.arange(start, min(start + 9, 100))
            table = pa.table({"row": rows, "text": [f"t{row}" for row in rows]}, schema=SCHEMA)
            open_ones.add(numbers[rows], table)
    for bucket in range(6):
        expected = np.flatnonzero(numbers == bucket).tolist()
        found = buckets.take(bucket)
        assert found["row"].to_pylist() == expected
        assert found["text"].to_pylist() == [f"t{row}" for row in expected]
    assert list((tmp_path / "b").iterdir()) == []


def test_nothing_added_leaves_empty_buckets(tmp_path):
    buckets = Buckets(tmp_path / "b", 2, SCHEMA)
    with buckets.filled():
        pass
    assert [buckets.take(number).num_rows for number in range(2)] == [0, 0]
