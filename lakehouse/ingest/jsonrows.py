"""JSON lines and JSON arrays as rows. Scalars keep their spelling; an array is read element by element, never whole."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from json import JSONDecodeError
from typing import Any

from lakehouse.ingest.lines import CHUNK_BYTES, LINE_LIMIT_BYTES, Line, decode
from lakehouse.ingest.rows import RawRow

DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, strict=False)
"""Numbers stay as written (`2.28E+11`, `1e400`, NaN); control characters inside strings pass."""
GAP = re.compile(r"[\s,]*")
ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
TRUNCATION_CHARS = 16
"""An error this near the end of the buffer may only mean that more text is needed (half a literal or escape)."""


def read_jsonl(lines: Iterable[Line], encodings: tuple[str, ...]) -> Iterator[RawRow]:
    """One row a line; blank lines are no rows."""
    for line in lines:
        if line.is_oversize:
            yield RawRow(line.number, None, line.data, "oversize_line", f"It has {line.size} bytes.")
            continue
        text, index = decode(line.data, encodings)
        if index < 0:
            yield RawRow(line.number, None, line.data, "bad_encoding")
        elif bare := text.strip():
            yield _parsed(line, bare, index)


def _parsed(line: Line, text: str, encoding_index: int) -> RawRow:
    try:
        value, end = DECODER.raw_decode(text)
        if end < len(text):
            value = DECODER.decode(text)  # says what is wrong with the remainder
    except (JSONDecodeError, RecursionError) as error:
        return RawRow(line.number, None, line.data, "bad_json", f"{error}.")
    return _object_row(value, line.number, line.data, encoding_index)


def _object_row(value: Any, line_number: int, raw: bytes, encoding_index: int = 0) -> RawRow:
    if not isinstance(value, dict):
        return RawRow(line_number, None, raw, "not_an_object")
    return RawRow(line_number, value, raw, encoding_index=encoding_index)


class _EndError(Exception):
    """The text ended where more was needed."""


class JsonArrayReader:
    """Objects of one array inside a JSON document, given as chunks of bytes.

    After a syntax error nothing tells where the next element starts: the remainder is one row with a problem.
    """

    def __init__(self, chunks: Iterable[bytes], *, path: str = "") -> None:
        """Read the array at the dotted `path`; an empty path means that the document is the array."""
        self._chunks = iter(chunks)
        self._path = path.split(".") if path else []
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._at = 0
        self._line = 1
        self._is_end = False

    def __iter__(self) -> Iterator[RawRow]:
        """Each element, then the remainder if it cannot be read."""
        if not self._has_text():
            return
        try:
            if not self._find_array():
                yield self._problem("no_array")
                return
            while self._peek(GAP) != "]":
                yield self._element()
        except JSONDecodeError as error:
            yield self._problem("bad_json", f"{error.msg}; the rest of the file cannot be read.")
        except RecursionError:
            yield self._problem("bad_json", "It is nested too deeply; the rest of the file cannot be read.")
        except _EndError:
            yield self._problem("bad_json", "The text ends inside the array.")

    def _has_text(self) -> bool:
        try:
            self._peek()
        except _EndError:
            return False
        return True

    def _element(self) -> RawRow:
        line = self._line
        value, text = self._value()
        raw = text.encode("utf-8", "surrogateescape")
        return RawRow(line, None, raw, "bad_encoding") if ESCAPED_BYTE.search(text) else _object_row(value, line, raw)

    def _find_array(self) -> bool:
        """Descend to the array: over the keys of each object of the path."""
        for key in self._path:
            if self._peek() != "{" or not self._find_key(key):
                return False
        if self._peek() != "[":
            return False
        self._at += 1
        return True

    def _find_key(self, wanted: str) -> bool:
        self._at += 1
        while self._peek(GAP) != "}":
            key, _ = self._value()
            if self._peek() != ":":
                raise JSONDecodeError("Expecting ':'", self._text, self._at)
            self._at += 1
            if key == wanted:
                return True
            self._peek()
            self._value()
        return False

    def _value(self) -> tuple[Any, str]:
        """Decode the value at the cursor, reading on while it is incomplete; the value and its text."""
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except JSONDecodeError as error:
                if not self._may_be_incomplete(error) or not self._read_more():
                    raise
                continue
            if end == len(self._text) and not isinstance(value, dict | list) and self._read_more():
                continue
            text = self._text[self._at : end]
            self._at = end
            self._line += text.count("\n")
            return value, text

    def _may_be_incomplete(self, error: JSONDecodeError) -> bool:
        if len(self._text) - self._at > LINE_LIMIT_BYTES:
            return False
        return error.msg.startswith("Unterminated") or error.pos >= len(self._text) - TRUNCATION_CHARS

    def _peek(self, gap: re.Pattern[str] = re.compile(r"\s*")) -> str:
        """Skip the gap and return the next character, which stays.

        Raises:
            _EndError: there is none.
        """
        while True:
            match = gap.match(self._text, self._at)
            end = match.end() if match else self._at
            self._line += self._text.count("\n", self._at, end)
            self._at = end
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                raise _EndError

    def _read_more(self) -> bool:
        """Append as much again as is pending, so that a long element costs linear time."""
        wanted = max(CHUNK_BYTES, len(self._text) - self._at)
        parts: list[str] = []
        got = 0
        while got < wanted and not self._is_end:
            chunk = next(self._chunks, None)
            self._is_end = chunk is None
            parts.append(self._decoder.decode(chunk or b"", final=self._is_end))
            got += len(parts[-1])
        self._text = self._text[self._at :] + "".join(parts)
        self._at = 0
        return got > 0

    def _problem(self, code: str, detail: str = "") -> RawRow:
        raw = self._text[self._at :].encode("utf-8", "surrogateescape")
        return RawRow(self._line, None, raw, code, detail)
