"""Draws the rows that training and calibration learn from: the rows with the smallest seeded hash of their id.

Such a sample depends on which rows exist, never on the order or the files in which they arrive.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from index_build.export import Batch
from index_build.hashing import creator_hashes, mixed
from index_build.refine import FloatArray, IdArray

COMPACT_FACTOR = 1.25
"""Candidates held, in sample sizes, before the larger keys are thrown away."""


MOVED_ROWS = 65_536
"""Rows moved at a time when the sample is thinned out."""


class BottomSample:
    """Keeps the `size` rows with the smallest (key, creator_id), in arrays that are filled and thinned out."""

    def __init__(self, size: int, *, seed: int) -> None:
        """Start empty."""
        self._size = size
        self._seed = seed
        self._limit = np.uint64(np.iinfo(np.uint64).max)
        self._keys = np.empty(0, np.uint64)
        self._ids = np.empty(0, object)
        self._vectors = np.empty((0, 0), np.float32)
        self._count = 0

    def add(self, batch: Batch) -> None:
        """Offer a batch."""
        ids = batch.creator_ids
        keys = mixed(creator_hashes(ids), seed=self._seed)
        chosen = np.flatnonzero(keys <= self._limit)
        self._reserve(len(chosen), batch.vectors.shape[1])
        place = slice(self._count, self._count + len(chosen))
        self._keys[place] = keys[chosen]
        self._ids[place] = [ids[i] for i in chosen]
        self._vectors[place] = batch.vectors[chosen]
        self._count = place.stop
        if self._count >= COMPACT_FACTOR * self._size:
            self._keep(self._smallest())

    def vectors(self) -> FloatArray:
        """The sample, float32 (at most size, d), in key order."""
        kept = self._smallest()
        kept = kept[np.argsort(self._keys[kept], kind="stable")]
        keys = self._keys[kept]
        for start in np.flatnonzero(keys[1:] == keys[:-1]):
            run = slice(int(start), int(np.searchsorted(keys, keys[start], side="right")))
            kept[run] = kept[run][np.argsort(self._ids[kept[run]].astype(str), kind="stable")]
        return self._vectors[kept]

    def _reserve(self, more: int, dimensions: int) -> None:
        """Room for `more` rows."""
        needed = self._count + more
        if needed <= len(self._keys):
            return
        room = max(needed, min(2 * needed, int(COMPACT_FACTOR * self._size) + more))
        self._keys = _grown(self._keys, (room,), self._count)
        self._ids = _grown(self._ids, (room,), self._count)
        self._vectors = _grown(self._vectors, (room, dimensions), self._count)

    def _smallest(self) -> IdArray:
        """Places of the rows that stay; equal keys go by creator_id."""
        keys = self._keys[: self._count]
        if len(keys) <= self._size:
            return np.arange(len(keys))
        last = np.partition(keys, self._size - 1)[self._size - 1]
        below, equal = np.flatnonzero(keys < last), np.flatnonzero(keys == last)
        equal = equal[np.argsort(self._ids[equal].astype(str), kind="stable")]
        return np.sort(np.concatenate([below, equal[: self._size - len(below)]]))

    def _keep(self, places: IdArray) -> None:
        """Move the rows at ascending `places` to the front."""
        count = len(places)
        for array in (self._keys, self._ids, self._vectors):
            for start in range(0, count, MOVED_ROWS):
                part = places[start : start + MOVED_ROWS]
                array[start : start + len(part)] = array[part]
        self._count = count
        self._limit = self._keys[:count].max()


def _grown(array: npt.NDArray[Any], shape: tuple[int, ...], count: int) -> npt.NDArray[Any]:
    grown = np.empty(shape, array.dtype)
    if count:
        grown[:count] = array[:count]
    return grown


def draw_sample(batches: Iterable[Batch], size: int, *, seed: int) -> FloatArray:
    """Sample of `size` vectors (fewer when there are fewer rows), float32 (n, d)."""
    sample = BottomSample(size, seed=seed)
    for batch in batches:
        sample.add(batch)
    return sample.vectors()
