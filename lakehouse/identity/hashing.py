"""64-bit keys of strings and of string parts, equal on every machine and in every process.

The lowest bits of a key say its kind, so that a key found in a shuffle still names the rule that made it.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

KIND_BITS = np.uint64(7)
ABSENT = np.uint64(0)
"""Stands for "no key" in a key matrix."""
MANY_MORE = 8
"""Times as many values as are listed: then most are told by a table."""
SLOTS = 32
"""Slots of that table, at least, for each hash that is listed: of those that are not, one in 32 or fewer is looked up."""


class Kind(IntEnum):
    """What a key stands for, in the order in which equally rare keys are preferred."""

    LINK = 0
    EMAIL = 1
    DOMAIN = 2
    TEXT = 3
    STEM = 4
    TOKENS = 5
    TOKEN = 6
    GRAM = 7


def hash_strings(values: pa.Array) -> np.ndarray:
    """Hash of each string (uint64), 0 for null."""
    texts = values.to_numpy(zero_copy_only=False)
    present = values.is_valid().to_numpy(zero_copy_only=False)
    hashes = np.zeros(len(texts), dtype=np.uint64)
    if present.any():
        hashes[present] = pd.util.hash_array(texts[present], categorize=False)
    return hashes


def as_key(hashes: np.ndarray, kind: Kind) -> np.ndarray:
    """Key of a kind from raw hashes; `ABSENT` stays `ABSENT`."""
    keys = (mix(hashes ^ np.uint64((int(kind) + 1) * 0x9E3779B97F4A7C15 & (2**64 - 1))) & ~KIND_BITS) | np.uint64(kind)
    return np.where(hashes == ABSENT, ABSENT, keys)


def kind_of(keys: np.ndarray) -> np.ndarray:
    """Kind code of each key."""
    return np.asarray(keys & KIND_BITS, dtype=np.int64)


def mix(hashes: np.ndarray) -> np.ndarray:
    """Finalizer of splitmix64 (Steele, Lea and Flood 2014): spreads the bits of unsigned 64-bit integers."""
    mixed = np.asarray(hashes, dtype=np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def combine(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Hash of an ordered pair of hashes; `ABSENT` where one is absent."""
    joined = mix(left) * np.uint64(31) + mix(right ^ np.uint64(0x5851F42D4C957F2D))
    return np.where((left == ABSENT) | (right == ABSENT), ABSENT, joined)


def account_digests(platforms: pa.Array, ids: pa.Array) -> np.ndarray:
    """Hash of each account."""
    return combine(hash_strings(platforms), hash_strings(ids))


def among(values: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """Which values are in a list in ascending order, both of 64 bits; quick where they are hashes and many more, or nearly in order."""
    if not len(listed):
        return np.zeros(values.shape, dtype=bool)
    if len(values) < MANY_MORE * len(listed):
        return _looked_up(values, listed)
    is_listed = np.zeros(1 << (len(listed) * SLOTS).bit_length(), dtype=bool)
    is_listed[_slots(listed, is_listed)] = True
    likely = np.flatnonzero(is_listed[_slots(values, is_listed)])
    found = np.zeros(values.shape, dtype=bool)
    found[likely] = _looked_up(values[likely], listed)
    return found


def _looked_up(values: np.ndarray, listed: np.ndarray) -> np.ndarray:
    return np.asarray(listed[np.minimum(np.searchsorted(listed, values), len(listed) - 1)] == values)


def _slots(hashes: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Place of each hash in a table whose length is a power of two."""
    return (hashes.view(np.uint64) >> np.uint64(int(KIND_BITS).bit_length())) & np.uint64(len(table) - 1)


def row_digests(columns: list[pa.Array]) -> np.ndarray:
    """64-bit digest (signed) of each row of some columns of texts, numbers or lists of texts."""
    digests = np.zeros(len(columns[0]) if columns else 0, dtype=np.uint64)
    for column in columns:
        is_list = pa.types.is_list(column.type)
        hashes = _list_hashes(column) if is_list else hash_strings(column.cast(pa.string()))
        digests = mix(digests * np.uint64(31) + hashes)
    return digests.view(np.int64)


def _list_hashes(lists: pa.ListArray) -> np.ndarray:
    """Hash of each list of texts, of an empty one or null 0."""
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    parents = np.repeat(np.arange(len(lists)), sizes)
    places = np.arange(len(parents)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    summed = np.zeros(len(lists), dtype=np.uint64)
    np.add.at(summed, parents, mix(hash_strings(lists.flatten()) + mix(places.astype(np.uint64) + np.uint64(1))))
    return summed


def gram_hashes(texts: pa.Array, *, chars: int, length_max: int) -> np.ndarray:
    """Hashes of all n-grams: a matrix (rows, length_max - chars + 1), `ABSENT` past the end of a text."""
    filled = np.array(texts.fill_null("").to_pylist(), dtype=f"U{length_max}")
    points = filled.view(np.uint32).reshape(len(texts), length_max).astype(np.uint64)
    columns = length_max - chars + 1
    mixed, hashes = mix(points + np.uint64(1)), np.zeros((len(texts), columns), dtype=np.uint64)
    for step in range(chars):
        hashes = hashes * np.uint64(0x100000001B3) + mixed[:, step : step + columns]
    return np.where(points[:, chars - 1 :] == 0, ABSENT, hashes)
