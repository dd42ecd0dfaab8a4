"""What is stopped on the way in: one entry with a file, a line, a field and a reason; the reasons are this list.

Entries are for people to read, so contact data in them is masked, as silver does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from lakehouse.silver.text import mask

STAGE = "landing"
RAW_VALUE_CHARS = 4_096
"""Longest raw value kept in an entry, in characters: enough to see what is wrong, small enough for any table."""
MASKED_BYTES = 128 * RAW_VALUE_CHARS
"""Start of a raw value that is masked before it is cut: the longest address, some 640 characters, becomes 7, so what is
shown ends before an address that this limit cuts in two."""

REASONS: dict[str, str] = {
    "ambiguous_header": "Two variants of the mapping fit the header equally well, so the file is withheld.",
    "bad_encoding": "Bytes of the row are not valid in any declared encoding.",
    "bad_json": "The text is not JSON.",
    "bad_observed_at": "The time of observation lacks the declared format, or lies before 2004 or after the landing.",
    "bad_quoting": "The quotes of the row do not match.",
    "changed_while_read": "The file changed while it was read; it lands with the next run.",
    "damaged_gzip": "The compressed file ends early or fails its checksum; rows before this point are kept.",
    "empty_file": "The file holds nothing.",
    "empty_row": "Every cell of the row is empty.",
    "fallback_encoding": "Lines were read in a fallback encoding.",
    "missing_column": "The mapping names a column that the file lacks; its rows land without it.",
    "missing_required_column": "The file lacks a column that the mapping requires, so its rows are withheld.",
    "missing_required_value": "The record lacks a value that the mapping requires.",
    "no_account_key": "The row names no account: no id, no handle, no name.",
    "no_array": "The file holds no array of records where the mapping says.",
    "no_header": "The header cannot be read, so the rows are withheld.",
    "not_an_object": "The record is not a JSON object.",
    "outside_folder": "The link leads outside the input folder.",
    "oversize_line": "The line is longer than the limit.",
    "record_without_key": "One record of the row lacks its key; the others land.",
    "unclaimed": "No mapping claims this file.",
    "unknown_header": "The mapping does not name this column; its values are kept under _rescued.",
    "unknown_header_variant": "The header fits no variant of the mapping, so its rows are withheld.",
    "unknown_platform": "The platform is none that the lake holds.",
    "unreadable_file": "The file cannot be read.",
    "wrong_column_count": "The row has another number of cells than the header.",
}
"""Reason code to sentence. The code is what programs read, the sentence what people do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was stopped. `rows_count`: 0 for a field, 1 for a row, n for a file that is withheld."""

    reason_code: str
    line_number: int | None = None
    field_name: str | None = None
    raw_value: str | None = None
    rows_count: int = 0
    detail: str = ""

    @property
    def reason_text(self) -> str:
        """The reason in a sentence, with the detail of this case."""
        return f"{REASONS[self.reason_code]} {self.detail}".strip()


def shown(raw: bytes | str) -> str:
    """A raw value as an entry keeps it: masked, invalid UTF-8 as hex escapes, overlong text cut and identified by sha256."""
    data = raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass")
    text = mask(data[:MASKED_BYTES].decode("utf-8", "backslashreplace")) or ""
    if len(data) <= RAW_VALUE_CHARS:
        return text
    return f"{text[:RAW_VALUE_CHARS]}... ({len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()})"


def withheld(raw: bytes | str) -> str:
    """Stands in for a raw value that may hold a dropped column: its size and hash only."""
    data = raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass")
    return f"withheld: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}"
