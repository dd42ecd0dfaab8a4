"""How many accounts carry a key: a counting Bloom filter (Fan et al. 2000), an upper bound of the true count.

Every key counts in two buckets and is read as the smaller of the two. The table is computed from the account set of the
run and frozen for it. Collisions can only raise a count, which makes a key look more common than it is: blocking gets
stricter and agreement is worth less, never more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lakehouse.identity.hashing import mix

COUNT_MAX = 255
"""Counts saturate here (one byte); every cap lies far below."""
BUCKETS_PER_ACCOUNT = 256
"""An account has about 30 keys, which fill a quarter of these: about 4 % of rare keys meet others in both buckets."""
BUCKET_BITS_MIN, BUCKET_BITS_MAX = 20, 28
"""1 MiB to 256 MiB. At the upper bound the table serves about 2M accounts well; beyond, rare keys look common."""
SECOND = np.uint64(0xD6E8FEB86659FD93)
"""Turns a key into another one, independent after mixing, for the second bucket."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Saturating counts by bucket; the number of buckets is a power of two."""

    table: np.ndarray

    def of(self, keys: np.ndarray) -> np.ndarray:
        """Upper bound of the number of accounts with each key, 1 to `COUNT_MAX`."""
        first, second = buckets_of(keys, len(self.table))
        least = np.minimum(self.table[first], self.table[second])
        return np.asarray(np.maximum(least, 1), dtype=np.int64)


def bucket_count(accounts: int) -> int:
    """Size of the table for a number of accounts."""
    bits = int(np.ceil(np.log2(max(accounts, 1) * BUCKETS_PER_ACCOUNT)))
    return 1 << min(max(bits, BUCKET_BITS_MIN), BUCKET_BITS_MAX)


def buckets_of(keys: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Both buckets of each key."""
    last = np.uint64(size - 1)
    return (mix(keys) & last).astype(np.int64), (mix(keys ^ SECOND) & last).astype(np.int64)


def partial_counts(keys: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct buckets of some keys and how often each occurs; partial counts add up."""
    return np.unique(np.concatenate(buckets_of(keys, size)), return_counts=True)


def total(partials: list[tuple[np.ndarray, np.ndarray]], size: int) -> Counts:
    """Table of the sum of partial counts."""
    buckets, places = np.unique(np.concatenate([buckets for buckets, _ in partials]), return_inverse=True)
    sums = np.bincount(places, weights=np.concatenate([counts for _, counts in partials]), minlength=len(buckets))
    table = np.zeros(size, dtype=np.uint8)
    table[buckets] = np.minimum(sums, COUNT_MAX).astype(np.uint8)
    return Counts(table)
