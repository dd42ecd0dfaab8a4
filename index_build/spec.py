"""What to build: the closed set of choices behind a snapshot, embedded in its manifest. Pure; no FAISS here.

Numbers that depend on the corpus (nlist, sub-quantizers, shards) are derived here from its size and nowhere else.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FLAT_MAX_ROWS = 50_000
"""Rows per shard up to which exact scan over f16 rows costs about as much as probing (a few ms on one core)."""

SHARD_MAX_ROWS = 25_000_000
"""Rows per shard: 1.4 GB of codes and 19 GB of stored rows at 384 dimensions; one shard is built at a time."""

ROWS_PER_LIST = 64
"""Target rows per inverted list: two blocks of 32 codes. Of a million real texts, 8,192 rows in the nearest of 16,384 lists hold
.98 of the best ten, in the nearest of 2,048 lists .88 (measured once, for ADR 0022; no command repeats it)."""

MIN_LISTS = 16
MAX_LISTS = 262_144
"""Centroids of 262,144 lists are 403 MB at 384 dimensions, the most that a replica should hold."""

TRAIN_ROWS_PER_LIST = 64
"""FAISS asks for at least 39 training points per centroid; shards of more than two million rows have to do with fewer."""

MAX_TRAIN_ROWS = 1 << 21
"""Rows that training learns from at most: 3.2 GB at 384 dimensions, and a little more than twice that while they are drawn."""

DIMENSIONS_PER_SUBQUANTIZER = 6
"""Six dimensions in four bits: 32 bytes a vector at 384 dimensions. Of a million real texts, the best ten are among the first 320
of 65,000 scanned codes for .986; with four dimensions .995, in half as many bytes more, with eight .973 (`make bench-search PART=parts`)."""

MIN_SUBQUANTIZERS = 32
"""16 bytes a vector: shorter codes of short vectors order them too badly to refine."""


class IndexSpec(BaseModel):
    """Build choices. Two builds of the same export with equal specs give the same bytes."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    flat_max_rows: int = Field(default=FLAT_MAX_ROWS, ge=0, description="Shards up to this many rows are flat")
    shard_max_rows: int = Field(default=SHARD_MAX_ROWS, ge=1, description="Shards are added until each has fewer rows")
    rows_per_list: int = Field(default=ROWS_PER_LIST, ge=8, description="Target rows of an inverted list")
    train_rows_per_list: int = Field(default=TRAIN_ROWS_PER_LIST, ge=39, description="Training rows per centroid")
    kmeans_iterations: int = Field(default=10, ge=1, description="Lloyd iterations of the coarse quantizer")
    docs_row_group_rows: int = Field(default=50_000, ge=1_000, description="Rows of a Parquet row group")
    seed: int = Field(default=20_261, ge=0, description="Seed of sampling and k-means")
    recall_k: int = Field(default=10, ge=1, description="k of recall@k")
    recall_target: float = Field(default=0.95, gt=0.0, le=1.0, description="Least recall of every band")
    queries_per_cell: int = Field(default=32, ge=8, description="Calibration queries per selectivity and filter kind")

    def shards_count(self, rows: int) -> int:
        """Shards for a corpus of `rows` rows, at least one."""
        return max(1, -(-rows // self.shard_max_rows))

    def kind(self, rows: int) -> Literal["flat", "ivf"]:
        """Index kind for a corpus of `rows` rows; all shards have the same kind."""
        return "flat" if rows / self.shards_count(rows) <= self.flat_max_rows else "ivf"

    def lists_count(self, rows: int) -> int:
        """Lists of the shared coarse quantizer: power of two near rows per shard / `rows_per_list`."""
        wanted = max(MIN_LISTS, rows / self.shards_count(rows) / self.rows_per_list)
        return int(min(MAX_LISTS, 1 << round_log2(wanted)))

    def train_rows(self, rows: int) -> int:
        """Rows sampled for training."""
        return min(rows, self.lists_count(rows) * self.train_rows_per_list, MAX_TRAIN_ROWS)


def round_log2(value: float) -> int:
    """Exponent of the power of two nearest to `value` (>= 1) on a linear scale."""
    low = int(value).bit_length() - 1
    return low if value - (1 << low) <= (2 << low) - value else low + 1


def subquantizers_count(dimensions: int) -> int:
    """Sub-quantizers of a row of `dimensions`."""
    return parts_count(dimensions, DIMENSIONS_PER_SUBQUANTIZER)


def parts_count(dimensions: int, wanted: int) -> int:
    """Largest divisor of `dimensions` that leaves at least `wanted` to a part, or up to 32 where that is more."""
    most = max(dimensions // wanted, min(dimensions, MIN_SUBQUANTIZERS))
    return next(m for m in range(most, 0, -1) if dimensions % m == 0)
