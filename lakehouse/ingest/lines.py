"""A file as physical lines of bytes: plain or gzip, any line ending, UTF-16 transcoded, overlong lines cut out.

Never more than one chunk and one line in memory. What goes wrong with the bytes is told, not raised.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

CHUNK_BYTES = 1024 * 1024
"""Read size: amortises calls; small beside the line limit."""
LINE_LIMIT_BYTES = 50 * 1024 * 1024
"""Longest line in bytes: a longer one is a broken file, and would fill the memory."""
SHOWN_BYTES = 8 * 1024
"""Start of an overlong line that is kept to show it."""
GZIP_MAGIC = b"\x1f\x8b"
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(slots=True)
class Line:
    """One physical line with its ending. Of an `is_oversize` line only the start is kept, `size` is its true length."""

    number: int
    data: bytes
    is_oversize: bool = False
    size: int = 0


@dataclass(slots=True)
class LineReader:
    """Iterates over a file's lines; afterwards `damage` says whether compressed input ended in an error.

    `tail` is the incomplete last line of damaged input: it is not yielded, since nobody knows how it went on.
    """

    path: Path
    line_limit: int = LINE_LIMIT_BYTES
    damage: str = ""
    tail: bytes = b""
    lines_count: int = 0
    _pending: list[bytes] = field(default_factory=list)

    def __iter__(self) -> Iterator[Line]:
        """Lines from 1.

        Raises:
            OSError: the file cannot be opened or read.
        """
        chunks = self.chunks()
        first = next(chunks, b"")
        ending = b"\r" if b"\r" in first and b"\n" not in first else b"\n"
        yield from self._split(first, chunks, ending)

    def chunks(self) -> Iterator[bytes]:
        """The file's bytes, decompressed, as UTF-8 where they are UTF-16, without a byte order mark.

        Raises:
            OSError: the file cannot be opened or read.
        """
        with self.path.open("rb") as raw:
            yield from _without_mark(self._raw_chunks(raw))

    def _raw_chunks(self, raw: BinaryIO) -> Iterator[bytes]:
        is_gzip = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        raw.seek(0)
        source = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if is_gzip else raw
        try:
            while chunk := _read(source):
                yield chunk
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.damage = str(error) or type(error).__name__

    def _split(self, first: bytes, chunks: Iterator[bytes], ending: bytes) -> Iterator[Line]:
        held: list[bytes] = []
        held_bytes = 0
        for chunk in _chain(first, chunks):
            *bodies, rest = chunk.split(ending)
            for body in bodies:
                data = body + ending
                yield self._line(b"".join((*held, data)) if held else data, held_bytes + len(data))
                held, held_bytes = [], 0
            held_bytes += len(rest)
            if rest and (held_bytes <= self.line_limit or not held):
                held.append(rest)
        if held and self.damage:
            self.tail = b"".join(held)
        elif held:
            yield self._line(b"".join(held), held_bytes)

    def _line(self, data: bytes, size: int) -> Line:
        self.lines_count += 1
        if size > self.line_limit:
            return Line(self.lines_count, data[:SHOWN_BYTES], is_oversize=True, size=size)
        return Line(self.lines_count, data, size=size)


def _read(source: BinaryIO) -> bytes:
    """The next chunk; gzip's `read1` hands over what it has before it meets an error."""
    return source.read1(CHUNK_BYTES) if isinstance(source, gzip.GzipFile) else source.read(CHUNK_BYTES)


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _without_mark(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Drop a UTF-8 byte order mark; transcode UTF-16 (spreadsheets' "Unicode text") to UTF-8."""
    first = next(chunks, b"")
    if first[: len(UTF16_MARKS[0])] in UTF16_MARKS:
        decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")
        for chunk in _chain(first, chunks):
            yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
    else:
        yield from _chain(first.removeprefix(codecs.BOM_UTF8), chunks)


def decode(data: bytes, encodings: tuple[str, ...]) -> tuple[str, int]:
    """Text and the index of the encoding that read it, -1 when none does (text then has escapes for framing only).

    Surrogates that are encoded as UTF-8 pass: they are damage worth seeing in silver, not a reason to lose a row.
    """
    for index, name in enumerate(encodings):
        try:
            return data.decode(name, _errors(name)), index
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8", "surrogateescape"), -1


@cache
def _errors(encoding: str) -> str:
    return "surrogatepass" if encoding.lower().startswith("utf") else "strict"
