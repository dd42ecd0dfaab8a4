"""The vectors of all shards as one: similarities of rows, best rows of a filter, fan-out and merge.

Callers address rows by gid. A set numbers its own rows through all its shards, a shard by row_id; the set of the whole creator has
each row at its gid, that of a domain does not (`domains.py`). How a shard finds its best rows is `index_build.probe`;
which way is taken is `plan.py`. FAISS' own shard wrapper is not used: it drops filters silently.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import faiss
import numpy as np

from index_build.bitmaps import WordArray, contains, count_rows, slice_rows, unpack_ids, without_rows
from index_build.manifest import Manifest
from index_build.probe import RowFilter, ShardIndex, Work, open_coarse
from index_build.refine import FloatArray
from serving.catalog import Ids, Mask
from serving.plan import Branch, branch_of

GIDS_KEPT = 100_000
"""Matches up to which their ordinals are kept, 8 bytes each; more are found again in the set, 1 ms a million rows."""

LISTED_SHARE = 0.25
"""Share of rows up to which probing may list the matching rows instead of scanning codes: .21 of the 64 rows of a list, by the
costs of `index_build.probe`."""

T = TypeVar("T")


class Matches:
    """Rows that pass a filter, in the forms that different plans need. Immutable; kept and shared between requests."""

    def __init__(self, words: WordArray, shards: ShardSet) -> None:
        """Wrap a set of gids that all have a vector in `shards`."""
        self.words = words
        self.shards = shards
        self.total = count_rows(words)
        self.is_all = self.total == shards.rows

    @property
    def max_bytes(self) -> int:
        """Most memory that it takes: the set, its parts in the shards, the rows where they are kept, and those listed to be scored."""
        is_listed = self.total <= LISTED_SHARE * self.shards.rows
        sets = 2 if self.shards.has_all else 3
        return sets * self.words.nbytes + 8 * self.total * (self._keeps_gids + is_listed)

    @property
    def gids(self) -> Ids:
        """Matching rows, ascending."""
        return self._gids if self._keeps_gids else unpack_ids(self.words)

    def contain(self, gids: Ids) -> Mask:
        """Whether each of some rows passes."""
        return contains(self.words, gids)

    @property
    def _keeps_gids(self) -> bool:
        return self.total <= GIDS_KEPT

    @cached_property
    def _gids(self) -> Ids:
        return unpack_ids(self.words)

    def without(self, gids: Ids) -> Matches:
        """The same less some matching rows."""
        less = Matches(without_rows(self.words, gids), self.shards)
        less.own_words = without_rows(self.own_words, self.shards.rows_of(gids))
        return less

    @cached_property
    def own_words(self) -> WordArray:
        """The rows as the set of vectors numbers them."""
        return self.shards.own_words(self.words)

    @cached_property
    def filters(self) -> list[RowFilter]:
        """One selector per shard."""
        return [
            shard.filter(slice_rows(self.own_words, int(first), shard.rows))
            for shard, first in zip(self.shards.shards, self.shards.firsts, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class ShardResult:
    """Best rows of one shard: gids, similarities, how they were found, and whether no better row can exist."""

    shard: int
    branch: Branch
    gids: Ids
    similarities: FloatArray
    work: Work
    rows_scored: int
    is_exact: bool


class ShardSet:
    """All shards of a snapshot, opened. Thread-safe."""

    has_all = True
    """Every row that a filter can find has a vector here."""

    def __init__(self, shards: list[ShardIndex], manifest: Manifest, *, threads: int) -> None:
        """Wrap opened shards."""
        self.shards = shards
        self.manifest = manifest
        self.calibration = manifest.calibration
        self.dimensions = manifest.shape.dimensions
        self.firsts = np.concatenate([[0], np.cumsum([shard.rows for shard in shards])])[:-1].astype(np.int64)
        self.rows = sum(shard.rows for shard in shards)
        self.is_flat = manifest.shape.kind == "flat"
        self._flat = [_flat_vectors(shard) for shard in shards] if self.is_flat else []
        self._pool = ThreadPoolExecutor(min(threads, len(shards)), "shard") if len(shards) > 1 else None

    @classmethod
    def open(cls, folder: Path, manifest: Manifest, *, threads: int) -> ShardSet:
        """Open the shards of a verified snapshot folder.

        Raises:
            IntegrityError: one of them is not what the manifest says.
        """
        return cls(open_shards(folder, manifest), manifest, threads=threads)

    def close(self) -> None:
        """End the threads; memory goes with the object."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def own_words(self, words: WordArray) -> WordArray:
        """A set of gids as a set of own rows."""
        return words

    def rows_of(self, gids: Ids) -> Ids:
        """Own rows of gids."""
        return gids

    def gids_of(self, rows: Ids) -> Ids:
        """Gids of own rows."""
        return rows

    def vectors(self, gids: Ids) -> FloatArray:
        """Stored vectors of rows, float32 (len(gids), d)."""
        return self.stored(self.rows_of(gids))

    def stored(self, rows: Ids) -> FloatArray:
        """Stored vectors of own rows, float32 (len(rows), d)."""
        out = np.empty((len(rows), self.dimensions), dtype=np.float32)
        for number, places, row_ids in self._by_shard(rows):
            out[places] = self._flat[number][row_ids] if self.is_flat else self.shards[number].refine.vectors(row_ids)
        return out

    def similarities(self, query: FloatArray, gids: Ids) -> FloatArray:
        """Cosine of `query` (d,) with rows, float32 (len(gids),)."""
        return self._of_rows(gids, lambda number, row_ids: self._shard_similarities(number, query, row_ids))

    def rough(self, query: FloatArray, gids: Ids) -> FloatArray:
        """The same by half of what is stored of a row, where there is `slack`."""
        return self._of_rows(gids, lambda number, row_ids: self.shards[number].refine.rough(query, row_ids))

    def finer(self, query: FloatArray, gids: Ids, rough: FloatArray) -> FloatArray:
        """`similarities` of rows whose `rough` ones are known."""
        out = np.empty(len(gids), dtype=np.float32)
        for number, places, row_ids in self._by_shard(self.rows_of(gids)):
            out[places] = self.shards[number].refine.finer(query, row_ids, rough[places])
        return out

    def slack(self, query: FloatArray) -> float:
        """How far a row may lie behind another by `rough` and be before it in truth."""
        return self.shards[0].refine.slack(query)

    def best(self, query: FloatArray, matches: Matches, *, k: int) -> list[ShardResult]:
        """Best `k` matching rows of every shard, each found by the branch that its number of matches asks for."""
        return self._each(lambda number: self._best(number, query, matches, k=k))

    def exact_limit(self) -> int:
        """Matches per shard up to which scoring all of them is the plan: calibrated, or all rows of a flat index."""
        return max(shard.rows for shard in self.shards) if self.is_flat else self.calibration.exact_max_matches

    def _best(self, number: int, query: FloatArray, matches: Matches, *, k: int) -> ShardResult:
        faiss.omp_set_num_threads(1)  # of the calling thread: requests run beside each other, not each on all cores
        shard, first = self.shards[number], int(self.firsts[number])
        rows = None if matches.is_all else matches.filters[number]
        count = shard.rows if rows is None else rows.total
        branch = branch_of(matches=count, rows=shard.rows, is_flat=self.is_flat, calibration=self.calibration)
        band = self.calibration.band(count / shard.rows)
        match branch:
            case "empty":
                empty = np.empty(0, np.float32)
                return ShardResult(number, branch, np.empty(0, np.int64), empty, Work(), 0, is_exact=True)
            case "gather":
                row_ids = np.arange(shard.rows) if rows is None else rows.row_ids()
                found = shard.exact(query, row_ids, k=k)
            case _:
                found = shard.probe(query, k=k, band=band, rows=rows)
        return ShardResult(
            number,
            branch,
            self.gids_of(found.row_ids + first),
            found.similarities,
            found.work,
            found.refined_count,
            is_exact=branch == "gather" or self.is_flat,
        )

    def _shard_similarities(self, number: int, query: FloatArray, row_ids: Ids) -> FloatArray:
        shard = self.shards[number]
        if not self.is_flat:
            return shard.refine.similarities(query, row_ids)
        if len(row_ids) <= self.calibration.exact_max_matches:
            return np.asarray(self._flat[number][row_ids] @ query, dtype=np.float32)
        scanned = np.empty(shard.rows, dtype=np.float32)
        vector = np.ascontiguousarray(query, dtype=np.float32)
        faiss.fvec_inner_products_ny(
            faiss.swig_ptr(scanned), faiss.swig_ptr(vector), shard.index.get_xb(), self.dimensions, shard.rows
        )
        return scanned[row_ids]

    def _of_rows(self, gids: Ids, similarities: Callable[[int, Ids], FloatArray]) -> FloatArray:
        out = np.empty(len(gids), dtype=np.float32)
        for number, places, row_ids in self._by_shard(self.rows_of(gids)):
            out[places] = similarities(number, row_ids)
        return out

    def _by_shard(self, rows: Ids) -> list[tuple[int, Ids, Ids]]:
        """Shard, places in `rows` and row_ids of every shard that holds some of them."""
        if len(self.shards) == 1:
            return [(0, np.arange(len(rows)), rows)] if len(rows) else []
        owners = np.searchsorted(self.firsts, rows, side="right") - 1
        found = [(int(number), np.flatnonzero(owners == number)) for number in np.unique(owners)]
        return [(number, places, rows[places] - self.firsts[number]) for number, places in found]

    def _each(self, work: Callable[[int], T]) -> list[T]:
        numbers = range(len(self.shards))
        return [work(number) for number in numbers] if self._pool is None else list(self._pool.map(work, numbers))


def open_shards(folder: Path, manifest: Manifest) -> list[ShardIndex]:
    """Shards of a verified snapshot folder, or of one of its domains.

    Raises:
        IntegrityError: one of them is not what the manifest says.
    """
    coarse = open_coarse(folder, manifest)
    return [ShardIndex.open(folder, manifest, shard, coarse=coarse) for shard in manifest.shards]


def _flat_vectors(shard: ShardIndex) -> FloatArray:
    """The index's own float32 rows, without a copy: NumPy converts float16 rows ten times slower than it reads these."""
    raw = faiss.rev_swig_ptr(shard.index.get_xb(), shard.rows * shard.shape.dimensions)
    return np.asarray(raw, dtype=np.float32).reshape(shard.rows, shard.shape.dimensions)
