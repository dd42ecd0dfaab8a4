"""Shown columns of rows, memory-mapped from one Arrow file in gid order. Reading ten rows costs no query and no copy."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

KEY = "creator_id"


class Documents:
    """Rows of one snapshot. Read-only and safe for several threads."""

    def __init__(self, batches: Sequence[pa.RecordBatch], by_creator: npt.NDArray[np.int32]) -> None:
        """Wrap batches in gid order; `by_creator` are the gids of creators in creator_id order."""
        self._batches = list(batches)
        self._keys = [batch.column(KEY) for batch in self._batches]
        self._starts = list(accumulate((batch.num_rows for batch in self._batches), initial=0))
        self._by_creator = by_creator

    @classmethod
    def open(cls, path: Path, by_creator: npt.NDArray[np.int32]) -> Documents:
        """Map a file that `write` made.

        Raises:
            ValueError: it is not one, or has fewer rows than `by_creator`.
        """
        with pa.ipc.open_file(pa.memory_map(str(path))) as source:
            batches = [source.get_batch(number) for number in range(source.num_record_batches)]
        opened = cls(batches, by_creator)
        if opened._starts[-1] < len(by_creator):
            raise ValueError(f"{path} has {opened._starts[-1]} rows, fewer than {len(by_creator)}")
        return opened

    @staticmethod
    def write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Write batches in gid order, uncompressed."""
        with pa.ipc.new_file(str(path), schema) as out:
            for batch in batches:
                out.write_batch(batch)

    def read(self, gids: Sequence[int]) -> list[dict[str, Any]]:
        """Rows in the order given."""
        rows = [self._slice(gid) for gid in gids]
        found: list[dict[str, Any]] = pa.Table.from_batches(rows).to_pylist() if rows else []
        return found

    def creator_ids(self, gids: Iterable[int]) -> list[str]:
        """Ids of rows, in the order given."""
        return [self._creator(int(gid)) for gid in gids]

    def gids_of(self, creator_ids: Sequence[str]) -> dict[str, int]:
        """Rows of creators that exist."""
        found = {creator_id: self._find(creator_id) for creator_id in creator_ids}
        return {creator_id: gid for creator_id, gid in found.items() if gid is not None}

    def _find(self, creator_id: str) -> int | None:
        low, high = 0, len(self._by_creator)
        while low < high:
            middle = (low + high) // 2
            if self._creator(int(self._by_creator[middle])) < creator_id:
                low = middle + 1
            else:
                high = middle
        gid = int(self._by_creator[low]) if low < len(self._by_creator) else -1
        return gid if gid >= 0 and self._creator(gid) == creator_id else None

    def _creator(self, gid: int) -> str:
        number, row = self._place(gid)
        return str(self._keys[number][row].as_py())

    def _slice(self, gid: int) -> pa.RecordBatch:
        number, row = self._place(gid)
        return self._batches[number].slice(row, 1)

    def _place(self, gid: int) -> tuple[int, int]:
        """Batch of a row and the row in it."""
        number = bisect_right(self._starts, gid) - 1
        return number, gid - self._starts[number]
