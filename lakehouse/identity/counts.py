"""How many accounts carry a key: a hashed count table, an upper bound of the true count.

The table is computed from the account set of the run and frozen for it. Collisions can only raise a count, which makes
a key look more common than it is: blocking gets stricter and agreement is worth less, never more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lakehouse.identity.hashing import mix

COUNT_MAX = 255
"""Counts saturate here (one byte); every cap lies far below."""
BUCKETS_PER_ACCOUNT = 64
"""An account has about 30 keys; twice that many buckets keep collisions of rare keys under half."""
BUCKET_BITS_MIN, BUCKET_BITS_MAX = 16, 28
"""64 KiB to 256 MiB. At the upper bound the table serves about 10M accounts well and is pessimistic beyond."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Saturating counts by bucket; the number of buckets is a power of two."""

    table: np.ndarray

    def of(self, keys: np.ndarray) -> np.ndarray:
        """Upper bound of the number of accounts with each key, 1 to `COUNT_MAX`."""
        return np.asarray(np.maximum(self.table[buckets_of(keys, len(self.table))], 1), dtype=np.int64)


def bucket_count(accounts: int) -> int:
    """Size of the table for a number of accounts."""
    bits = int(np.ceil(np.log2(max(accounts, 1) * BUCKETS_PER_ACCOUNT)))
    return 1 << min(max(bits, BUCKET_BITS_MIN), BUCKET_BITS_MAX)


def buckets_of(keys: np.ndarray, size: int) -> np.ndarray:
    """Bucket of each key."""
    return np.asarray(mix(keys) & np.uint64(size - 1), dtype=np.int64)


def partial_counts(keys: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct buckets of some keys and how often each occurs; partial counts add up."""
    return np.unique(buckets_of(keys, size), return_counts=True)


def total(partials: list[tuple[np.ndarray, np.ndarray]], size: int) -> Counts:
    """Table of the sum of partial counts."""
    table = np.zeros(size, dtype=np.int64)
    for buckets, counts in partials:
        np.add.at(table, buckets, counts)
    return Counts(np.minimum(table, COUNT_MAX).astype(np.uint8))
