"""LanceDB: IVF_PQ with rows refined, B-trees on ranged columns and bitmaps on the others."""

from __future__ import annotations

from pathlib import Path

import lancedb

from benchmarks.peers.arrow import tables
from benchmarks.peers.protocol import FILTERED, RANGED, Corpus, Filter, K, Vector, sql_of

BATCH_ROWS = 20_000
SUB_VECTORS = 96
REFINE = 20
MANY_VALUES = 100
"""From here a B-tree."""


def build(corpus: Corpus, folder: Path) -> None:
    """Write a table and its indexes."""
    table = None
    for batch in tables(corpus, BATCH_ROWS):
        if table is None:
            table = lancedb.connect(str(folder)).create_table("docs", batch)
        else:
            table.add(batch)
    if table is None:
        return
    table.create_index(metric="dot", index_type="IVF_PQ", num_sub_vectors=SUB_VECTORS)
    for column in FILTERED:
        is_bitmap = column not in RANGED and int(column.partition("_")[2] or 0) <= MANY_VALUES
        table.create_scalar_index(column, index_type="BITMAP" if is_bitmap else "BTREE")
    table.optimize()


def open(corpus: Corpus, folder: Path) -> Lance:  # noqa: A001, ARG001
    """Open it."""
    return Lance(folder)


class Lance:
    """A table."""

    settings = (10, 20, 40, 80, 160, 320)
    """Lists that are probed."""
    is_fixed = False

    def __init__(self, folder: Path) -> None:
        """Open the table."""
        self._table = lancedb.connect(str(folder)).open_table("docs")

    def prepare(self, clauses: Filter) -> str:
        """SQL."""
        return sql_of(clauses)

    def search(self, vector: Vector, prepared: str, setting: int) -> list[int]:
        """Rows in order; matches that the index did not score are asked for too."""
        query = self._table.search(vector).distance_type("dot").nprobes(setting).refine_factor(REFINE)
        if prepared:
            query = query.where(prepared, prefilter=True)
        return list(query.select(["id", "_distance"]).limit(K).to_arrow()["id"].to_pylist())

    def pids(self) -> list[int]:
        """None."""
        return []

    def close(self) -> None:
        """Nothing: the table goes with the process."""
