"""Makes held-out queries and filters, and their exact answers: the ground truth of calibration and validation.

Queries are perturbed combinations of real rows, x + s (y - z) scaled to unit length: near the data, equal to no row.
Uniform random vectors would say nothing about real recall. Filters are either independent of the vectors or
directional (the rows nearest to a direction), so that queries meet both friendly and hostile correlations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from index_build.hashing import fractions
from index_build.refine import FloatArray, IdArray

SPREADS = (0.25, 0.5, 1.0)
"""s of the perturbation, from close paraphrase to a query between topics."""

DIRECTIONS = 3
"""Directional filters per selectivity: how hard one is depends on where it points."""

BLOCK_ROWS = 65_536
"""Exact rows scored at a time: 100 MB at 384 dimensions."""

TIE_TOLERANCE = 1e-6
"""Similarities closer than float32 rounding of a sum over dimensions count as equal."""

FilterKind = Literal["none", "independent", "directional"]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cell:
    """Queries that share a filter. `direction` (d,) is set for directional filters; `seed` picks independent rows."""

    kind: FilterKind
    selectivity: float
    queries: FloatArray
    seed: int
    direction: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """Exact answers of a cell in one shard: `scores` float32 (q, k) descending, -inf where there are fewer rows."""

    mask: Mask | None
    scores: FloatArray
    matches: int


def make_queries(
    sample: FloatArray, count: int, *, rng: np.random.Generator, base: FloatArray | None = None
) -> FloatArray:
    """`count` unit queries (count, d) from rows of `sample`; around `base` (d,) instead of random rows when given."""
    picks = rng.integers(0, len(sample), size=(3, count))
    spread = rng.choice(np.asarray(SPREADS, dtype=np.float32), size=(count, 1))
    start = sample[picks[0]] if base is None else np.broadcast_to(base, (count, sample.shape[1]))
    moved = start + spread * (sample[picks[1]] - sample[picks[2]])
    norms = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(
        np.where(norms > TIE_TOLERANCE, moved / np.maximum(norms, TIE_TOLERANCE), start), dtype=np.float32
    )


def make_cells(sample: FloatArray, selectivities: Sequence[float], *, count: int, seed: int) -> list[Cell]:
    """One unfiltered cell; for each selectivity below 1 an independent one and `DIRECTIONS` directional ones."""
    rng = np.random.default_rng(seed)
    cells = [Cell("none", 1.0, make_queries(sample, count, rng=rng), seed)]
    for position, selectivity in enumerate(selectivities):
        cells.append(Cell("independent", selectivity, make_queries(sample, count, rng=rng), seed + position))
        cells.extend(_directional(sample, selectivity, count=count, rng=rng) for _ in range(DIRECTIONS))
    return cells


def _directional(sample: FloatArray, selectivity: float, *, count: int, rng: np.random.Generator) -> Cell:
    """Rows nearest to a random row pass; half of the queries are near that row, half anywhere."""
    direction = sample[int(rng.integers(0, len(sample)))]
    inside = make_queries(sample, count // 2, rng=rng, base=direction)
    outside = make_queries(sample, count - count // 2, rng=rng)
    return Cell("directional", selectivity, np.concatenate([inside, outside]), seed=0, direction=direction)


class ExactRows:
    """Exact float32 rows of one shard in row_id order, memory-mapped."""

    def __init__(self, path: Path, *, rows: int, dimensions: int) -> None:
        """Map the file that encoding left in the work folder."""
        self.rows = rows
        self._matrix = np.memmap(path, dtype=np.float32, mode="r", shape=(rows, dimensions))

    def similarities(self, queries: FloatArray, row_ids: IdArray) -> FloatArray:
        """Exact inner products, float32 (len(row_ids), len(queries))."""
        return np.asarray(self._matrix[row_ids] @ queries.T)

    def mask(self, cell: Cell) -> Mask | None:
        """Rows that the cell's filter allows; None when all are."""
        if cell.kind == "none":
            return None
        if cell.direction is None:
            return np.asarray(fractions(np.arange(self.rows), seed=cell.seed) < cell.selectivity)
        wanted = max(1, round(self.rows * cell.selectivity))
        along = np.concatenate([self._matrix[start:stop] @ cell.direction for start, stop in self._blocks()])
        mask = np.zeros(self.rows, dtype=bool)
        mask[np.argpartition(along, self.rows - wanted)[self.rows - wanted :]] = True
        return mask

    def truth(self, cell: Cell, *, k: int) -> Truth:
        """Exact top `k` scores of every query of the cell."""
        mask = self.mask(cell)
        best = np.full((len(cell.queries), k), -np.inf, dtype=np.float32)
        for start, stop in self._blocks():
            rows = self._matrix[start:stop] if mask is None else self._matrix[start:stop][mask[start:stop]]
            best = top_scores(np.concatenate([best, (rows @ cell.queries.T).T], axis=1), k=k)
        return Truth(mask, best, self.rows if mask is None else int(mask.sum()))

    def _blocks(self) -> list[tuple[int, int]]:
        starts = range(0, self.rows, BLOCK_ROWS)
        return [(start, min(start + BLOCK_ROWS, self.rows)) for start in starts]


def top_scores(scores: FloatArray, *, k: int) -> FloatArray:
    """Best `k` scores of each row, descending."""
    part = np.partition(scores, scores.shape[1] - k, axis=1)[:, -k:]
    return np.asarray(-np.sort(-part, axis=1))


def hits_count(found: FloatArray, truth: FloatArray) -> int:
    """How many exact scores `found` of returned rows belong in the top k whose exact scores are `truth` (k,).

    Rows that tie with the k-th are equally right. -inf in `truth` marks places that no row can take.
    """
    possible = truth[np.isfinite(truth)]
    return 0 if not len(possible) else min(len(possible), int((found >= possible[-1] - TIE_TOLERANCE).sum()))


def possible_count(truth: FloatArray) -> int:
    """Number of right answers that exist, at most k per query."""
    return int(np.isfinite(truth).sum())
