"""Few rows between this process and Spark: none is lost, however the table is cut."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lakehouse.storage import keys as module
from lakehouse.storage.keys import Keys, frame_of

pytestmark = pytest.mark.spark
SCHEMA = pa.schema([("a", pa.int64())])


@pytest.mark.parametrize("sizes", [(3,), (0, 3), (3, 0), (0, 0, 3), (0, 0, 3, 0, 2), (0, 0, 0)])
def test_a_frame_has_the_rows_of_all_chunks_wherever_empty_ones_stand(lake, sizes: tuple[int, ...]) -> None:
    table = pa.concat_tables([pa.table({"a": list(range(size))}, SCHEMA) for size in sizes])
    expected = sorted(value for size in sizes for value in range(size))
    assert sorted(row["a"] for row in frame_of(lake.spark, table).collect()) == expected
    assert Keys.of_table(lake.spark, table).count == len(set(expected))


ENDS = pa.schema([("left", pa.string()), ("right", pa.string())])


@pytest.fixture(params=["few", "many"])
def ends(request: pytest.FixtureRequest, lake, monkeypatch: pytest.MonkeyPatch) -> Keys:
    """Three distinct pairs of four, held by this process or by Spark."""
    if request.param == "many":
        monkeypatch.setattr(module, "FEW", 1)
    pairs = {"left": ["a", "a", "b", "c"], "right": ["b", "b", "a", None]}
    keys = Keys.of_table(lake.spark, pa.table(pairs, ENDS))
    assert (keys.few is None) == (request.param == "many")
    return keys


def test_keys_of_other_names_are_distinct(ends: Keys) -> None:
    renamed = ends.renamed({"right": "name"})
    assert renamed.columns == ["name"]
    assert {row["name"] for row in renamed.frame.collect()} == {"a", "b", None}
    assert renamed.count == 3


def test_keys_of_two_are_those_of_either_each_once(lake, ends: Keys) -> None:
    not_null = pa.schema([field.with_nullable(False) for field in ENDS])
    other = Keys.of_table(
        lake.spark, pa.table({"left": ["b", "d"], "right": ["a", "d"]}, not_null).select(["right", "left"])
    )
    both = ends.with_keys(other)
    assert both.count == 4
    assert {tuple(row) for row in both.frame.select("left", "right").collect()} == {
        ("a", "b"),
        ("b", "a"),
        ("c", None),
        ("d", "d"),
    }


def test_rows_are_among_the_keys_or_others(lake, ends: Keys) -> None:
    rows = frame_of(lake.spark, pa.table({"left": ["a", "b", "d", "a"], "right": ["b", "c", None, "b"]}, ENDS))
    assert [tuple(row) for row in ends.rows_of(rows).collect()] == [("a", "b"), ("a", "b")]
    assert {tuple(row) for row in ends.others_of(rows).collect()} == {("b", "c"), ("d", None)}


def test_keys_of_a_frame_without_nulls_are_put_to_others(lake, ends: Keys) -> None:
    table = pa.table({"left": ["a", "z"], "right": ["b", "z"]}, ENDS)
    strict = lake.spark.createDataFrame(
        [tuple(row.values()) for row in table.to_pylist()], "left string not null, right string not null"
    )
    assert ends.with_keys(Keys.of_frame(strict)).count == Keys.of_frame(strict).with_keys(ends).count == 4
