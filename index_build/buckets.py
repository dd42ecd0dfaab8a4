"""Tables divided among many files by a number of each row: one Arrow stream a bucket, read back and removed one at a time.

Rows are held until there are enough to give each bucket more than a few: a message costs as much as hundreds of rows.
Which number a row has is decided elsewhere.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from index_build.refine import IdArray

HELD_ROWS = 131_072
"""Rows held before they are divided: 200 MB of vectors at 384 dimensions and about as much of documents."""

OTHER_FILES = 256
"""Files that a process has open besides."""


class Buckets:
    """Files `00000.arrow`... of a folder, one for each bucket."""

    def __init__(self, folder: Path, count: int, schema: pa.Schema) -> None:
        """Name them; nothing is written yet."""
        self._folder = folder
        self._count = count
        self._schema = schema
        self._writers: list[pa.ipc.RecordBatchStreamWriter] = []
        self._held: list[tuple[IdArray, pa.Table]] = []

    @contextmanager
    def filled(self) -> Iterator[Buckets]:
        """Open the files for `add`; they are complete when the block ends."""
        self._folder.mkdir(parents=True)
        _allow_files(self._count)
        with ExitStack() as stack:
            self._writers = [
                stack.enter_context(pa.ipc.new_stream(str(self._path(number)), self._schema))
                for number in range(self._count)
            ]
            yield self
            self._divide()
        self._writers = []

    def add(self, numbers: IdArray, table: pa.Table) -> None:
        """Rows of a table and the bucket of each, int64 (n,)."""
        self._held.append((numbers, table))
        if sum(len(held) for held, _ in self._held) >= HELD_ROWS:
            self._divide()

    def take(self, number: int) -> pa.Table:
        """All rows of a bucket, whose file is removed."""
        path = self._path(number)
        with pa.ipc.open_stream(str(path)) as stream:
            table = stream.read_all()
        path.unlink()
        return table

    def _divide(self) -> None:
        if not self._held:
            return
        numbers = np.concatenate([held for held, _ in self._held])
        order = np.argsort(numbers, kind="stable")
        rows = pa.concat_tables([table for _, table in self._held]).take(pa.array(order))
        used, starts = np.unique(numbers[order], return_index=True)
        for number, start, stop in zip(used, starts, [*starts[1:], len(order)], strict=True):
            self._writers[number].write_table(rows.slice(start, stop - start).combine_chunks())
        self._held = []

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.arrow"


def _allow_files(count: int) -> None:
    """Let this process open that many files more, as far as the machine lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
