"""How many accounts carry a key: the frequencies behind blocking and weights, drawn once from a set of accounts and then frozen.

Only keys of more than one account are listed, with exact counts up to `COUNT_MAX`: about one and a third an account, nine bytes
each. A key that is not listed had one account or none when the counts were drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

COUNT_MAX = 255
"""Counts saturate here (one byte); every cap lies far below."""
KEY_BITS = 64
"""Of a key; keys are hashes, so that equal ranges of them hold about as many."""
_ACCOUNTS = "accounts"


@dataclass(frozen=True, slots=True)
class Counts:
    """Keys in ascending order (uint64) and the accounts of each (uint8, 2 to `COUNT_MAX`), of so many accounts in all."""

    keys: np.ndarray
    uses: np.ndarray
    accounts: int

    def of(self, keys: np.ndarray) -> np.ndarray:
        """Number of accounts with each key, 1 to `COUNT_MAX`; of an unlisted key 1."""
        if not len(self.keys):
            return np.ones(keys.shape, dtype=np.int64)
        flat = keys.ravel()
        order = np.argsort(flat)  # a search in order stays in the cache: five times as fast among a million keys
        asked = flat[order]
        at = np.minimum(np.searchsorted(self.keys, asked), len(self.keys) - 1)
        uses = np.empty(len(flat), dtype=np.int64)
        uses[order] = np.where(self.keys[at] == asked, self.uses[at], 1)
        return uses.reshape(keys.shape)

    def to_bytes(self, said: Mapping[str, str]) -> bytes:
        """An Arrow file that also keeps what is `said` of the counts."""
        notes = {_ACCOUNTS: str(self.accounts)} | dict(said)
        table = pa.table({"key": self.keys, "uses": self.uses}).replace_schema_metadata(notes)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())

    @classmethod
    def from_bytes(cls, body: bytes) -> tuple[Counts, dict[str, str]]:
        """Counts and what was said of them from `to_bytes`."""
        table = pa.ipc.open_file(pa.BufferReader(body)).read_all()
        said = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        keys, uses = (table.column(name).to_numpy() for name in ("key", "uses"))
        return cls(keys, uses, int(said.pop(_ACCOUNTS))), said


def digest_of(body: bytes) -> str:
    """Name of stored counts."""
    return hashlib.sha256(body).hexdigest()[:16]


def partial_counts(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys and how often each occurs; partial counts add up."""
    return np.unique(keys, return_counts=True)


def total(partials: list[tuple[np.ndarray, np.ndarray]], accounts: int) -> Counts:
    """Counts of the sum of partial counts over so many accounts."""
    return listed(*summed(partials), accounts)


def summed(partials: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Sum of partial counts: distinct keys in ascending order, and how often each occurs."""
    none = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.int64)]
    keys, places = np.unique(np.concatenate([keys for keys, _ in partials] or none[0]), return_inverse=True)
    uses = np.concatenate([uses for _, uses in partials] or none[1])
    return keys, np.bincount(places, weights=uses, minlength=len(keys))


def range_begins(parts: int) -> np.ndarray:
    """The first key of each of so many equal ranges of all keys."""
    return np.array([(bound << KEY_BITS) // parts for bound in range(parts)], dtype=np.uint64)


def listed(keys: np.ndarray, uses: np.ndarray, accounts: int) -> Counts:
    """Counts of distinct keys in ascending order."""
    shared = uses > 1
    return Counts(keys[shared].astype(np.uint64), np.minimum(uses[shared], COUNT_MAX).astype(np.uint8), accounts)
