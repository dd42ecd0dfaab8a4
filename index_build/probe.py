"""Filtered search inside one opened shard: count-aware probing, exact scoring, refinement. Serving reuses this module.

The rule (fixed nprobe loses most matches under a filter): rank lists by centroid similarity, drop lists without a
matching row, probe until the probed lists hold at least T matching rows, refine the best candidates with the stored
rows. Rows are in list order, so an exact count per list is a popcount of a word range. Which plan to take, ranking by
other signals and merging shards belong to the planner.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

from index_build.bitmaps import WordArray, count_ranges, unpack_ids
from index_build.coarse import Coarse, Ranked
from index_build.codes import scan
from index_build.manifest import SCORE_ALL, Band, Effort, IndexShape, Manifest, ShardEntry
from index_build.refine import FloatArray, IdArray, RefineRows
from lakehouse.errors import IntegrityError

CALIBRATED_K = 10
DEEP_K_FACTOR = 4
"""Results up to which `k_factor` holds, as it was calibrated; the candidates for each of many more."""

LOOKED_AT_MATCHES = 512
FAR_RATIO = 0.5
"""Matching rows by whose density around a query it is told near from far, and the share of the average density that is far."""

FLAT_K_FACTOR = 2
"""Flat candidates per result: float32 order and float16 order differ only in near-ties."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a search did: lists ranked, lists without a match, lists probed, codes scanned, whether the matches are far."""

    lists_considered: int = 0
    lists_dropped: int = 0
    lists_probed: int = 0
    codes_scanned: int = 0
    is_far: bool = False


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
        counts = self.list_counts[lists]
        before = np.cumsum(counts) - counts
        places = np.repeat(starts[lists] - before, counts) + np.arange(counts.sum())
        return np.asarray(ids[places], dtype=np.int64)

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
            refine = RefineRows.open(
                folder / shard.refine.path,
                code=manifest.shape.refine,
                dimensions=manifest.shape.dimensions,
                scale=scale,
            )
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
        """Best `k` rows among `rows` (all rows when None) by count-aware probing.

        The probed lists hold at least `matches_target` matching rows, or all of them. Their codes are scanned for
        candidates (`refined_count`), or every matching row is scored, which costs less where few match (`SCORE_ALL`).

        Returns:
            min(k, matching rows) candidates, always.

        Args:
            query: unit vector (d,).
            k: results wanted.
            band: how far to probe, for queries near to the matching rows and for others.
            rows: allowed rows.
        """
        if self.coarse is None:
            return self._scan(query, k=k, rows=rows)
        counts = self.list_sizes if rows is None else rows.list_counts
        ranked = self._lists(query, counts, band.near, k=k)
        is_far = rows is not None and self.are_far(ranked.lists, rows)
        if is_far and band.far != band.near:
            ranked = self._lists(query, counts, band.far, k=k)
        effort = band.far if is_far else band.near
        dropped = int((counts == 0).sum())
        lists = ranked.lists
        if effort.k_factor == SCORE_ALL and rows is not None:
            work = Work(ranked.compared, dropped, len(lists), is_far=is_far)
            return self._refined(query, rows.rows_in(lists), k=k, work=work)
        wanted = min(refined_count(k, effort.k_factor), int(counts[lists].sum()))
        row_ids = self.scan_lists(query, ranked, k=wanted, rows=rows)
        work = Work(ranked.compared, dropped, len(lists), int(self.list_sizes[lists].sum()), is_far)
        return self._refined(query, row_ids, k=k, work=work)

    def are_far(self, lists: IdArray, rows: RowFilter) -> bool:
        """Whether a query's nearest lists hold far fewer matching rows than lists do on average, or all matches are read.

        Then the best rows are hardly nearer to it than many others, and more lists must be read to find them.
        """
        found = np.cumsum(rows.list_counts[lists])
        if len(found) and found[-1] == rows.total:
            return True  # in no order
        looked = int(np.searchsorted(found, LOOKED_AT_MATCHES)) + 1
        held, read = int(found[:looked][-1]) if len(found) else 0, int(self.list_sizes[lists[:looked]].sum())
        return held * self.rows < FAR_RATIO * rows.total * read

    def _lists(self, query: FloatArray, counts: IdArray, effort: Effort, *, k: int) -> Ranked:
        wanted = max(effort.matches_target, refined_count(k, effort.k_factor))
        return self.require_coarse().nearest(query, counts, wanted)

    def scan_lists(self, query: FloatArray, ranked: Ranked, *, k: int, rows: RowFilter | None) -> IdArray:
        """Row ids of the best `k` codes in some lists, best code first."""
        near = ranked.similarities
        if near is None:
            near = self.require_coarse().similarities(query, ranked.lists)
        return scan(self.index, query, ranked.lists, near, k=k, selector=None if rows is None else rows.selector)

    def _scan(self, query: FloatArray, *, k: int, rows: RowFilter | None) -> Candidates:
        """Whole flat shard."""
        matches = self.rows if rows is None else rows.total
        wanted = min(k * FLAT_K_FACTOR, matches)
        if not wanted:
            return self._refined(query, np.empty(0, np.int64), k=k, work=Work())
        parameters = None if rows is None else faiss.SearchParameters(sel=rows.selector)
        _, row_ids = self.index.search(query[None, :], wanted, params=parameters)
        return self._refined(query, row_ids[0], k=k, work=Work(1, lists_probed=1, codes_scanned=self.rows))

    def _refined(self, query: FloatArray, row_ids: IdArray, *, k: int, work: Work) -> Candidates:
        similarities = self.refine.similarities(query, row_ids)
        best = best_order(similarities, row_ids, k=k)
        return Candidates(row_ids[best], similarities[best], len(row_ids), work)


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
        coarse = Coarse.open(folder)
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
    """SQ8 scale (2, d), None for float16 rows.

    Raises:
        IntegrityError: it cannot be read or has another shape.
    """
    if manifest.shape.refine != "sq8":
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
    if len(similarities) > k > 0:
        least = np.partition(similarities, len(similarities) - k)[len(similarities) - k]
        kept = np.flatnonzero(similarities >= least)
    else:
        kept = np.arange(len(similarities))
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
