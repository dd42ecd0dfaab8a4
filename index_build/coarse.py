"""The coarse quantizer that all shards share: centroids of lists, many of them in groups with centroids of their own.

A row is compared with the groups first and then with the lists of the nearest groups, so that a build does not pay for
every list. Rows of similar groups are neighbours, as lists of a group follow each other. A query, which needs many more
lists, is compared with short codes of all centroids instead: its lists are in too many groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from index_build.bitmaps import Mask
from index_build.codes import CODE_BITS, ONE_QUERY, add_coded, learnt_codes, packed, scan
from index_build.manifest import CENTROID_CODES, COARSE_FILES
from index_build.refine import FloatArray, IdArray, RefineRows, encode_rows, fit_scale
from index_build.spec import parts_count

GROUPED_LISTS = 1_024
"""From here on lists are grouped: fewer are 1.5 MB of centroids at 384 dimensions, which a core reads in a tenth of a ms."""

ASSIGN_GROUPS = 4
"""Nearest groups whose lists a row is compared with: .979 of a million real texts get the nearest of 16,384 lists, at .0016 of a
cosine lost on average (`make bench-search PART=parts`)."""

RANKED_LISTS, RANKED_SHARE = 64, 32
"""Lists that are ranked at first at least, and the part of all that is: keeping so many costs half of what reading all codes does."""

SAMPLED_LISTS, AMPLE = 256, 1.25
"""Centroids by which it is estimated how many are as near as something, and how many more than that are ranked: ranking once more
costs as much as ranking a tenth of all lists."""

CENTROID_DIMENSIONS, MOST_CENTROID_PARTS = 2, 256
"""Dimensions of a part of a centroid's code, and the most parts, whose sums still fit into the 16 bits that FAISS adds them in: 96
bytes at 384 dimensions, of 32,768 lists a seventh of a ms to scan."""

ASSIGN_ROWS = 16_384
"""Rows assigned at a time: 25 MB at 384 dimensions, and 67 MB of scores against the most lists without groups."""

TRAIN_ROWS_PER_GROUP = 256
"""Rows that the centroids of groups are learnt from, for each group."""

ONE_LIST, NO_OFFSET = np.zeros(1, np.int64), np.zeros(1, np.float32)
"""The list of all codes of centroids, and its centroid's inner product with any query."""


@dataclass(frozen=True, slots=True)
class Coarse:
    """Unit centroids (lists, d) in group order, those of groups (groups, d), and where each group's lists start (groups + 1,).

    `codes` holds the centroids in one list, None where there are few; `short` as bytes, a quarter of the memory to
    read for a query; of a million texts they are off by at most .0015 of a cosine. `sampled` are some of them, evenly chosen.
    """

    centroids: FloatArray
    groups: FloatArray
    offsets: IdArray
    codes: faiss.IndexIVFPQFastScan | None = None
    short: RefineRows | None = None
    sampled: FloatArray | None = None

    @classmethod
    def flat(cls, centroids: FloatArray) -> Coarse:
        """One group of all lists."""
        return cls(centroids, centroids.mean(axis=0, keepdims=True), np.array([0, len(centroids)], np.int64))

    @classmethod
    def coded(
        cls, centroids: FloatArray, groups: FloatArray, offsets: IdArray, codes: faiss.IndexIVFPQFastScan
    ) -> Coarse:
        """Many lists, with what a query reads of them: `codes` as `codes_of` makes them."""
        sampled = np.ascontiguousarray(centroids[:: max(1, len(centroids) // SAMPLED_LISTS)])
        return cls(centroids, groups, offsets, codes, _short(centroids), sampled)

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write the arrays under `folder/coarse`."""
        paths = tuple(folder / name for name in COARSE_FILES)
        paths[0].parent.mkdir(exist_ok=True)
        np.save(paths[0], self.centroids, allow_pickle=False)
        np.save(paths[1], self.groups, allow_pickle=False)
        np.save(paths[2], self.offsets, allow_pickle=False)
        if self.codes is None:
            return paths
        faiss.write_index(self.codes, str(folder / CENTROID_CODES))
        return (*paths, folder / CENTROID_CODES)

    @classmethod
    def open(cls, folder: Path, *, has_codes: bool) -> Coarse:
        """Map what `save` wrote.

        Raises:
            ValueError: it is not that.
            RuntimeError: FAISS cannot read the codes.
        """
        arrays = [np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False)) for name in COARSE_FILES]
        codes = faiss.read_index(str(folder / CENTROID_CODES)) if has_codes else None
        coarse = cls(arrays[0], arrays[1], arrays[2], codes)
        coarse._require_shape()
        return coarse if codes is None else cls.coded(coarse.centroids, coarse.groups, coarse.offsets, codes)

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

    def similarities(self, query: FloatArray, lists: IdArray) -> FloatArray:
        """Inner products of a query (d,) with the centroids of lists (m,)."""
        if self.short is None:
            return np.asarray((self.centroids @ query)[lists])
        return self.short.similarities(query, lists)

    def share_nearer(self, query: FloatArray, similarity: float) -> float:
        """About which share of the lists is at least as near to a query (d,) as `similarity`; 0 where lists are few."""
        return 0.0 if self.sampled is None else float(np.mean(self.sampled @ query >= similarity))


class Ranking:
    """Lists that hold matches, nearest to a query first, as far as somebody has asked.

    Nearness is by the codes of the centroids, where there are any: which of two lists that are about as near comes first
    hardly matters. `lists` int64 (m,) and `similarities` float32 (m,) are what was ranked so far.
    """

    def __init__(
        self, coarse: Coarse, query: FloatArray, counts: IdArray, *, selector: faiss.IDSelector | None = None
    ) -> None:
        """Rank nothing yet.

        Args:
            coarse: of the index.
            query: unit vector (d,).
            counts: matches in each list (lists,); lists without one are left out.
            selector: lists that hold some, None when all do.
        """
        self._coarse = coarse
        self._query = query
        self._counts = counts
        self._selector = selector
        self.total = int(counts.sum())
        self.held = int(np.count_nonzero(counts))
        self.lists = np.empty(0, np.int64)
        self.similarities = np.empty(0, np.float32)

    def until(self, wanted: int) -> IdArray:
        """The fewest of the nearest lists that hold `wanted` matches, or all."""
        size = max(self._least_size, 2 * wanted * self.held // max(1, self.total))
        while not self._is_complete and self._held_by_ranked < wanted:
            self._rank(size)
            size *= 2
        return self.lists[: _sufficing(self._counts[self.lists], wanted)]

    def nearer_than(self, similarity: float, *, beyond: IdArray) -> IdArray:
        """Lists at least as near as `similarity` that are not in `beyond`, nearest first."""
        if not self._is_complete and self._is_nearer(similarity):
            expected = AMPLE * self.held * self._coarse.share_nearer(self._query, similarity)
            size = max(2 * self._least_size, 2 * len(self.lists), round(expected))
            self._rank(size)
        while not self._is_complete and self._is_nearer(similarity):
            size *= 4  # of what was asked for: a scan may leave lists out
            self._rank(size)
        near = self.lists[self.similarities >= similarity]
        are_others = np.ones(len(self._counts), bool)
        are_others[beyond] = False
        return near[are_others[near]]

    @property
    def _least_size(self) -> int:
        return max(RANKED_LISTS, len(self._counts) // RANKED_SHARE)

    @property
    def _is_complete(self) -> bool:
        return len(self.lists) == self.held

    @property
    def _held_by_ranked(self) -> int:
        return int(self._counts[self.lists].sum())

    def _is_nearer(self, similarity: float) -> bool:
        return not len(self.lists) or bool(self.similarities[-1] >= similarity)

    def _rank(self, size: int) -> None:
        """Rank the nearest `size` lists, or all."""
        if self._coarse.codes is None:
            held = np.flatnonzero(self._counts)
            near = self._coarse.similarities(self._query, held)
            order = np.lexsort((held, -near))
            self.lists, self.similarities = held[order], near[order]
            return
        size = min(size, self.held)
        found, near = scan(self._coarse.codes, self._query, ONE_LIST, NO_OFFSET, k=size, selector=self._selector)
        if size == self.held:  # a scan leaves out what scores least
            are_others = self._counts > 0
            are_others[found] = False
            others = np.flatnonzero(are_others)
            found = np.concatenate([found, others])
            near = np.concatenate([near, np.full(len(others), -np.inf, np.float32)])
        self.lists, self.similarities = found, near


def _sufficing(counts: IdArray, wanted: int) -> int:
    """How many of the first lists hold `wanted` matches, one more than there are where they do not."""
    return int(np.searchsorted(np.cumsum(counts), wanted)) + 1


def selector_of(are_chosen: Mask) -> faiss.IDSelectorBitmap:
    """FAISS' selector of the numbers that are True."""
    packed_bits = np.packbits(are_chosen, bitorder="little")
    return faiss.IDSelectorBitmap(packed_bits)


def _fits(codes: faiss.Index, centroids: FloatArray) -> bool:
    """Whether these are codes of so many centroids, each once and in order, as `codes_of` makes them."""
    is_kind = isinstance(codes, faiss.IndexIVFPQFastScan) and codes.metric_type == faiss.METRIC_INNER_PRODUCT
    if not is_kind or codes.nlist != 1 or (codes.ntotal, codes.d) != centroids.shape or codes.implem != ONE_QUERY:
        return False
    if codes.pq.nbits != CODE_BITS or codes.invlists.list_size(0) != len(centroids):
        return False
    ids = faiss.rev_swig_ptr(codes.invlists.get_ids(0), len(centroids))
    codebook = faiss.vector_to_array(codes.pq.centroids)
    return bool(np.array_equal(ids, np.arange(len(centroids))) and np.isfinite(codebook).all())


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
    return Coarse.coded(lists, groups, np.concatenate([[0], np.cumsum(shares)]).astype(np.int64), codes_of(lists))


def codes_of(centroids: FloatArray) -> faiss.IndexIVFPQFastScan:
    """Codes of centroids (n, d), in one list."""
    count, dimensions = centroids.shape
    wanted = max(CENTROID_DIMENSIONS, -(-dimensions // MOST_CENTROID_PARTS))
    index = learnt_codes(centroids, lists_count=1, parts=parts_count(dimensions, wanted))
    add_coded(index, centroids, np.arange(count), np.zeros(count, np.int64))
    return packed(index)


def _short(centroids: FloatArray) -> RefineRows:
    scale = fit_scale(centroids)
    stored = np.empty(centroids.shape, np.uint8)
    for start in range(0, len(centroids), ASSIGN_ROWS):
        stored[start : start + ASSIGN_ROWS] = encode_rows(centroids[start : start + ASSIGN_ROWS], scale)
    return RefineRows(stored, scale)


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
