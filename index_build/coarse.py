"""The coarse quantizer that all shards share: centroids of lists, many of them in groups with centroids of their own.

A row is compared with the groups first and then with the lists of the nearest groups, so that a build does not pay for
every list. Rows of similar groups are neighbours, as lists of a group follow each other. A query, which needs many more
lists, is compared with short codes of all centroids and then with the likely ones: its lists are in too many groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np

from index_build.bitmaps import Mask
from index_build.codes import add_coded, learnt_codes, packed, scan
from index_build.manifest import CENTROID_CODES, COARSE_FILES
from index_build.refine import FloatArray, IdArray
from index_build.spec import parts_count

GROUPED_LISTS = 1_024
"""From here on lists are grouped: fewer are 1.5 MB of centroids at 384 dimensions, which a core reads in a tenth of a ms."""

ASSIGN_GROUPS = 4
"""Nearest groups whose lists a row is compared with: rows are as near to their lists, by .004 of a cosine, as with sixteen, in a
third of the time (`make bench-search PART=parts`)."""

SURPLUS = 2
"""Lists that are compared for each that is wanted: of the nearest 100 of 32,768 lists, codes rank .87 among the first 100 and nearly
all among the first 200 (`make bench-search PART=parts`)."""

COMPARED_LISTS = 256
"""Lists up to which those that are wanted are compared; of more, which of the last are read hardly matters, and codes decide."""

RANKED_LISTS = 64
"""Lists that are ranked by codes at least."""

CENTROID_DIMENSIONS, MOST_CENTROID_PARTS = 2, 256
"""Dimensions of a part of a centroid's code, and the most parts, whose sums still fit into the 16 bits that FAISS adds them in: 96
bytes at 384 dimensions, of 32,768 lists a seventh of a ms to scan."""

ASSIGN_ROWS = 16_384
"""Rows assigned at a time: 25 MB at 384 dimensions, and 268 MB of scores against the most lists without groups."""

TRAIN_ROWS_PER_GROUP = 256
"""Rows that the centroids of groups are learnt from, for each group."""

ONE_LIST, NO_OFFSET = np.zeros(1, np.int64), np.zeros(1, np.float32)
"""The list of all codes of centroids, and its centroid's inner product with any query."""


class Ranked(NamedTuple):
    """Lists, int64 (m,), nearest first, and how many were compared to find them.

    `similarities` are inner products of the query with their centroids, float32 (m,); None where codes ranked them.
    """

    lists: IdArray
    similarities: FloatArray | None
    compared: int


@dataclass(frozen=True, slots=True)
class Coarse:
    """Unit centroids (lists, d) in group order, those of groups (groups, d), and where each group's lists start (groups + 1,).

    `codes` holds the centroids in one list, None where there are few.
    """

    centroids: FloatArray
    groups: FloatArray
    offsets: IdArray
    codes: faiss.IndexIVFPQFastScan | None = None

    @classmethod
    def flat(cls, centroids: FloatArray) -> Coarse:
        """One group of all lists."""
        return cls(centroids, centroids.mean(axis=0, keepdims=True), np.array([0, len(centroids)], np.int64))

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write the arrays under `folder/coarse`."""
        paths = tuple(folder / name for name in COARSE_FILES)
        paths[0].parent.mkdir()
        np.save(paths[0], self.centroids, allow_pickle=False)
        np.save(paths[1], self.groups, allow_pickle=False)
        np.save(paths[2], self.offsets, allow_pickle=False)
        if self.codes is None:
            return paths
        faiss.write_index(self.codes, str(folder / CENTROID_CODES))
        return (*paths, folder / CENTROID_CODES)

    @classmethod
    def open(cls, folder: Path) -> Coarse:
        """Map what `save` wrote.

        Raises:
            ValueError: it is not that.
            RuntimeError: FAISS cannot read the codes.
        """
        arrays = [np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False)) for name in COARSE_FILES]
        path = folder / CENTROID_CODES
        codes = faiss.read_index(str(path)) if path.exists() else None
        coarse = cls(arrays[0], arrays[1], arrays[2], codes)
        coarse._require_shape()
        return coarse

    def _require_shape(self) -> None:
        are_floats = self.centroids.dtype == self.groups.dtype == np.float32
        is_finite = are_floats and np.isfinite(self.centroids).all() and np.isfinite(self.groups).all()
        fits = self.offsets.dtype == np.int64 and self.offsets.shape == (len(self.groups) + 1,)
        if not (is_finite and fits and self.centroids.ndim == 2 and self.groups.shape[1:] == self.centroids.shape[1:]):
            raise ValueError("arrays do not fit together")
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.centroids) or (np.diff(self.offsets) < 0).any():
            raise ValueError("groups do not cover the lists")
        if self.codes is not None and not _fits(self.codes, self.centroids):
            raise ValueError("codes do not fit the centroids")

    def assign(self, vectors: FloatArray) -> IdArray:
        """Nearest list of each row, int64 (n,)."""
        parts = [self._assign(vectors[start : start + ASSIGN_ROWS]) for start in range(0, len(vectors), ASSIGN_ROWS)]
        return np.concatenate([*parts, np.empty(0, np.int64)])

    def _assign(self, vectors: FloatArray) -> IdArray:
        best = np.full(len(vectors), -np.inf, dtype=np.float32)
        lists = np.zeros(len(vectors), dtype=np.int64)
        near = _nearest(vectors @ self.groups.T, ASSIGN_GROUPS)
        for group in range(len(self.groups)):
            start, stop = self.offsets[group : group + 2]
            rows = np.flatnonzero((near == group).any(axis=1))
            if start == stop or not len(rows):
                continue
            scores = vectors[rows] @ self.centroids[start:stop].T
            found = scores.argmax(axis=1)
            reached = scores[np.arange(len(rows)), found]
            is_better = reached > best[rows]
            best[rows[is_better]] = reached[is_better]
            lists[rows[is_better]] = start + found[is_better]
        return lists

    def differences(self, vectors: FloatArray, lists: IdArray) -> FloatArray:
        """Rows (n, d) less the centroids of their lists (n,)."""
        return vectors - self.centroids[lists]

    def nearest(self, query: FloatArray, counts: IdArray, wanted: int) -> Ranked:
        """Nearest lists that together hold `wanted` matches (all that hold any, where there are fewer), nearest first.

        Args:
            query: unit vector (d,).
            counts: matches in each list (lists,); lists without one are left out.
            wanted: matches.
        """
        total = int(counts.sum())
        held = np.flatnonzero(counts)
        if wanted >= total:
            return Ranked(held, None, 0)
        if self.codes is None:
            return self._compared(query, held, counts, wanted)
        coded = self._coded(query, held, counts, wanted)
        sufficing = _sufficing(counts[coded], wanted)
        if sufficing > COMPARED_LISTS:
            return Ranked(coded[:sufficing], None, 0)
        return self._compared(query, np.sort(coded[: SURPLUS * sufficing]), counts, wanted)

    def similarities(self, query: FloatArray, lists: IdArray) -> FloatArray:
        """Inner products of a query (d,) with the centroids of lists (m,); reading all costs as much as gathering a quarter."""
        if 4 * len(lists) >= len(self.centroids):
            return np.asarray((self.centroids @ query)[lists])
        return np.asarray(self.centroids[lists] @ query)

    def _compared(self, query: FloatArray, lists: IdArray, counts: IdArray, wanted: int) -> Ranked:
        near = self.similarities(query, lists)
        ranked = _until(near, counts[lists], wanted)
        return Ranked(lists[ranked], near[ranked], len(lists))

    def _coded(self, query: FloatArray, held: IdArray, counts: IdArray, wanted: int) -> IdArray:
        """Lists with matches by their codes, nearest first: enough of them, with a surplus where they are to be compared."""
        selector = None if len(held) == len(counts) else _selector(counts > 0)
        size = SURPLUS * (1 + wanted * len(held) // int(counts[held].sum()))
        while True:
            size = min(max(size, RANKED_LISTS), len(held))
            found = scan(self.codes, query, ONE_LIST, NO_OFFSET, k=size, selector=selector)
            sufficing = _sufficing(counts[found], wanted)
            needed = sufficing if sufficing > COMPARED_LISTS else SURPLUS * sufficing
            if needed <= size or size == len(held):
                return found
            size = max(2 * size, needed)


def _sufficing(counts: IdArray, wanted: int) -> int:
    """How many of the first lists hold `wanted` matches, one more than there are where they do not."""
    return int(np.searchsorted(np.cumsum(counts), wanted)) + 1


def _selector(are_chosen: Mask) -> faiss.IDSelectorBitmap:
    """Selector of the numbers that are True."""
    packed_bits = np.packbits(are_chosen, bitorder="little")
    return faiss.IDSelectorBitmap(packed_bits)


def _fits(codes: faiss.Index, centroids: FloatArray) -> bool:
    is_kind = isinstance(codes, faiss.IndexIVFPQFastScan) and codes.metric_type == faiss.METRIC_INNER_PRODUCT
    return is_kind and codes.nlist == 1 and (codes.ntotal, codes.d) == centroids.shape


def train_coarse(sample: FloatArray, lists_count: int, *, iterations: int, seed: int, on_gpu: bool = False) -> Coarse:
    """Spherical k-means over unit rows (n, d): flat, or in two levels from `GROUPED_LISTS` on.

    With two levels each group gets lists in proportion to its rows, and learns them from these alone.
    """

    def centroids(rows: FloatArray, count: int) -> FloatArray:
        return _kmeans(rows, count, iterations=iterations, seed=seed, on_gpu=on_gpu)

    if lists_count < GROUPED_LISTS:
        return Coarse.flat(centroids(sample, lists_count))
    return _two_levels(sample, lists_count, centroids)


def _two_levels(sample: FloatArray, lists_count: int, centroids: Callable[[FloatArray, int], FloatArray]) -> Coarse:
    count = round(lists_count**0.5)
    groups = centroids(sample[: count * TRAIN_ROWS_PER_GROUP], count)
    owner = Coarse.flat(groups).assign(sample)
    shares = _shares(np.bincount(owner, minlength=count), lists_count)
    parts = [centroids(sample[owner == group], int(shares[group])) for group in range(count) if shares[group]]
    lists = np.concatenate(parts)
    return Coarse(lists, groups, np.concatenate([[0], np.cumsum(shares)]).astype(np.int64), codes_of(lists))


def codes_of(centroids: FloatArray) -> faiss.IndexIVFPQFastScan:
    """Codes of centroids (n, d), in one list."""
    count, dimensions = centroids.shape
    wanted = max(CENTROID_DIMENSIONS, -(-dimensions // MOST_CENTROID_PARTS))
    index = learnt_codes(centroids, lists_count=1, parts=parts_count(dimensions, wanted))
    add_coded(index, centroids, np.arange(count), np.zeros(count, np.int64))
    return packed(index)


def _shares(rows: IdArray, total: int) -> IdArray:
    """`total` lists divided in proportion to `rows`, largest remainders first; never more than there are rows."""
    exact = rows * (total / rows.sum())
    shares: IdArray = np.floor(exact).astype(np.int64)
    left = total - int(shares.sum())
    shares[np.argsort(shares - exact, kind="stable")[:left]] += 1
    return shares


def _kmeans(rows: FloatArray, count: int, *, iterations: int, seed: int, on_gpu: bool) -> FloatArray:
    if count >= len(rows):
        return np.ascontiguousarray(rows[:count])
    kmeans = faiss.Kmeans(
        rows.shape[1],
        count,
        niter=iterations,
        seed=seed,
        spherical=True,
        gpu=on_gpu,
        min_points_per_centroid=1,
        max_points_per_centroid=len(rows),
    )
    kmeans.train(np.ascontiguousarray(rows))
    return np.asarray(kmeans.centroids, dtype=np.float32)


def _nearest(scores: FloatArray, count: int) -> IdArray:
    """Places of the `count` highest scores of each row, in no order."""
    if scores.shape[1] <= count:
        return np.broadcast_to(np.arange(scores.shape[1], dtype=np.int64), scores.shape)
    return np.asarray(np.argpartition(-scores, count - 1, axis=1)[:, :count], dtype=np.int64)


def _until(scores: FloatArray, counts: IdArray, wanted: int) -> IdArray:
    """Places of the highest scores, best first (ties by place), until their counts add up to `wanted`."""
    size = 64
    while True:
        chosen = np.arange(len(scores)) if size >= len(scores) else np.argpartition(-scores, size - 1)[:size]
        ranked = chosen[np.lexsort((chosen, -scores[chosen]))]
        reached = np.cumsum(counts[ranked])
        if len(chosen) == len(scores) or (len(reached) and reached[-1] >= wanted):
            return ranked[: int(np.searchsorted(reached, wanted)) + 1]
        size *= 4
