"""Exact answers of the search benchmark: float32 inner products of every row that passes, in blocks.

Ties are right answers: rows within rounding of the tenth, and, where the tenth has a cosine below 0, every row that has: there
is no likeness to order by, and the service counts all of them as 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from benchmarks.peers.protocol import FILTERED, TEXTS, Cell, Corpus, K, Truth
from benchmarks.search_cells import rows_of
from benchmarks.search_data import Floats, Ints

BLOCK_ROWS = 65_536
TIES = 256
"""Right answers kept of a query: its best ten and what ties with the tenth."""
TOLERANCE = 1e-6
"""Similarities closer than the rounding of a float32 sum are equal."""

Columns = dict[str, npt.NDArray[np.generic]]


def columns_of(corpus: Corpus) -> Columns:
    """Filtered columns as arrays."""
    table = pq.read_table(corpus.folder / "docs.parquet", columns=list(FILTERED))
    return {
        name: np.asarray(table[name].to_numpy() if name not in TEXTS else table[name].to_pylist()) for name in FILTERED
    }


def truths(corpus: Corpus, cells: Sequence[Cell]) -> Iterator[Truth]:
    """Right answers of each cell."""
    columns, vectors, queries = columns_of(corpus), corpus.vectors(), corpus.queries()
    for cell in cells:
        accepted = np.full((len(cell.query_of), TIES), -1, dtype=np.int64)
        possible = np.zeros(len(cell.query_of), dtype=np.int64)
        for number, clauses in enumerate(cell.filters):
            mine = np.flatnonzero(np.asarray(cell.filter_of) == number)
            if len(mine):
                rows = rows_of(clauses, columns)
                best = best_rows(vectors, queries[np.asarray(cell.query_of)[mine]], rows)
                accepted[mine, : best.shape[1]] = best
                possible[mine] = min(K, len(vectors) if rows is None else len(rows))
        yield Truth(accepted, possible)


def best_rows(vectors: Floats, queries: Floats, rows: Ints | None) -> Ints:
    """Row numbers that answer each query, best first, -1 behind the last: `K` and what ties with the last of them."""
    count = len(vectors) if rows is None else len(rows)
    scores = np.full((len(queries), TIES), -np.inf, dtype=np.float32)
    found = np.full((len(queries), TIES), -1, dtype=np.int64)
    for start in range(0, count, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, count)
        ids = np.arange(start, stop) if rows is None else rows[start:stop]
        block = vectors[start:stop] if rows is None else vectors[ids]
        scores, found = _merged(scores, found, np.maximum(queries @ block.T, 0.0), ids)
    place = min(K, count) - 1
    if place < 0:
        return found
    return np.where(scores >= scores[:, place : place + 1] - TOLERANCE, found, -1)


def _merged(scores: Floats, found: Ints, more: Floats, ids: Ints) -> tuple[Floats, Ints]:
    """The best of what was found and of a block."""
    if more.shape[1] > TIES:
        chosen = np.argpartition(-more, TIES - 1, axis=1)[:, :TIES]
        more, ids = np.take_along_axis(more, chosen, axis=1), ids[chosen]
    else:
        ids = np.broadcast_to(ids, more.shape)
    all_scores, all_ids = np.concatenate([scores, more], axis=1), np.concatenate([found, ids], axis=1)
    order = np.argsort(-all_scores, axis=1, kind="stable")[:, :TIES]
    return np.take_along_axis(all_scores, order, axis=1), np.take_along_axis(all_ids, order, axis=1)


def write_truth(truth: Sequence[Truth], path: Path) -> None:
    """Write it where `read_truth` reads it."""
    parts = {f"accepted_{number}": one.accepted for number, one in enumerate(truth)}
    parts |= {f"possible_{number}": one.possible for number, one in enumerate(truth)}
    np.savez(path, **parts)
