"""CSV framing: quoted line breaks, line numbers, stray quotes, widths."""

from __future__ import annotations

import pytest

from lakehouse.ingest import tabular
from lakehouse.ingest.lines import Line
from lakehouse.ingest.rows import RawRow
from lakehouse.ingest.tabular import TabularReader


def rows_of(text: bytes | str, *, encodings: tuple[str, ...] = ("utf-8",), delimiter: str = ",") -> list[RawRow]:
    data = text.encode() if isinstance(text, str) else text
    lines = [Line(number, raw, size=len(raw)) for number, raw in enumerate(data.splitlines(keepends=True), start=1)]
    return list(TabularReader(lines, delimiter=delimiter, encodings=encodings))


def brief(rows: list[RawRow]) -> list[tuple[int, object, str]]:
    return [(row.line_number, row.cells, row.problem) for row in rows]


def test_line_numbers_with_quoted_line_breaks_and_blank_lines() -> None:
    rows = rows_of('"a\nname",b\n1,"x\ny\nz"\n\n2,q\n')
    assert brief(rows) == [(1, ["a\nname", "b"], ""), (3, ["1", "x\ny\nz"], ""), (7, ["2", "q"], "")]


def test_wrong_width_is_stopped_alone() -> None:
    rows = rows_of("a,b\n1,2\n1,2,3\n4\n5,6\n")
    assert brief(rows)[1:] == [
        (2, ["1", "2"], ""),
        (3, None, "wrong_column_count"),
        (4, None, "wrong_column_count"),
        (5, ["5", "6"], ""),
    ]
    assert rows[2].raw == b"1,2,3\n"


def test_an_unclosed_quote_costs_one_row_not_the_file() -> None:
    rows = rows_of('a,b\n1,"open\n2,x\n3,y\n')
    assert brief(rows)[1:] == [(2, None, "bad_quoting"), (3, ["2", "x"], ""), (4, ["3", "y"], "")]


def test_two_stray_quotes_do_not_hide_the_rows_between() -> None:
    rows = rows_of('a,b\n1,"open\n2,x\n3,"y\n4,z\n')
    assert brief(rows)[1:] == [
        (2, None, "bad_quoting"),
        (3, ["2", "x"], ""),
        (4, None, "bad_quoting"),
        (5, ["4", "z"], ""),
    ]


def test_a_quoted_text_with_one_comma_too_many_is_one_row() -> None:
    rows = rows_of('a,b\n1,"x\ntext without\n",3\n4,5\n')
    assert brief(rows)[1:] == [(2, None, "wrong_column_count"), (5, ["4", "5"], "")]


def test_sloppy_inner_quotes_on_one_line_pass() -> None:
    assert rows_of('a,b\n"x"y,2\n')[1].cells == ["xy", "2"]


def test_a_row_over_too_many_lines_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "RECORD_LINES_LIMIT", 5)
    rows = rows_of('a,b\n1,"open\n' + "2,x\n" * 20)
    assert [row.problem for row in rows] == ["", "bad_quoting"] + [""] * 20


def test_undecodable_bytes_stop_their_row_and_fallbacks_are_told() -> None:
    data = b'a,b\n1,"x\n\xff"\n2,ok\n'
    assert brief(rows_of(data))[1:] == [(2, None, "bad_encoding"), (4, ["2", "ok"], "")]
    fallback = rows_of(data, encodings=("utf-8", "cp1252"))
    assert [(row.cells, row.encoding_index) for row in fallback[1:]] == [(["1", "x\nÿ"], 1), (["2", "ok"], 0)]


def test_nul_and_other_delimiters() -> None:
    assert rows_of("a\tb\n1\tx\0y\n", delimiter="\t")[1].cells == ["1", "x\0y"]


def test_an_oversize_line_is_one_row() -> None:
    lines = [Line(1, b"a,b\n"), Line(2, b"1,xxx", is_oversize=True, size=99), Line(3, b"2,y\n")]
    rows = list(TabularReader(lines, delimiter=",", encodings=("utf-8",)))
    assert brief(rows)[1:] == [(2, None, "oversize_line"), (3, ["2", "y"], "")]
