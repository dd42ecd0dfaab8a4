"""Refine rows: the stored copy of every vector that final similarities are computed from, SQ8 or float16.

One raw row-major file a shard, memory-mapped. SQ8 decodes as `minimum + step * code` per dimension; its error is part
of what calibration measures. Which rows to score is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from index_build.dots import dots, require_rows

SQ8_LEVELS = 255
"""Steps between the smallest and largest code of a byte."""

GATHER_ROWS = 1_024
"""Rows of float16 decoded at a time: 1.5 MB of float32 at 384 dimensions, which stay in the cache of a core."""

FloatArray = npt.NDArray[np.float32]
IdArray = npt.NDArray[np.int64]
StoredArray = npt.NDArray[np.uint8] | npt.NDArray[np.float16]


def fit_scale(vectors: FloatArray) -> FloatArray:
    """SQ8 scale of training rows (n, d): float32 (2, d), minimum and step; a constant dimension gets step 0."""
    low = vectors.min(axis=0)
    return np.stack([low, (vectors.max(axis=0) - low) / np.float32(SQ8_LEVELS)]).astype(np.float32)


def encode_rows(vectors: FloatArray, scale: FloatArray | None) -> StoredArray:
    """Stored form of `vectors` (n, d), row-major: uint8 with a scale, float16 without; values outside the scale are clipped."""
    if scale is None:
        return np.ascontiguousarray(vectors.astype("<f2"))
    step = np.where(scale[1] > 0, scale[1], np.float32(1))
    codes = np.rint((vectors - scale[0]) / step)
    return np.ascontiguousarray(np.clip(codes, 0, SQ8_LEVELS), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class RefineRows:
    """Stored rows (n, d) of one shard. `scale` is None for float16."""

    stored: StoredArray
    scale: FloatArray | None

    @classmethod
    def open(cls, path: Path, *, code: Literal["sq8", "f16"], dimensions: int, scale: FloatArray | None) -> RefineRows:
        """Memory-map a refine file; its size must be a whole number of rows.

        Raises:
            ValueError: it is not.
        """
        dtype = np.dtype(np.uint8) if code == "sq8" else np.dtype("<f2")
        row_bytes = dimensions * dtype.itemsize
        rows, rest = divmod(path.stat().st_size, row_bytes)
        if rest:
            raise ValueError(f"{path} is not a whole number of {row_bytes}-byte rows")
        # a plain view: every index into a memmap costs 40 microseconds
        return cls(np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=(rows, dimensions))), scale)

    def vectors(self, row_ids: IdArray) -> FloatArray:
        """Decoded rows, float32 (len(row_ids), d)."""
        return decode_rows(self.stored[row_ids], self.scale)

    def similarities(self, query: FloatArray, row_ids: IdArray) -> FloatArray:
        """Inner products of `query` (d,) with the rows, float32 (len(row_ids),).

        Raises:
            IndexError: one of them is no row of this shard.
        """
        if self.scale is None:
            require_rows(row_ids, len(self.stored))
            starts = range(0, len(row_ids), GATHER_ROWS)
            parts = [self.vectors(row_ids[start : start + GATHER_ROWS]) @ query for start in starts]
            return np.concatenate([*parts, np.empty(0, np.float32)])
        return dots(self.stored.view(np.uint8), query * self.scale[1], row_ids) + np.float32(query @ self.scale[0])


def decode_rows(stored: StoredArray, scale: FloatArray | None) -> FloatArray:
    """Float32 rows of their stored form."""
    rows = stored.astype(np.float32)
    return rows if scale is None else rows * scale[1] + scale[0]
