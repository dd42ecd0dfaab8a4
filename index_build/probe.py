"""Filtered search inside one opened shard: count-aware probing, exact scoring, refinement. Serving reuses this module.

The rule (fixed nprobe loses most matches under a filter): rank lists by centroid similarity, drop lists without a
matching row, probe until the probed lists hold at least T matching rows, score the best candidates by the stored
rows, and go on into lists that are near enough to hold a better one than the k-th. Rows are in list order, so an exact count per list is a popcount of a word range. Which plan to take, ranking by
other signals and merging shards belong to the planner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

from index_build.bitmaps import WordArray, count_ranges, unpack_ids
from index_build.coarse import Coarse, Ranking, selector_of
from index_build.codes import scan
from index_build.manifest import CENTROID_CODES, Band, IndexShape, Manifest, ShardEntry
from index_build.refine import FloatArray, IdArray, RefineRows, reaching
from lakehouse.errors import IntegrityError

CALIBRATED_K = 10
DEEP_K_FACTOR = 4
"""Results up to which `k_factor` and margin hold, as they were calibrated; of many more, the candidates for each, and the part that
no unread list may better."""

CODE_COST, LIST_COST, ROW_COST = 1 / 64, 3.0, 0.3
"""Costs of scanning a 4-bit code, of beginning a list and of scoring a row, in units of work: 0.28 microseconds of one core at
384 dimensions, as long as a row took when the unit was chosen."""

SCANNED_SHARE = 32
"""Of rows that are ranked by their codes at least one in so many is scored. Of a million texts, under filters that are far from the
query, .985 of the best ten are found so; .973 where 1,280 of up to 75,000 are (measured once)."""

FLAT_K_FACTOR = 2
"""Flat candidates per result: float32 order and float16 order differ only in near-ties."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a search did: lists ranked, lists left out for want of a match, lists probed, codes scanned in them."""

    lists_considered: int = 0
    lists_dropped: int = 0
    lists_probed: int = 0
    codes_scanned: int = 0


@dataclass(frozen=True, slots=True)
class Candidates:
    """Best rows by stored similarity, best first, ties by row_id; `refined_count` rows were scored to find them."""

    row_ids: IdArray
    similarities: FloatArray
    refined_count: int
    work: Work


class RowFilter:
    """A set of rows of one shard: bitmap words, matches per list, and the FAISS selector over them. Immutable, cacheable."""

    def __init__(self, words: WordArray, lists: IdArray) -> None:
        """Wrap packed words (`bitmaps.py`); `lists` are the shard's row offsets of lists (nlist + 1,)."""
        self.words = np.ascontiguousarray(words)
        self.list_counts = count_ranges(self.words, lists)
        self.total = int(self.list_counts.sum())
        self.selector = faiss.IDSelectorBitmap(self.words.nbytes, faiss.swig_ptr(self.words.view(np.uint8)))

    def row_ids(self) -> IdArray:
        """Matching rows, ascending."""
        return unpack_ids(self.words)

    def rows_in(self, lists: IdArray) -> IdArray:
        """Matching rows of some lists, int64."""
        ids, starts = self._by_list
        return np.asarray(ids[_ranges(starts[lists], self.list_counts[lists])], dtype=np.int64)

    @cached_property
    def list_selector(self) -> faiss.IDSelector | None:
        """Lists with a match, None when all have one."""
        return None if self.list_counts.all() else selector_of(self.list_counts > 0)

    @cached_property
    def _by_list(self) -> tuple[IdArray, IdArray]:
        """Matching rows, and where those of each list start among them."""
        return self.row_ids(), np.cumsum(self.list_counts) - self.list_counts


class ShardIndex:
    """One opened shard. Read-only and safe for several threads: every call carries its own parameters."""

    def __init__(
        self, *, shape: IndexShape, index: faiss.Index, coarse: Coarse | None, refine: RefineRows, lists: IdArray
    ) -> None:
        """Wrap opened parts; `coarse` is None for a flat index."""
        self.shape = shape
        self.index = index
        self.coarse = coarse
        self.refine = refine
        self.lists = lists
        self.rows = int(lists[-1])
        self.list_sizes = np.diff(lists)

    @classmethod
    def open(cls, folder: Path, manifest: Manifest, shard: ShardEntry, *, coarse: Coarse | None) -> ShardIndex:
        """Open a shard of a snapshot folder by memory map; `coarse` comes from `open_coarse`, once per snapshot.

        Raises:
            IntegrityError: a file cannot be read or has other dimensions or rows than the manifest says.
        """
        scale = open_scale(folder, manifest)
        try:
            index = faiss.read_index(str(folder / shard.index.path), faiss.IO_FLAG_MMAP_IFC)
            lists = np.load(folder / shard.lists.path, allow_pickle=False)
            path = folder / shard.refine.path
            refine = RefineRows.open(path, dimensions=manifest.shape.dimensions, scale=scale)
        except (RuntimeError, ValueError, OSError) as error:
            raise IntegrityError(
                f"Shard {shard.shard} of snapshot {manifest.snapshot_id} cannot be opened: {error}"
            ) from error
        _require_shape(manifest.shape, shard, index=index, lists=lists, refine=refine)
        return cls(shape=manifest.shape, index=index, coarse=coarse, refine=refine, lists=lists)

    def require_coarse(self) -> Coarse:
        """The coarse quantizer of an index with lists."""
        if self.coarse is None:
            raise ValueError("a flat index has no lists")
        return self.coarse

    def filter(self, words: WordArray) -> RowFilter:
        """Filter over this shard's rows."""
        return RowFilter(words, self.lists)

    def exact(self, query: FloatArray, row_ids: IdArray, *, k: int) -> Candidates:
        """Best `k` of `row_ids` by stored similarity to `query` (d,), every one scored."""
        return self._refined(query, row_ids, k=k, work=Work())

    def probe(self, query: FloatArray, *, k: int, band: Band, rows: RowFilter | None = None) -> Candidates:
        """Best `k` rows among `rows` (all rows when None), looked for in the nearest lists that hold some.

        First in lists that together hold `matches_target` matching rows, or all of them. Then in those that may hold a better
        row than the k-th best found there: a row's similarity is that of its centroid times its cosine with it (`closeness`),
        give or take a `margin`. Few lists may where a query has near matches, many where it has none; a query whose best rows are no
        nearer than thousands of others ends at `most_work`.

        Returns:
            min(k, matching rows) candidates, always.

        Args:
            query: unit vector (d,).
            k: results wanted.
            band: how far to look.
            rows: allowed rows.
        """
        if self.coarse is None:
            return self._scan(query, k=k, rows=rows)
        ranking = self.ranking(query, rows)
        first = ranking.until(max(band.matches_target, refined_count(k, band.k_factor)))
        found = self._search(query, first, k=k, band=band, rows=rows)
        others = first[:0]
        if k and len(found.row_ids) == k:
            kth = float(found.similarities[min(k, max(CALIBRATED_K, k // DEEP_K_FACTOR)) - 1])
            bound = (kth - band.margin) / self.shape.closeness
            others = self._affordable(ranking.nearer_than(bound, beyond=first), rows, most=band.most_work)
        if len(others):
            found = _best_of(found, self._search(query, others, k=k, band=band, rows=rows), k=k)
        dropped = len(self.list_sizes) - ranking.held
        work = replace(found.work, lists_considered=len(ranking.lists), lists_dropped=dropped)
        return replace(found, work=work)

    def _affordable(self, lists: IdArray, rows: RowFilter | None, *, most: int) -> IdArray:
        """The first of some lists that together cost no more than `most` units of work."""
        sizes = self.list_sizes[lists]
        scans = np.cumsum(LIST_COST + sizes * CODE_COST)
        work = scans if rows is None else np.minimum(np.cumsum(rows.list_counts[lists]) * ROW_COST, scans)
        return lists[: int(np.searchsorted(work, most, side="right"))]

    def ranking(self, query: FloatArray, rows: RowFilter | None) -> Ranking:
        """Lists that hold matching rows, nearest first."""
        counts, selector = (
            (self.list_sizes, self._list_selector) if rows is None else (rows.list_counts, rows.list_selector)
        )
        return Ranking(self.require_coarse(), query, counts, selector=selector)

    @cached_property
    def _list_selector(self) -> faiss.IDSelector | None:
        return None if self.list_sizes.all() else selector_of(self.list_sizes > 0)

    def _search(self, query: FloatArray, lists: IdArray, *, k: int, band: Band, rows: RowFilter | None) -> Candidates:
        """Best `k` of the matching rows of some lists: of the best by their codes, or of all where that is no more work."""
        codes = int(self.list_sizes[lists].sum())
        matches = codes if rows is None else int(rows.list_counts[lists].sum())
        wanted = min(max(refined_count(k, band.k_factor), matches // SCANNED_SHARE), matches)
        row_ids = np.empty(0, np.int64)
        if (matches - wanted) * ROW_COST > scan_cost(len(lists), codes):
            near = self.require_coarse().similarities(query, lists)
            selector = None if rows is None else rows.selector
            row_ids, _ = scan(self.index, query, lists, near, k=wanted, selector=selector)
        if len(row_ids) < wanted or not len(row_ids):  # not worth it, or rows that FAISS left out
            codes, row_ids = 0, self._rows_in(lists) if rows is None else rows.rows_in(lists)
        return self._refined(query, row_ids, k=k, work=Work(lists_probed=len(lists), codes_scanned=codes))

    def _rows_in(self, lists: IdArray) -> IdArray:
        return _ranges(self.lists[lists], self.list_sizes[lists])

    def _scan(self, query: FloatArray, *, k: int, rows: RowFilter | None) -> Candidates:
        """Whole flat shard."""
        matches = self.rows if rows is None else rows.total
        wanted = min(k * FLAT_K_FACTOR, matches)
        if not wanted:
            return self._refined(query, np.empty(0, np.int64), k=k, work=Work())
        parameters = None if rows is None else faiss.SearchParameters(sel=rows.selector)
        _, row_ids = self.index.search(query[None, :], wanted, params=parameters)
        found = row_ids[0][row_ids[0] >= 0]  # FAISS fills up with -1
        return self._refined(query, found, k=k, work=Work(1, lists_probed=1, codes_scanned=self.rows))

    def _refined(self, query: FloatArray, row_ids: IdArray, *, k: int, work: Work) -> Candidates:
        near, similarities = self.refine.best(query, row_ids, k=k)
        best = best_order(similarities, near, k=k)
        return Candidates(near[best], similarities[best], len(row_ids), work)


def scan_cost(lists: float, codes: float) -> float:
    """Cost of scanning codes in lists, in units of work."""
    return lists * LIST_COST + codes * CODE_COST


def _ranges(starts: IdArray, counts: IdArray) -> IdArray:
    """The numbers start, start + 1, ... of each range, int64."""
    before = np.cumsum(counts) - counts
    return np.asarray(np.repeat(starts - before, counts) + np.arange(counts.sum()), dtype=np.int64)


def _best_of(one: Candidates, other: Candidates, *, k: int) -> Candidates:
    """Best `k` of two searches in different rows."""
    row_ids = np.concatenate([one.row_ids, other.row_ids])
    similarities = np.concatenate([one.similarities, other.similarities])
    best = best_order(similarities, row_ids, k=k)
    work = Work(
        lists_probed=one.work.lists_probed + other.work.lists_probed,
        codes_scanned=one.work.codes_scanned + other.work.codes_scanned,
    )
    return Candidates(row_ids[best], similarities[best], one.refined_count + other.refined_count, work)


def refined_count(k: int, k_factor: int) -> int:
    """Candidates that are refined for `k` results: a deep ranking needs fewer for each of them than its first rows do."""
    return max(min(k, CALIBRATED_K) * k_factor, k * DEEP_K_FACTOR)


def open_coarse(folder: Path, manifest: Manifest) -> Coarse | None:
    """The coarse quantizer that all shards share, None for a flat snapshot.

    Raises:
        IntegrityError: it cannot be read or has another shape than the manifest says.
    """
    if manifest.shape.kind == "flat":
        return None
    try:
        coarse = Coarse.open(folder, has_codes=CENTROID_CODES in {file.path for file in manifest.shared})
    except (ValueError, OSError, RuntimeError) as error:
        raise IntegrityError(
            f"The coarse quantizer of snapshot {manifest.snapshot_id} cannot be read: {error}"
        ) from error
    if coarse.centroids.shape != (manifest.shape.lists_count, manifest.shape.dimensions):
        raise IntegrityError(
            f"The coarse quantizer of snapshot {manifest.snapshot_id} has another shape than its manifest says."
        )
    return coarse


def open_scale(folder: Path, manifest: Manifest) -> FloatArray | None:
    """Scale of stored bytes (2, d), None for float16 rows.

    Raises:
        IntegrityError: it cannot be read or has another shape.
    """
    if manifest.shape.refine == "f16":
        return None
    try:
        scale = np.load(folder / "scale.npy", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise IntegrityError(f"The scale of snapshot {manifest.snapshot_id} cannot be read: {error}") from error
    if scale.shape != (2, manifest.shape.dimensions) or scale.dtype != np.float32 or not np.isfinite(scale).all():
        raise IntegrityError(f"The scale of snapshot {manifest.snapshot_id} has another shape than its manifest says.")
    return np.asarray(scale, dtype=np.float32)


def best_order(similarities: FloatArray, row_ids: IdArray, *, k: int) -> npt.NDArray[np.int64]:
    """Positions of the `k` best by (similarity descending, row_id ascending)."""
    kept = reaching(similarities, k)
    return np.asarray(kept[np.lexsort((row_ids[kept], -similarities[kept]))][:k], dtype=np.int64)


def _require_shape(
    shape: IndexShape, shard: ShardEntry, *, index: faiss.Index, lists: IdArray, refine: RefineRows
) -> None:
    """Refuse parts that do not fit together, before any of their numbers is used as an address.

    Raises:
        IntegrityError: naming the first misfit.
    """
    kind = faiss.IndexIVFPQFastScan if shape.kind == "ivf" else faiss.IndexFlat
    expected_lists = shape.lists_count + 1
    checks = {
        "kind": isinstance(index, kind),
        "dimensions": index.d == shape.dimensions,
        "metric": index.metric_type == faiss.METRIC_INNER_PRODUCT,
        "rows": index.ntotal == shard.rows == len(refine.stored),
        "lists": lists.shape == (expected_lists,) and lists.dtype == np.int64 and lists[0] == 0,
        "list order": bool((np.diff(lists) >= 0).all()) and int(lists[-1]) == shard.rows,
    }
    for name, is_fine in checks.items():
        if not is_fine:
            raise IntegrityError(f"Shard {shard.shard} does not fit its manifest: {name} differ.")
    if shape.kind == "ivf" and index.nlist != shape.lists_count:
        raise IntegrityError(f"Shard {shard.shard} does not fit its manifest: lists differ.")
