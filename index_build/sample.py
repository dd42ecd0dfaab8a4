"""Draws the rows that training and calibration learn from: the rows with the smallest seeded hash of their id.

Such a sample depends on which rows exist, never on the order or the files in which they arrive.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from index_build.export import Batch
from index_build.hashing import creator_hashes, mixed
from index_build.refine import FloatArray

COMPACT_FACTOR = 1.25
"""Candidates held, in sample sizes, before the larger keys are thrown away."""


class BottomSample:
    """Keeps the `size` rows with the smallest (key, creator_id)."""

    def __init__(self, size: int, *, seed: int) -> None:
        """Start empty."""
        self._size = size
        self._seed = seed
        self._limit: int | None = None
        self._rows: list[tuple[int, str, FloatArray]] = []

    def add(self, batch: Batch) -> None:
        """Offer a batch."""
        ids = batch.creator_ids
        keys = mixed(creator_hashes(ids), seed=self._seed)
        chosen = np.arange(len(keys)) if self._limit is None else np.flatnonzero(keys <= np.uint64(self._limit))
        self._rows.extend((int(keys[i]), ids[i], batch.vectors[i].copy()) for i in chosen)
        if len(self._rows) >= COMPACT_FACTOR * self._size:
            self._compact()

    def vectors(self) -> FloatArray:
        """The sample, float32 (at most size, d), in key order."""
        self._compact()
        return np.stack([row[2] for row in self._rows])

    def _compact(self) -> None:
        self._rows.sort(key=lambda row: row[:2])
        del self._rows[self._size :]
        if len(self._rows) == self._size:
            self._limit = self._rows[-1][0]


def draw_sample(batches: Iterable[Batch], size: int, *, seed: int) -> FloatArray:
    """Sample of `size` vectors (fewer when there are fewer rows), float32 (n, d)."""
    sample = BottomSample(size, seed=seed)
    for batch in batches:
        sample.add(batch)
    return sample.vectors()
