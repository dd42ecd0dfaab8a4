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

from index_build.bitmaps import Mask, WordArray, count_rows, pack_mask
from index_build.hashing import fractions
from index_build.refine import FloatArray, IdArray

SPREADS = (0.25, 0.5, 1.0)
"""s of the perturbation, from close paraphrase to a query between topics."""

DIRECTIONS = 3
"""Directional filters per selectivity: how hard one is depends on where it points."""

OPPOSITE_SHARE = 0.1
"""Share of rows, those least along the direction of a filter, that its far queries are made around."""

BLOCK_ROWS = 16_384
"""Exact rows scored at a time: 25 MB at 384 dimensions, and 134 MB of scores for two thousand queries."""

TIE_TOLERANCE = 1e-6
"""Similarities closer than float32 rounding of a sum over dimensions count as equal."""

FilterKind = Literal["none", "independent", "directional"]


@dataclass(frozen=True, slots=True)
class Cell:
    """Queries that share a filter.

    `seed` picks the rows of an independent one; those of a directional one have at least `threshold` along `direction` (d,).
    """

    kind: FilterKind
    selectivity: float
    queries: FloatArray
    seed: int
    direction: FloatArray | None = None
    threshold: float = 0.0

    def mask(self, rows: FloatArray, *, first: int) -> Mask | None:
        """Which of some rows (n, d) pass, whose row_ids begin at `first`; None when all do."""
        if self.kind == "none":
            return None
        if self.direction is None:
            return np.asarray(fractions(np.arange(first, first + len(rows)), seed=self.seed) < self.selectivity)
        return np.asarray(rows @ self.direction >= self.threshold)


@dataclass(frozen=True, slots=True)
class Truth:
    """Exact answers of a cell in one shard: `scores` float32 (q, k) descending, -inf where there are fewer rows.

    `words` are the rows that pass, None when all do.
    """

    words: WordArray | None
    scores: FloatArray
    matches: int


def make_queries(
    sample: FloatArray, count: int, *, rng: np.random.Generator, around: FloatArray | None = None
) -> FloatArray:
    """`count` unit queries (count, d) from rows of `sample`, near random ones of them, or of `around` (m, d) when given."""
    starts = sample if around is None else around
    picks = rng.integers(0, len(sample), size=(2, count))
    spread = rng.choice(np.asarray(SPREADS, dtype=np.float32), size=(count, 1))
    start = starts[rng.integers(0, len(starts), size=count)]
    moved = start + spread * (sample[picks[0]] - sample[picks[1]])
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
    """Rows nearest to a random row pass; a third of the queries are near some of them, a third anywhere, a third far from them."""
    direction = sample[int(rng.integers(0, len(sample)))]
    along = sample @ direction
    threshold = float(np.quantile(along, 1.0 - selectivity, method="higher"))
    opposite = along <= np.quantile(along, OPPOSITE_SHARE)
    around = (sample[along >= threshold], sample, sample[opposite])
    counts = [len(part) for part in np.array_split(np.arange(count), len(around))]
    queries = np.concatenate(
        [make_queries(sample, size, rng=rng, around=rows) for size, rows in zip(counts, around, strict=True)]
    )
    return Cell("directional", selectivity, queries, seed=0, direction=direction, threshold=threshold)


class ExactRows:
    """Exact float32 rows of one shard in row_id order, memory-mapped."""

    def __init__(self, path: Path, *, rows: int, dimensions: int) -> None:
        """Map the file that encoding left in the work folder."""
        self.rows = rows
        self._matrix = np.memmap(path, dtype=np.float32, mode="r", shape=(rows, dimensions))

    def similarities(self, queries: FloatArray, row_ids: IdArray) -> FloatArray:
        """Exact inner products, float32 (len(row_ids), len(queries))."""
        return np.asarray(self._matrix[row_ids] @ queries.T)

    def truths(self, cells: Sequence[Cell], *, k: int) -> list[Truth]:
        """Exact top `k` scores of every query of the cells, in one pass over the rows."""
        queries = np.concatenate([cell.queries for cell in cells])
        ends = np.cumsum([len(cell.queries) for cell in cells])
        best = [np.full((len(cell.queries), k), -np.inf, dtype=np.float32) for cell in cells]
        masks: list[list[Mask]] = [[] for _ in cells]
        for start in range(0, self.rows, BLOCK_ROWS):
            rows = np.asarray(self._matrix[start : start + BLOCK_ROWS])
            scores = rows @ queries.T
            for place, cell in enumerate(cells):
                mask = cell.mask(rows, first=start)
                own = scores[:, ends[place] - len(cell.queries) : ends[place]]
                best[place] = top_scores(
                    np.concatenate([best[place], (own if mask is None else own[mask]).T], axis=1), k=k
                )
                if mask is not None:
                    masks[place].append(mask)
        return [_truth(self.rows, masks[place], best[place]) for place in range(len(cells))]


def _truth(rows: int, masks: Sequence[Mask], best: FloatArray) -> Truth:
    words = pack_mask(np.concatenate(masks)) if masks else None
    return Truth(words, best, rows if words is None else count_rows(words))


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
