"""Bytes into lines: endings, compression, marks, limits and damage."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from lakehouse.ingest.lines import LineReader, decode


def lines_of(path: Path, **options: int) -> tuple[LineReader, list[bytes]]:
    reader = LineReader(path, **options)
    return reader, [line.data for line in reader]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\nb\n", [b"a\n", b"b\n"]),
        (b"a\r\nb", [b"a\r\n", b"b"]),
        (b"a\rb\r", [b"a\r", b"b\r"]),
        (b"\xef\xbb\xbfa\n", [b"a\n"]),
        ("a\nä\n".encode("utf-16"), [b"a\n", "ä\n".encode()]),
        (b"", []),
    ],
)
def test_lines(tmp_path: Path, data: bytes, expected: list[bytes]) -> None:
    path = tmp_path / "f"
    path.write_bytes(data)
    assert lines_of(path)[1] == expected
    path.write_bytes(gzip.compress(data))
    assert lines_of(path)[1] == expected


def test_an_overlong_line_is_cut_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100 + b"\nshort\n")
    first, second = LineReader(path, line_limit=50)
    assert (first.is_oversize, first.size) == (True, 101)
    assert (second.data, second.number, second.is_oversize) == (b"short\n", 2, False)


def test_truncated_gzip_keeps_whole_lines_and_tells(tmp_path: Path) -> None:
    path = tmp_path / "f.gz"
    whole = b"".join(f"line {number} {number * 7919 % 104729}\n".encode() for number in range(5000))
    path.write_bytes(gzip.compress(whole)[:-2000])
    reader, lines = lines_of(path)
    assert lines
    assert whole.startswith(b"".join(lines) + reader.tail)
    assert reader.damage


def test_bad_gzip_checksum_is_told_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "f.gz"
    data = bytearray(gzip.compress(b"a\nb\n"))
    data[-6] ^= 0xFF
    path.write_bytes(bytes(data))
    reader, lines = lines_of(path)
    assert (lines, bool(reader.damage)) == ([b"a\n", b"b\n"], True)


def test_decode_falls_back_as_declared_and_keeps_surrogates() -> None:
    assert decode("ä".encode(), ("utf-8",)) == ("ä", 0)
    assert decode(b"\xe4", ("utf-8", "cp1252")) == ("ä", 1)
    assert decode(b"\xed\xa0\x80", ("utf-8",)) == ("\ud800", 0)
    assert decode(b"\xff", ("utf-8",))[1] == -1
