"""Plain columns against DuckDB: the same rows for every test they take, and none for what floats cannot tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from serving_factories import serving_settings

from index_build.build import build_from
from index_build.export import open_files
from index_build.spec import IndexSpec
from serving.code_columns import CodeColumns
from serving.predicates import PlainTest, Predicate, between, equals, one_of
from serving.search import Searcher

ROWS = 300
LONG = 2**53


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    folder = tmp_path_factory.mktemp("columns")
    rng = np.random.default_rng(4)
    table = pa.table(
        {
            "creator_id": [f"c{row:03d}" for row in range(ROWS)],
            "whole": pa.array([None if row % 7 == 0 else row - 100 for row in range(ROWS)], pa.int32()),
            "third": pa.array([row / 3 for row in range(ROWS)], pa.float64()),
            "long": pa.array([LONG + row for row in range(ROWS)], pa.int64()),
            "flag": pa.array([None if row % 5 == 0 else row % 2 == 0 for row in range(ROWS)]),
            "word": pa.array([None if row % 6 == 0 else "abc"[row % 3] for row in range(ROWS)]),
        }
    )
    pq.write_table(table, folder / "docs.parquet")
    np.save(folder / "vectors.npy", rng.normal(size=(ROWS, 32)).astype(np.float32))
    build_from(
        open_files(folder / "docs.parquet", folder / "vectors.npy"), folder / "out", IndexSpec(), log=lambda _: None
    )
    return Searcher.open(folder / "out", settings=serving_settings(folder))


@pytest.fixture(scope="module")
def columns(searcher: Searcher, tmp_path_factory: pytest.TempPathFactory) -> CodeColumns:
    folder: Path = tmp_path_factory.mktemp("saved") / "codes"
    CodeColumns.load(searcher.snapshot.catalog).save(folder)
    return CodeColumns.open(folder)


@pytest.mark.parametrize(
    "predicate",
    [
        between("whole", -20, 50),
        between("whole", None, 0),
        between("whole", 10.5, None).or_unknown("whole"),
        between("third", 1 / 3, 5 / 3),
        one_of("third", [1 / 3, 2.0, 99]),
        equals("flag", True),
        equals("flag", False).or_unknown("flag"),
        one_of("word", ["a", "c", "nowhere"]),
        equals("word", "b").or_unknown("word"),
        one_of("whole", [1, 2, 10**6]),
    ],
)
def test_columns_find_what_duckdb_finds(searcher: Searcher, columns: CodeColumns, predicate: Predicate) -> None:
    assert predicate.test is not None
    mask = columns.mask("creator", predicate.test)
    assert mask is not None
    expected = searcher.snapshot.catalog.rows_where("creator", predicate)
    assert np.flatnonzero(mask).tolist() == sorted(expected.tolist())


@pytest.mark.parametrize(
    ("column", "least", "values"),
    [("long", 1, ()), ("whole", LONG + 1, ()), ("creator", 1, ()), ("word", "a", ()), ("whole", None, ("1",))],
)
def test_what_floats_cannot_tell_is_left_to_duckdb(
    columns: CodeColumns, column: str, least: Any, values: tuple[Any, ...]
) -> None:
    assert columns.mask("creator", PlainTest(column, least=least, values=values)) is None


def test_numbers_take_four_bytes_where_that_is_exact(columns: CodeColumns) -> None:
    kinds = {name: array.dtype for name, array in columns.arrays.items()}
    assert kinds["creator.whole"] == np.float32
    assert kinds["creator.third"] == np.float64
    assert kinds["creator.word"] == np.uint16
    assert "creator.long" not in kinds
