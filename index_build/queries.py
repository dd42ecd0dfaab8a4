"""Makes held-out queries and filters, and their exact answers: the ground truth of calibration and validation.

Queries are perturbed combinations of real rows, x + s (y - z) scaled to unit length: near the data, equal to no row.
Uniform random vectors would say nothing about real recall. Filters are either independent of the vectors or
directional (the rows nearest to a direction), so that queries meet both friendly and hostile correlations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from index_build.bitmaps import WORD_BITS, Mask, WordArray, count_rows, pack_mask
from index_build.hashing import fractions
from index_build.refine import FloatArray, IdArray

QUERIES_VERSION = 2
"""Raised when other queries or filters are made: exact answers that a killed build kept are of no use to them."""

SPREADS = (0.1, 0.5, 1.0)
"""s of the perturbation, from nearly a row to a query between topics."""

NO_FILTER_SPREADS = (SPREADS[0], SPREADS[-1])
"""s of the queries without a filter, half of them each; constants have to suit both. With a margin of .3 other real texts find .93
of their best ten among 100,000 texts, and these .94 and .98; among a million rows, most of them derived like these, .97, .99 and .96."""

DIRECTIONS = 3
"""Directional filters per selectivity: how hard one is depends on where it points."""

OPPOSITE_SHARE = 0.03
"""Share of rows, those least along the direction of a filter, that its far queries are made around."""

BLOCK_ROWS = 8_192
"""Exact rows scored at a time: 13 MB at 384 dimensions, and 110 MB of scores for three thousand queries."""

TIE_TOLERANCE = 1e-6
"""Similarities closer than float32 rounding of a sum over dimensions count as equal."""

TIES_KEPT = 1_024
"""Right rows that are remembered of a query; where more tie, others are known by their similarity (`are_right`)."""

FilterKind = Literal["none", "independent", "directional"]
Around = Literal["near", "anywhere", "far"]

PARTS: Mapping[FilterKind, tuple[Around | None, ...]] = {
    "none": ("near", "anywhere"),
    "independent": (None,),
    "directional": ("near", "anywhere", "far"),
}
"""Where the queries of a cell are, as many in each part: of a directional filter around its rows, around any, around those
opposite; without a filter near a row or between topics."""


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

    def mask(self, row_ids: IdArray, along: FloatArray) -> Mask | None:
        """Which of some rows (n,) pass; None when all do. `along` are their inner products with the direction, if there is one."""
        if self.kind == "none":
            return None
        if self.direction is None:
            return np.asarray(fractions(row_ids, seed=self.seed) < self.selectivity)
        return np.asarray(along >= self.threshold)


class Best(NamedTuple):
    """Rows of one shard, int64 (m,), best first by exact score, float32 (m,): the best k and those that tie with the last."""

    row_ids: IdArray
    scores: FloatArray


@dataclass(frozen=True, slots=True)
class Truth:
    """Exact answers of a cell in one shard, for each of its queries; `words` are the rows that pass, None when all do."""

    words: WordArray | None
    matches: int
    best: tuple[Best, ...]


def make_queries(
    sample: FloatArray,
    count: int,
    *,
    rng: np.random.Generator,
    around: FloatArray | None = None,
    spreads: Sequence[float] = SPREADS,
) -> FloatArray:
    """`count` unit queries (count, d) from rows of `sample`, near random ones of them, or of `around` (m, d) when given."""
    starts = sample if around is None else around
    picks = rng.integers(0, len(sample), size=(2, count))
    spread = rng.choice(np.asarray(spreads, dtype=np.float32), size=(count, 1))
    start = starts[rng.integers(0, len(starts), size=count)]
    moved = start + spread * (sample[picks[0]] - sample[picks[1]])
    norms = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(
        np.where(norms > TIE_TOLERANCE, moved / np.maximum(norms, TIE_TOLERANCE), start), dtype=np.float32
    )


def make_cells(sample: FloatArray, selectivities: Sequence[float], *, count: int, seed: int) -> list[Cell]:
    """An unfiltered cell and, for each selectivity below 1, an independent and `DIRECTIONS` directional ones.

    Each has `count` queries; the unfiltered one, of which there is no other, has `count` of either spread.
    """
    rng = np.random.default_rng(seed)
    unfiltered = [make_queries(sample, count, rng=rng, spreads=(spread,)) for spread in NO_FILTER_SPREADS]
    cells = [Cell("none", 1.0, np.concatenate(unfiltered), seed)]
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


class Truths:
    """Exact answers of all queries of some cells, gathered while the rows of a shard pass by, so that none need be kept."""

    def __init__(self, cells: Sequence[Cell], *, k: int) -> None:
        """Begin a shard."""
        self._cells = [_Gathered(cell, k) for cell in cells]
        asked = [_with_direction(cell) for cell in cells]
        self._asked = np.concatenate(asked) if asked else None
        self._ends = np.cumsum([len(vectors) for vectors in asked])
        self._rows = 0

    def add(self, vectors: FloatArray) -> None:
        """The next rows, float32 (n, d), in row_id order."""
        if self._asked is None:
            return
        for start in range(0, len(vectors), BLOCK_ROWS):
            rows = vectors[start : start + BLOCK_ROWS]
            scores = np.split(self._asked @ rows.T, self._ends[:-1])
            row_ids = np.arange(self._rows, self._rows + len(rows))
            for gathered, own in zip(self._cells, scores, strict=True):
                gathered.add(row_ids, own)
            self._rows += len(rows)

    def answers(self) -> list[Truth]:
        """What was found, for each cell."""
        return [gathered.truth(self._rows) for gathered in self._cells]


def _with_direction(cell: Cell) -> FloatArray:
    """Queries of a cell and the direction of its filter, or a row in its place."""
    return np.concatenate([cell.queries, cell.queries[:1] if cell.direction is None else cell.direction[None, :]])


class _Gathered:
    """Best rows so far of the queries of one cell."""

    def __init__(self, cell: Cell, k: int) -> None:
        self._cell = cell
        self._k = k
        self._words: list[WordArray] = []
        self._tail = np.empty(0, dtype=np.bool_)
        self._least = np.full(len(cell.queries), -np.inf, dtype=np.float32)
        self._query, self._row = np.empty(0, np.int64), np.empty(0, np.int64)
        self._score = np.empty(0, np.float32)

    def add(self, row_ids: IdArray, scores: FloatArray) -> None:
        """Rows (n,) with their scores (q, n), the last of which are those along the direction."""
        mask = self._cell.mask(row_ids, scores[-1])
        scores = scores[:-1]
        if mask is not None:
            self._pack(mask)
            scores, row_ids = scores[:, mask], row_ids[mask]
        if len(row_ids) > self._k and np.isneginf(self._least).any():
            self._least = np.maximum(self._least, top_scores(scores, k=self._k)[:, -1] - TIE_TOLERANCE)
        query, place = np.nonzero(scores >= self._least[:, None])
        if len(query):
            self._keep(query, row_ids[place], scores[query, place])

    def truth(self, rows: int) -> Truth:
        """The answers after all `rows` rows."""
        words = None if self._cell.kind == "none" else np.concatenate([*self._words, pack_mask(self._tail)])
        cuts = np.searchsorted(self._query, np.arange(1, len(self._least)))
        parts = zip(np.split(self._row, cuts), np.split(self._score, cuts), strict=True)
        matches = rows if words is None else count_rows(words)
        return Truth(words, matches, tuple(Best(row_ids, scores) for row_ids, scores in parts))

    def _pack(self, mask: Mask) -> None:
        """A bit a row as soon as words are full."""
        mask = np.concatenate([self._tail, mask])
        whole = len(mask) - len(mask) % WORD_BITS
        self._words.append(pack_mask(mask[:whole]))
        self._tail = mask[whole:]

    def _keep(self, query: IdArray, row: IdArray, score: FloatArray) -> None:
        """Of these and those kept before, the best k of each query and what ties with the last of them."""
        query, row = np.concatenate([self._query, query]), np.concatenate([self._row, row])
        score = np.concatenate([self._score, score])
        order = np.lexsort((row, -score, query))
        query, row, score = query[order], row[order], score[order]
        rank = np.arange(len(query)) - np.searchsorted(query, query)
        last = rank == self._k - 1
        self._least[query[last]] = score[last] - TIE_TOLERANCE
        kept = (score >= self._least[query]) & (rank < max(TIES_KEPT, self._k))
        self._query, self._row, self._score = query[kept], row[kept], score[kept]


def right_rows(shards: Sequence[Best], *, k: int) -> list[IdArray]:
    """Of one query's best rows in each shard, those that belong in the best k of all; rows that tie with the last do."""
    scores = np.concatenate([best.scores for best in shards])
    if not len(scores):
        return [best.row_ids for best in shards]
    least = np.sort(scores)[-min(k, len(scores))] - TIE_TOLERANCE
    return [best.row_ids[best.scores >= least] for best in shards]


def are_right(
    row_ids: IdArray, similarities: FloatArray, right: IdArray, similarity_of: Callable[[IdArray], FloatArray]
) -> Mask:
    """Which of found rows (n,), with their stored similarities, are among the right ones (m,), or tie with the last of very many."""
    are_known = np.isin(row_ids, right)
    if len(right) < TIES_KEPT or are_known.all():
        return are_known
    return np.asarray(are_known | (similarities >= similarity_of(right[-1:])[0]))


def top_scores(scores: FloatArray, *, k: int) -> FloatArray:
    """Best `k` scores of each row, descending."""
    part = np.partition(scores, scores.shape[1] - k, axis=1)[:, -k:]
    return np.asarray(-np.sort(-part, axis=1))


def hits_count(found: FloatArray, truth: FloatArray) -> int:
    """How many exact scores `found` of returned rows belong in the top k whose exact scores are `truth` (k,), ties included."""
    return min(len(truth), int((found >= truth[-1] - TIE_TOLERANCE).sum()))
