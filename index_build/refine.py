"""Refine rows: the stored copy of every vector that final similarities are computed from, two bytes a dimension.

One raw row-major file a shard, memory-mapped. Either float16 (flat shards), or a byte for each dimension of all rows and behind them
their *residuals*: a second byte that divides the step of the first into 256. All candidates are scored by the first bytes; those that
may be among the best are scored by both. Which rows are candidates is decided elsewhere.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index_build.dots import ByteRows, dots, require_rows
from index_build.manifest import REFINE_BYTES

LEVELS = 255
"""Steps between the smallest and largest code of a byte."""

CELLS = 256
"""Parts into which a residual divides a step."""

SLACK_DEVIATIONS = 8.5
"""Standard deviations of what the first bytes leave out of a similarity, by which a row may lie behind the k-th and still be compared by
both: 6 of the difference of two rows, that is fewer than one row in a hundred million that belongs before the k-th is missed."""

RESIDUAL_ZERO = np.float32(0.5 / CELLS - 0.5)
"""What a residual of 0 stands for, in steps: the middle of the lowest part."""

GATHER_ROWS = 1_024
"""Rows of float16 decoded at a time: 1.5 MB of float32 at 384 dimensions, which stay in the cache of a core."""

FloatArray = npt.NDArray[np.float32]
IdArray = npt.NDArray[np.int64]
StoredArray = npt.NDArray[np.uint8] | npt.NDArray[np.float16]


def fit_scale(vectors: FloatArray, *, room: float = 0.0) -> FloatArray:
    """Scale of bytes by training rows (n, d): float32 (2, d), minimum and step; a constant dimension gets step 0.

    `room` is left on either side, about, as a part of the range, for rows that are like none of these. The least value is a code: it is
    zero in most dimensions of sparse vectors, and half a step between two codes would be lost in one row and won in the next.
    """
    least = vectors.min(axis=0)
    step = (vectors.max(axis=0) - least) * ((1 + 2 * room) / LEVELS)
    return np.stack([least - math.floor(LEVELS * room / (1 + 2 * room)) * step, step]).astype(np.float32)


def encode_rows(vectors: FloatArray, scale: FloatArray) -> ByteRows:
    """First bytes of `vectors` (n, d), row-major; values outside the scale are clipped."""
    codes = np.rint((vectors - scale[0]) / _divisors(scale))
    return np.ascontiguousarray(np.clip(codes, 0, LEVELS), dtype=np.uint8)


def encode_residuals(vectors: FloatArray, stored: ByteRows, scale: FloatArray) -> ByteRows:
    """What `stored` (n, d) leaves out of `vectors` (n, d), in 256ths of a step from half a step below."""
    part = (vectors - decode_rows(stored, scale)) / _divisors(scale) + np.float32(0.5)
    return np.ascontiguousarray(np.clip(np.floor(part * CELLS), 0, LEVELS), dtype=np.uint8)


def _divisors(scale: FloatArray) -> FloatArray:
    return np.where(scale[1] > 0, scale[1], np.float32(1))


@dataclass(frozen=True, slots=True)
class RefineRows:
    """Stored rows (n, d) of one shard: float16 where `scale` is None, else bytes, with their residuals (n, d) or without."""

    stored: StoredArray
    scale: FloatArray | None
    residuals: ByteRows | None = None

    @classmethod
    def of(cls, vectors: FloatArray, scale: FloatArray | None) -> RefineRows:
        """Stored form of `vectors` (n, d): bytes and residuals with a scale, float16 without; what is outside the scale is clipped."""
        if scale is None:
            return cls(np.ascontiguousarray(vectors.astype("<f2")), None)
        stored = encode_rows(vectors, scale)
        return cls(stored, scale, encode_residuals(vectors, stored, scale))

    @classmethod
    def open(cls, path: Path, *, dimensions: int, scale: FloatArray | None) -> RefineRows:
        """Memory-map a refine file; its size must be a whole number of rows.

        Raises:
            ValueError: it is not.
        """
        rows, rest = divmod(path.stat().st_size, REFINE_BYTES * dimensions)
        if rest:
            raise ValueError(f"{path} is not a whole number of rows of {dimensions} dimensions")
        # plain views: every index into a memmap costs 40 microseconds
        if scale is None:
            return cls(np.asarray(np.memmap(path, dtype="<f2", mode="r", shape=(rows, dimensions))), None)
        both = np.asarray(np.memmap(path, dtype=np.uint8, mode="r", shape=(REFINE_BYTES, rows, dimensions)))
        return cls(both[0], scale, both[1])

    def checks(self) -> IdArray:
        """CRC-32 of each row with its residual, int64 (n,): ties a document to its vector."""
        checks: Iterator[int] = (zlib.crc32(row) for row in self.stored)
        if self.residuals is not None:
            checks = (zlib.crc32(rest, check) for rest, check in zip(self.residuals, checks, strict=True))
        return np.fromiter(checks, dtype=np.int64, count=len(self.stored))

    def taken(self, row_ids: IdArray) -> RefineRows:
        """A copy of some rows."""
        return RefineRows(self.stored[row_ids], self.scale, None if self.residuals is None else self.residuals[row_ids])

    def vectors(self, row_ids: IdArray) -> FloatArray:
        """Decoded rows, float32 (len(row_ids), d)."""
        rows = decode_rows(self.stored[row_ids], self.scale)
        if self.residuals is None or self.scale is None:
            return rows
        return rows + decode_residuals(self.residuals[row_ids], self.scale)

    def similarities(self, query: FloatArray, row_ids: IdArray) -> FloatArray:
        """Inner products of `query` (d,) with the rows, float32 (len(row_ids),).

        Raises:
            IndexError: one of them is no row of this shard.
        """
        return self.finer(query, row_ids, self.rough(query, row_ids))

    def rough(self, query: FloatArray, row_ids: IdArray) -> FloatArray:
        """The same by first bytes alone, where there are residuals: off by less than `slack` among millions.

        Raises:
            IndexError: one of them is no row of this shard.
        """
        if self.scale is None:
            require_rows(row_ids, len(self.stored))
            starts = range(0, len(row_ids), GATHER_ROWS)
            parts = [decode_rows(self.stored[row_ids[start : start + GATHER_ROWS]], None) @ query for start in starts]
            return np.concatenate([*parts, np.empty(0, np.float32)])
        return dots(self.stored.view(np.uint8), query * self.scale[1], row_ids) + np.float32(query @ self.scale[0])

    def finer(self, query: FloatArray, row_ids: IdArray, rough: FloatArray) -> FloatArray:
        """`similarities` of rows (m,) whose `rough` ones (m,) are known.

        Raises:
            IndexError: one of them is no row of this shard.
        """
        if self.residuals is None or self.scale is None:
            return rough
        weights = query * self.scale[1]
        shift = np.float32(weights.sum() * RESIDUAL_ZERO)
        return rough + dots(self.residuals, weights / np.float32(CELLS), row_ids) + shift

    def slack(self, query: FloatArray) -> float:
        """How far a row may lie behind another by `rough` and be before it in truth; 0 where there are no residuals.

        What is left out of a dimension is anything from half a step below to half a step above, of a variance of a twelfth.
        """
        if self.residuals is None or self.scale is None:
            return 0.0
        weights = query * self.scale[1]
        return SLACK_DEVIATIONS * math.sqrt(float(weights @ weights) / 12)

    def best(self, query: FloatArray, row_ids: IdArray, *, k: int) -> tuple[IdArray, FloatArray]:
        """Rows that may be among the `k` of `row_ids` most similar to `query`, at least so many where there are, and their similarities.

        Raises:
            IndexError: one of them is no row of this shard.
        """
        rough = self.rough(query, row_ids)
        if self.residuals is None:
            return row_ids, rough
        near = reaching(rough, k, self.slack(query))
        return row_ids[near], self.finer(query, row_ids[near], rough[near])


def decode_rows(stored: StoredArray, scale: FloatArray | None) -> FloatArray:
    """Float32 rows of their stored form."""
    rows = stored.astype(np.float32)
    return rows if scale is None else rows * scale[1] + scale[0]


def decode_residuals(residuals: ByteRows, scale: FloatArray) -> FloatArray:
    """What is to be added to rows (n, d) decoded from first bytes."""
    steps = np.asarray(residuals, np.float32) / np.float32(CELLS) + RESIDUAL_ZERO
    return np.asarray(steps * scale[1], np.float32)


def reaching(values: npt.NDArray[Any], count: int, slack: float = 0) -> IdArray:
    """Positions of the highest `count` values, and of those that are no more than `slack` below the last of them."""
    if not 0 < count < len(values):
        return np.arange(len(values) if count else 0)
    return np.flatnonzero(values >= np.partition(values, len(values) - count)[len(values) - count] - slack)
