"""Whatever the bytes: every row is landed or quarantined, once, and a clean file comes back as it was."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_factories import acme, read

pytestmark = pytest.mark.properties

FRAGMENTS = st.sampled_from(
    [
        b"ann",
        b",",
        b",",
        b",",
        b'"',
        b'"',
        b"\n",
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b" ",
        "é".encode(),
        b"1.2M",
    ]
)
HEADER = b"User,Name,Fans\n"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.lists(FRAGMENTS, max_size=60).map(b"".join))
@settings(max_examples=150, deadline=None)
def test_random_csv_bytes_conserve(body: bytes) -> None:
    """`read` asserts the sums; here: no entry without a reason, no line number out of the file."""
    with tempfile.TemporaryDirectory() as folder:
        source, records, entries = read(Path(folder), HEADER + body)
    lines = (HEADER + body).count(b"\n") + 1
    assert all(1 <= record.line_number <= lines for record in records)
    assert len({record.line_number for record in records}) == len(records) == source.counts.rows_landed
    assert all(entry.reason_text for entry in entries)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
@pytest.mark.parametrize("name", ["acme.csv", "acme.json", "acme.jsonl", "acme.csv.gz"])
def test_any_bytes_at_all_end_in_counts(name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        read(Path(folder), data, name=name)


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=8), st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_a_truncated_gzip_is_a_prefix(rows: list[tuple[str, str, str]], percent: int) -> None:
    whole = gzip.compress(written(rows), mtime=0)
    cut = whole[: max(1, len(whole) * percent // 100)]
    with tempfile.TemporaryDirectory() as folder:
        _, records, _ = read(Path(folder), cut, name="acme.csv.gz")
        _, expected, _ = read(Path(folder), written(rows), name="acme.csv")
    assert [record.payload for record in records] == [record.payload for record in expected[: len(records)]]


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=8))
@settings(max_examples=150, deadline=None)
def test_well_formed_csv_comes_back_as_the_csv_module_reads_it(rows: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _, records, entries = read(Path(folder), written(rows), acme(**{"missing: [": "missing: [X"}))
    expected = [row for row in rows if any(cell.strip() for cell in row) and (row[0].strip() or row[1].strip())]
    assert [record.payload.get("handle", "").strip() for record in records] == [row[0].strip() for row in expected]
    assert len(records) + len(entries) == len(rows)


@given(
    st.lists(st.dictionaries(st.sampled_from(["User", "Name", "Other"]), st.text(max_size=8), max_size=3), max_size=8)
)
@settings(max_examples=100, deadline=None)
def test_json_arrays_and_json_lines_agree(rows: list[dict[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _, array, _ = read(Path(folder), json.dumps(rows, indent=1), name="acme.json")
        _, lines, _ = read(Path(folder), "\n".join(json.dumps(row) for row in rows), name="acme.jsonl")
    assert [record.payload for record in array] == [record.payload for record in lines]


def written(rows: list[tuple[str, str, str]]) -> bytes:
    """A file as the csv module writes it, everything quoted."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([("User", "Name", "Fans"), *rows])
    return buffer.getvalue().encode()
