"""Tiny mappings and files for the tests of ingestion."""

from __future__ import annotations

from pathlib import Path

from lakehouse.ingest.claims import claim
from lakehouse.ingest.convert import LandedRecord
from lakehouse.ingest.entries import Entry
from lakehouse.ingest.files import SourceFile, peek_header
from lakehouse.ingest.mapping import Mapping, parse_mapping

LANDED_AT = "2024-01-02T03:04:05Z"
ACCOUNTS = """
source: acme
version: 1
files: ["acme*"]
observed_at: {date: 2022-06-15}
missing: ["N/A"]
platform: instagram
required: [handle]
fields: {handle: User, display_name: Name, followers: Fans}
ignore: [Rank]
drop: [Gender]
"""


def acme(text: str = ACCOUNTS, **replacements: str) -> Mapping:
    """The small mapping, with texts replaced."""
    for old, new in replacements.items():
        text = text.replace(old, new)
    return parse_mapping(text, name="acme.yaml")


def read(
    folder: Path, content: bytes | str, mapping: Mapping | None = None, name: str = "acme.csv"
) -> tuple[SourceFile, list[LandedRecord], list[Entry]]:
    """Write a file, read it through the mapping; the counts must add up."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    mapping = mapping or acme()
    source = SourceFile(path, name, claim([mapping], name, lambda m: peek_header(path, name, m)), LANDED_AT)
    items = list(source)
    records = [item for item in items if isinstance(item, LandedRecord)]
    entries = [item for item in items if isinstance(item, Entry)]
    counts = source.counts
    assert counts.rows_in == counts.rows_landed + counts.rows_quarantined
    assert counts.rows_quarantined == sum(entry.rows_count for entry in entries)
    assert counts.records == len(records)
    return source, records, entries
