"""Files of a world while they are written: lines in order, damage planted on the way, everything counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lakehouse.simulate.columns import utf8_bytes
from lakehouse.simulate.junk import REDELIVERED_ROW, UNKNOWN_HEADER, Damage, Planted, damaged, planted
from lakehouse.simulate.profiles import Lines
from lakehouse.simulate.world import World


@dataclass(frozen=True, slots=True)
class FileReport:
    """A written file. `rows_count` counts rows as a reader meets them: real, doubled and broken ones, no header."""

    name: str
    rows_count: int
    bytes_count: int
    sha256: str


@dataclass(slots=True)
class _Sink:
    """One open file."""

    file: BinaryIO
    kinds: Sequence[Damage]
    rows: int = 0
    size: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    counts: Counter[str] = field(default_factory=Counter)

    def put(self, data: bytes | memoryview, rows: int) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.rows += rows
        self.size += len(data)


class Sinks:
    """Open files by name. A file is created by its first rows; `reports` and `ledger` are complete after closing."""

    def __init__(self, world: World, folder: Path) -> None:
        """Write into `folder`, which exists."""
        self._world = world
        self._folder = folder
        self._open: dict[str, _Sink] = {}
        self.reports: list[FileReport] = []
        self.ledger: list[Planted] = []

    def write(
        self, name: str, lines: Lines, *, kinds: Sequence[Damage], header: str = "", has_extra: bool = False
    ) -> None:
        """Append rows to a file and plant its damage.

        Args:
            name: of the file.
            lines: real rows.
            kinds: broken lines that may stand between them.
            header: first line of a tabular file.
            has_extra: the file has a column that no mapping names.
        """
        if not len(lines.lines):
            return
        sink = self._open.get(name) or self._opened(name, kinds, header, has_extra=has_extra)
        data, added = damaged(self._world, lines.lines, lines.ids, purpose=name, kinds=kinds, is_clean=lines.is_clean)
        sink.put(utf8_bytes(data), len(lines.lines) + sum(added.values()))
        sink.counts.update(added)
        sink.counts.update(lines.spoiled)

    def deliver_again(self, name: str, lines: Lines) -> None:
        """Append rows that stand in another file too."""
        self.write(name, lines, kinds=())
        if name in self._open:
            self._open[name].counts[REDELIVERED_ROW] += len(lines.lines)

    def close(self) -> None:
        """Finish all open files."""
        for name, sink in self._open.items():
            sink.file.close()
            self.reports.append(FileReport(name, sink.rows, sink.size, sink.digest.hexdigest()))
            self.ledger += planted(name, dict(sink.counts), sink.kinds)
        self._open.clear()

    def _opened(self, name: str, kinds: Sequence[Damage], header: str, *, has_extra: bool) -> _Sink:
        sink = _Sink((self._folder / name).open("wb"), kinds)
        if header:
            sink.put(f"{header}\n".encode(), 0)
        sink.counts[UNKNOWN_HEADER] += has_extra
        self._open[name] = sink
        return sink


@contextmanager
def open_sinks(world: World, folder: Path) -> Iterator[Sinks]:
    """Sinks that are closed at the end, whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    sinks = Sinks(world, folder)
    try:
        yield sinks
    finally:
        sinks.close()
