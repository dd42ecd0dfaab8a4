"""Deterministic pseudo-random keys of rows: shard placement, sampling and synthetic filters. Numbers only, no I/O."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from index_build.manifest import creator_hash

KeyArray = npt.NDArray[np.uint64]

_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_GOLDEN = 0x9E3779B97F4A7C15
"""SplitMix64: its increment and its two multipliers."""

_WORD = 1 << 64


def creator_hashes(creator_ids: Iterable[str]) -> KeyArray:
    """32-bit placement hashes of creator ids, as uint64 (n,)."""
    return np.fromiter(map(creator_hash, creator_ids), dtype=np.uint64)


def mixed(values: npt.NDArray[np.generic], *, seed: int) -> KeyArray:
    """SplitMix64 finaliser of integers: uniform 64-bit keys, independent between seeds."""
    keys = values.astype(np.uint64) + np.uint64((seed + 1) * _GOLDEN % _WORD)
    keys = (keys ^ (keys >> np.uint64(30))) * _MIX_1
    keys = (keys ^ (keys >> np.uint64(27))) * _MIX_2
    return np.asarray(keys ^ (keys >> np.uint64(31)))


def fractions(values: npt.NDArray[np.generic], *, seed: int) -> npt.NDArray[np.float64]:
    """Uniform numbers in [0, 1) of integers."""
    return np.asarray((mixed(values, seed=seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53)
