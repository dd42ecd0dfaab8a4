"""The coarse quantizer that all shards share: centroids of lists, many of them in groups with centroids of their own.

A row or a query is compared with the groups first and then with the lists of the nearest groups, so that neither a build
nor a query pays for every list. Rows of similar groups are neighbours, as lists of a group follow each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from index_build.manifest import COARSE_FILES
from index_build.refine import FloatArray, IdArray

GROUPED_LISTS = 4_096
"""From here on lists are grouped: fewer are 6 MB of centroids at 384 dimensions, which a core reads in a fraction of a ms."""

ASSIGN_GROUPS = 8
"""Nearest groups whose lists a row is compared with: .991 of a million real texts get the nearest of 8,192 lists (`make
bench-search PART=parts`)."""

FIRST_GROUPS = 16
"""Groups that a query looks into at least; more where their lists do not hold enough."""

GROUP_SURPLUS = 4
"""Matches that looked-into groups must hold for each that is wanted: the nearest lists are spread over groups."""

ASSIGN_ROWS = 16_384
"""Rows assigned at a time: 25 MB at 384 dimensions, and 268 MB of scores against the most lists without groups."""

TRAIN_ROWS_PER_GROUP = 256
"""Rows that the centroids of groups are learnt from, for each group."""


@dataclass(frozen=True, slots=True)
class Coarse:
    """Unit centroids (lists, d) in group order, those of groups (groups, d), and where each group's lists start (groups + 1,)."""

    centroids: FloatArray
    groups: FloatArray
    offsets: IdArray

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
        return paths

    @classmethod
    def open(cls, folder: Path) -> Coarse:
        """Map what `save` wrote.

        Raises:
            ValueError: it is not that.
        """
        arrays = [np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False)) for name in COARSE_FILES]
        coarse = cls(*arrays)
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

    def nearest(self, query: FloatArray, counts: IdArray, wanted: int) -> tuple[IdArray, int]:
        """Nearest lists that together hold `wanted` matches (all that hold any, where there are fewer), nearest first.

        Args:
            query: unit vector (d,).
            counts: matches in each list (lists,); lists without one are left out.
            wanted: matches.

        Returns:
            The lists, int64, and how many lists were compared.
        """
        groups = self._groups_holding(query, counts, wanted * GROUP_SURPLUS)
        ranges = [self.offsets[group : group + 2] for group in groups]
        lists = np.concatenate([np.arange(*ends) for ends in ranges] or [np.empty(0, np.int64)])
        scores = np.concatenate([self.centroids[slice(*ends)] @ query for ends in ranges] or [np.empty(0, np.float32)])
        held = np.flatnonzero(counts[lists])
        ranked = held[_until(scores[held], counts[lists[held]], min(wanted, int(counts.sum())))]
        return lists[ranked], len(lists)

    def _groups_holding(self, query: FloatArray, counts: IdArray, wanted: int) -> IdArray:
        """Nearest groups with matches, at least `FIRST_GROUPS`, until they hold `wanted`; ascending."""
        if len(self.groups) == 1:
            return np.zeros(1, np.int64)
        held = np.add.reduceat(np.append(counts, 0), self.offsets[:-1])
        held[self.offsets[:-1] == self.offsets[1:]] = 0
        order = np.argsort(-(self.groups @ query), kind="stable")
        order = order[held[order] > 0]
        enough = int(np.searchsorted(np.cumsum(held[order]), wanted)) + 1
        return np.sort(order[: max(FIRST_GROUPS, enough)])


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
    return Coarse(np.concatenate(parts), groups, np.concatenate([[0], np.cumsum(shares)]).astype(np.int64))


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
