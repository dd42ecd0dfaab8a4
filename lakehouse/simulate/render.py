"""Columns as lines of text: JSON objects and CSV rows, built column by column. No values are decided here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.simulate.columns import Words, join
from lakehouse.simulate.draws import Ints

ESCAPES = (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"))
"""What JSON wants escaped, of the characters that generated texts can have."""


def json_text(values: Words, tail: Words | None = None) -> Words:
    """Texts as JSON strings, null kept. `tail` is appended as it is: escapes of what no text can hold (a lone surrogate)."""
    for char, escaped in ESCAPES:
        values = pc.replace_substring(values, char, escaped)
    return join('"', values, '"') if tail is None else join('"', values, tail, '"')


def json_word(values: Words) -> Words:
    """Texts that need no escape as JSON strings: handles, ids, addresses."""
    return join('"', values, '"')


def json_value(values: pa.Array) -> Words:
    """A column as JSON values by its type: text, whole numbers, booleans."""
    return json_text(values) if pa.types.is_string(values.type) else values.cast(pa.string())


def json_objects(fields: Mapping[str, Words | str]) -> Words:
    """One JSON object a row. Values are JSON already; a null leaves its field out. The first field is never null."""
    parts: list[Words | str] = []
    for position, (name, value) in enumerate(fields.items()):
        head = f'{"," if position else "{"}"{name}":'
        parts.append(head + value if isinstance(value, str) else pc.coalesce(join(head, value), ""))
    return join(*parts, "}")


def json_list(parts: Sequence[Words]) -> Words:
    """One JSON list of strings a row; empty texts are left out."""
    body: Words | None = None
    for part in parts:
        item = pc.if_else(pc.equal(part, ""), pa.scalar("", pa.string()), join(',"', part, '"'))
        body = item if body is None else join(body, item)
    return join("[", pc.utf8_ltrim(body, characters=","), "]")


def csv_rows(columns: Sequence[Words | str]) -> Words:
    """One CSV row a row, texts in quotes, null as an empty cell."""
    cells: list[Words | str] = []
    for position, column in enumerate(columns):
        gap = "," if position else ""
        cells += [gap + column] if isinstance(column, str) else [gap, pc.coalesce(column, "")]
    return join(*cells)


def csv_text(values: Words) -> Words:
    """Texts as quoted CSV cells, null kept."""
    return join('"', pc.replace_substring(values, '"', '""'), '"')


def times(seconds: Ints) -> Words:
    """Unix seconds as ISO 8601 in UTC."""
    return pc.strftime(pa.array(seconds).cast(pa.timestamp("s")), format="%Y-%m-%dT%H:%M:%SZ")


def noon(day: dt.date) -> str:
    """The time at which a snapshot of that day was taken."""
    return f"{day.isoformat()}T12:00:00Z"
