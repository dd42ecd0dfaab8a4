"""JSON lines and arrays: spelling of numbers, line numbers, chunk borders, damage."""

from __future__ import annotations

import json

import pytest

from lakehouse.ingest import jsonrows
from lakehouse.ingest.jsonrows import JsonArrayReader, read_jsonl
from lakehouse.ingest.lines import Line


def chunked(text: str | bytes, size: int) -> list[bytes]:
    data = text.encode() if isinstance(text, str) else text
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_an_array_is_the_same_whatever_the_chunks(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonrows, "CHUNK_BYTES", 1)
    text = '[\n {"a": 1.50, "b": [1, {"c": "é\\ud800"}]},\n\n {"a": 2.28E+11, "d": null},\n 7\n]'
    rows = list(JsonArrayReader(chunked(text, size)))
    assert [(row.line_number, row.problem) for row in rows] == [(2, ""), (4, ""), (5, "not_an_object")]
    assert rows[0].cells == {"a": "1.50", "b": ["1", {"c": "é\ud800"}]}
    assert rows[1].cells == {"a": "2.28E+11", "d": None}


@pytest.mark.parametrize("size", [1, 1000])
def test_a_nested_array_is_found_by_its_path(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonrows, "CHUNK_BYTES", 1)
    text = json.dumps({"meta": {"items": [9]}, "data": {"n": 12, "items": [{"a": "x"}]}})
    assert [row.cells for row in JsonArrayReader(chunked(text, size), path="data.items")] == [{"a": "x"}]
    assert [row.problem for row in JsonArrayReader(chunked(text, size), path="data.none")] == ["no_array"]


@pytest.mark.parametrize("text", ['[{"a": 1}, {"a"', '[{"a": 1}, {"a": }]', '[{"a": 1}', '[{"a": 1} oops]'])
def test_broken_text_costs_the_remainder_only(text: str) -> None:
    rows = list(JsonArrayReader([text.encode()]))
    assert [row.problem for row in rows] == ["", "bad_json"]
    assert rows[0].cells == {"a": "1"}


def test_undecodable_bytes_stop_their_element() -> None:
    rows = list(JsonArrayReader([b'[{"a": "\xff"}, {"a": "ok"}]']))
    assert [row.problem for row in rows] == ["bad_encoding", ""]


def test_json_lines() -> None:
    texts = [b'{"a": "x\0", "n": 1e400}\n', b"\n", b"{oops\n", b"[1]\n", b'{"a": "\xe4"}\n']
    lines = [Line(number, data, size=len(data)) for number, data in enumerate(texts, start=1)]
    rows = list(read_jsonl(lines, ("utf-8",)))
    assert [(row.line_number, row.problem) for row in rows] == [
        (1, ""),
        (3, "bad_json"),
        (4, "not_an_object"),
        (5, "bad_encoding"),
    ]
    assert rows[0].cells == {"a": "x\0", "n": "1e400"}
