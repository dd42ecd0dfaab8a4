"""CSV and TSV: physical lines into rows of cells. Quoted line breaks join lines; a stray quote cannot swallow the file."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator

from lakehouse.ingest.lines import LINE_LIMIT_BYTES, Line, decode
from lakehouse.ingest.rows import RawRow

RECORD_LINES_LIMIT = 10_000
"""Most physical lines of one row: real descriptions have hundreds, an unclosed quote has all of the file."""


class _OversizeError(Exception):
    """A line over the limit came up."""


class _RunawayError(Exception):
    """A row spans more than it may: a quote was never closed."""


class _Feed:
    """Decoded lines for the csv reader; remembers those of the row in hand and takes lines back."""

    def __init__(self, lines: Iterable[Line], encodings: tuple[str, ...]) -> None:
        self._lines = iter(lines)
        self._encodings = encodings
        self._again: deque[Line] = deque()
        self._bytes = 0
        self.taken: list[Line] = []
        self.texts: list[str] = []
        self.worst_encoding = 0

    def begin(self) -> None:
        """Forget the last row."""
        self.taken, self.texts, self._bytes, self.worst_encoding = [], [], 0, 0

    def take_back(self, lines: list[Line]) -> None:
        """Read these lines again, as the start of a new row."""
        self._again.extendleft(reversed(lines))

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        self._bytes += len(line.data)
        if line.is_oversize:
            raise _OversizeError
        if len(self.taken) > RECORD_LINES_LIMIT or self._bytes > LINE_LIMIT_BYTES:
            raise _RunawayError
        text, index = decode(line.data, self._encodings)
        self.worst_encoding = -1 if index < 0 or self.worst_encoding < 0 else max(index, self.worst_encoding)
        self.texts.append(text)
        return text


class TabularReader:
    """Rows of a delimited file. The first row is the header and sets the number of cells of all others."""

    def __init__(self, lines: Iterable[Line], *, delimiter: str, encodings: tuple[str, ...]) -> None:
        """Read `lines`; nothing is read before the first row is asked for."""
        self._feed = _Feed(lines, encodings)
        self._delimiter = delimiter
        self._width = 0

    def __iter__(self) -> Iterator[RawRow]:
        """The header, then each row; blank lines are no rows."""
        csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT_BYTES))
        reader = csv.reader(self._feed, delimiter=self._delimiter, strict=True)
        while (row := self._next(reader)) is not None:
            if row.cells != []:
                yield row

    def _next(self, reader: Iterator[list[str]]) -> RawRow | None:
        self._feed.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return None
        except _OversizeError:
            size = self._feed.taken[-1].size
            return self._row(None, problem="oversize_line", detail=f"It has {size} bytes.")
        except (_RunawayError, csv.Error):
            return self._recovered("bad_quoting")
        return self._checked(cells)

    def _checked(self, cells: list[str]) -> RawRow:
        if self._feed.worst_encoding < 0:
            return self._row(None, problem="bad_encoding")
        if not cells or len(cells) == self._width or not self._width:
            self._width = self._width or len(cells)
            return self._row(cells)
        detail = f"It has {len(cells)}, not {self._width}."
        return self._recovered("wrong_column_count", detail)

    def _row(self, cells: list[str] | None, *, problem: str = "", detail: str = "") -> RawRow:
        taken = self._feed.taken
        raw = taken[0].data if len(taken) == 1 else b"".join(line.data for line in taken)
        return RawRow(taken[0].number, cells, raw, problem, detail, max(self._feed.worst_encoding, 0))

    def _recovered(self, problem: str, detail: str = "") -> RawRow:
        """Stop the row, and only the row: lines that a stray quote swallowed are read again.

        The first swallowed line that is a whole row on its own shows where the file goes on.
        """
        taken, texts = self._feed.taken, self._feed.texts
        if len(taken) == 1 and problem == "bad_quoting" and (cells := self._alone(texts[0], strict=False)):
            return self._checked(cells)
        follower = next((i for i in range(1, len(texts)) if self._alone(texts[i], strict=True)), None)
        if follower is not None:
            self._feed.take_back(taken[follower:])
            self._feed.taken = taken[:follower]
        return self._row(None, problem=problem, detail=detail)

    def _alone(self, text: str, *, strict: bool) -> list[str] | None:
        """The cells of one line read by itself, if it makes a full row with paired quotes."""
        if text.count('"') % 2:
            return None
        try:
            cells = next(csv.reader([text], delimiter=self._delimiter, strict=strict), [])
        except csv.Error:
            return None
        return cells if self._width and len(cells) == self._width else None
