"""Arrow batches of raw records -> Arrow batches of normalised rows with their rejects. Pure: no Spark, one batch at a time.

Envelope columns pass through untouched; everything else comes from the payload. A refused row keeps its place with null
columns and `is_refused`, so that every row that came in is accounted for. So does a row that a rule fails on: the entry
names the error and the fields, never a value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC
from functools import cache
from typing import Any

import pyarrow as pa

from lakehouse.contracts.fields import FIELDS
from lakehouse.contracts.tables import OBSERVATIONS, POSTS, TableSpec
from lakehouse.silver.erased import is_erased
from lakehouse.silver.post_rows import stated_post
from lakehouse.silver.profile_rows import Row, Scope, stated_profile, with_language
from lakehouse.silver.rules import Reading, Reject

ENVELOPE = (
    "record_id",
    "source_code",
    "platform",
    "file_name",
    "line_number",
    "observed_at",
    "batch_seq",
    "record_seq",
    "landed_at",
)
"""Columns of a raw record that are carried along."""
RAW_COLUMNS = (*ENVELOPE, "payload")
REJECTS = pa.list_(pa.struct([("field_name", pa.string()), ("reason_code", pa.string()), ("raw_value", pa.string())]))
ROWS_AT_ONCE = 100
"""Rows that are dictionaries at one time: so few are gone before the garbage collector comes to look at them."""

Result = tuple[Row | None, list[Reject]]
Normalise = Callable[[Mapping[str, object], Scope], Result]


def _payload_columns(spec: TableSpec, *, derived: frozenset[str] = frozenset()) -> tuple[str, ...]:
    return tuple(name for name in spec.columns if name not in ENVELOPE and name not in derived)


PROFILE_COLUMNS = _payload_columns(OBSERVATIONS)
POST_COLUMNS = _payload_columns(POSTS, derived=frozenset({"first_seen_at"}))


def parsed_schema(columns: tuple[str, ...]) -> pa.Schema:
    """Schema of normalised batches: envelope, payload columns, `rejects`, `is_refused`."""
    known = [pa.field(name, FIELDS[name].type) for name in (*ENVELOPE, *columns)]
    return pa.schema([*known, pa.field("rejects", REJECTS), pa.field("is_refused", pa.bool_())])


def parse_profiles(
    batches: Iterator[pa.RecordBatch], *, pepper: bytes, erased: frozenset[str] = frozenset()
) -> Iterator[pa.RecordBatch]:
    """Normalised observations of raw profile batches (columns `RAW_COLUMNS`); those of `erased` accounts are refused."""
    for batch in batches:
        yield parse_batch(batch, columns=PROFILE_COLUMNS, normalise=stated_profile, pepper=pepper, erased=erased)


def parse_posts(
    batches: Iterator[pa.RecordBatch], *, pepper: bytes, erased: frozenset[str] = frozenset()
) -> Iterator[pa.RecordBatch]:
    """Normalised posts of raw post batches (columns `RAW_COLUMNS`); those of `erased` accounts are refused."""
    for batch in batches:
        yield parse_batch(batch, columns=POST_COLUMNS, normalise=stated_post, pepper=pepper, erased=erased)


def parse_batch(
    batch: pa.RecordBatch,
    *,
    columns: tuple[str, ...],
    normalise: Normalise,
    pepper: bytes,
    erased: frozenset[str] = frozenset(),
) -> pa.RecordBatch:
    """One normalised batch with as many rows, in the same order, as the raw one."""
    schema = parsed_schema(columns)
    scopes = _scopes(batch, pepper)
    payloads = batch.column("payload").to_pylist()
    values: dict[str, list[object]] = {name: [] for name in (*columns, "rejects", "is_refused")}
    for start in range(0, batch.num_rows, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        given = zip(payloads[part], scopes[part], strict=True)
        results = [_unless_erased(_parse(payload, scope, normalise), scope, erased) for payload, scope in given]
        _add(values, columns, [_spoken(result) for result in results])
    arrays = [batch.column(name) for name in ENVELOPE]
    arrays += [pa.array(values[name], schema.field(name).type) for name in values]
    return pa.RecordBatch.from_arrays(_as(arrays, schema), schema=schema)


def _scopes(batch: pa.RecordBatch, pepper: bytes) -> list[Scope]:
    """Scope of each row. A batch has few times of observation, so each becomes a `datetime` once."""
    encoded = batch.column("observed_at").dictionary_encode()
    times: dict[int | None, Any] = {None: None}
    times |= {place: time.astimezone(UTC) for place, time in enumerate(encoded.dictionary.to_pylist())}
    scope_of = cache(lambda platform, place: Scope(platform, times[place], pepper))
    return list(map(scope_of, batch.column("platform").to_pylist(), encoded.indices.to_pylist()))


def _add(values: Mapping[str, list[object]], columns: tuple[str, ...], results: list[Result]) -> None:
    """Append what was read of some rows to the values of each column."""
    empty: Row = {}
    rows = [row or empty for row, _ in results]
    for name in columns:
        values[name] += [row.get(name) for row in rows]
    values["rejects"] += [rejects for _, rejects in results]
    values["is_refused"] += [row is None for row, _ in results]


def _spoken(result: Result) -> Result:
    """The result with the language that its text shows.

    A pass of its own: the model reads twice as fast while nothing else takes its place in the processor's cache.
    """
    row, rejects = result
    try:
        return with_language(row), rejects
    except Exception as error:  # noqa: BLE001  (as in `_parse`)
        return _failed(error, ("language_code",))


def _unless_erased(result: Result, scope: Scope, erased: frozenset[str]) -> Result:
    """The result, but for an account that is to be forgotten only that something was refused."""
    row = result[0] if erased else None
    if row is None or not is_erased(scope.platform, row["platform_account_id"], pepper=scope.pepper, erased=erased):
        return result
    return None, [Reject(None, "erased", "")]


def _parse(text: str, scope: Scope, normalise: Normalise) -> Result:
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        return _bad_payload(text)
    try:
        return normalise(payload, scope)
    except Exception as error:  # noqa: BLE001  (bronze only grows: a row that stops one run would stop every later one)
        return _failed(error, payload)


def _failed(error: Exception, fields: Iterable[str]) -> tuple[None, list[Reject]]:
    """What becomes of a row that a rule fails on."""
    return _bad_payload({"error": type(error).__name__, "fields": sorted(fields)})


def _bad_payload(raw: object) -> tuple[None, list[Reject]]:
    reading = Reading({})
    reading.refuse(None, "bad_payload", raw)
    return None, reading.rejects


def _as(arrays: list[Any], schema: pa.Schema) -> list[Any]:
    """Arrays in the schema's types: Spark hands over other widths of strings and zones of time."""
    return [
        array if array.type == field.type else array.cast(field.type)
        for array, field in zip(arrays, schema, strict=True)
    ]
