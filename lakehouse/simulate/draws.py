"""Randomness by counter: a draw is a pure function of seed, purpose and row id, so no chunking or order changes it.

The generator is SplitMix64 (Steele, Lea, Flood 2014) with the purpose hashed into its key. Vectorised over row ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Ids = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 / golden ratio, odd: SplitMix64's step."""
MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
DOUBLE_BITS = np.uint64(11)
"""Bits dropped so that 53 remain, the mantissa of a double."""
DOUBLE_UNIT = 2.0**-53


class Draws:
    """Draws of one seed. `name` says what a draw is for: equal names give equal draws, other names independent ones."""

    def __init__(self, seed: int) -> None:
        """Draws of that seed; any integer."""
        self._seed = seed

    def bits(self, name: str, ids: Ids) -> Ids:
        """64 random bits for each id."""
        with np.errstate(over="ignore"):
            mixed = (ids + np.uint64(1)) * GOLDEN + _key(self._seed, name)
            mixed = (mixed ^ (mixed >> SHIFTS[0])) * MULTIPLIERS[0]
            mixed = (mixed ^ (mixed >> SHIFTS[1])) * MULTIPLIERS[1]
        return mixed ^ (mixed >> SHIFTS[2])

    def uniform(self, name: str, ids: Ids) -> Floats:
        """Doubles in [0, 1)."""
        return (self.bits(name, ids) >> DOUBLE_BITS).astype(np.float64) * DOUBLE_UNIT

    def normal(self, name: str, ids: Ids) -> Floats:
        """Standard normal doubles, by the inverse of the distribution function."""
        return np.asarray(ndtri(self.uniform(name, ids) + DOUBLE_UNIT / 2), dtype=np.float64)

    def is_hit(self, name: str, ids: Ids, ratio: float | Floats) -> Mask:
        """True with probability `ratio`, one for all or one for each."""
        return self.uniform(name, ids) < ratio

    def below(self, name: str, ids: Ids, limit: int | Ints) -> Ints:
        """Integers in [0, limit), one limit for all or one for each; limits far below 2^53."""
        return (self.uniform(name, ids) * limit).astype(np.int64)

    def pick(self, name: str, ids: Ids, weights: Sequence[float]) -> Ints:
        """Positions in `weights`, each with a probability proportional to its weight."""
        edges = np.cumsum(np.asarray(weights, dtype=np.float64))
        found = np.searchsorted(edges, self.uniform(name, ids) * edges[-1], side="right")
        return np.asarray(found, dtype=np.int64)


@lru_cache(maxsize=1024)
def _key(seed: int, name: str) -> np.uint64:
    digest = hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def scramble(ids: Ids, key: np.uint64, bits: int) -> Ids:
    """A permutation of the integers below 2^bits: distinct ids stay distinct.

    Args:
        ids: integers below 2^bits.
        key: which permutation.
        bits: width, at most 63.
    """
    mask = np.uint64((1 << bits) - 1)
    half = np.uint64(bits // 2)
    with np.errstate(over="ignore"):
        mixed = (ids ^ key) & mask
        for multiplier in MULTIPLIERS:
            mixed = (mixed * multiplier) & mask
            mixed ^= mixed >> half
    return mixed
