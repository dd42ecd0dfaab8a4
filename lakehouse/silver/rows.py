"""Arrow batches of raw records -> Arrow batches of normalised rows with their rejects. Pure: no Spark, one batch at a time.

Envelope columns pass through untouched; everything else comes from the payload. A refused row keeps its place with null
columns and `is_refused`, so that every row that came in is accounted for. So does a row that a rule fails on: the entry
names the error and the fields, never a value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from lakehouse.contracts.fields import FIELDS
from lakehouse.contracts.tables import OBSERVATIONS, POSTS, TableSpec
from lakehouse.silver.erased import is_erased
from lakehouse.silver.post_rows import post_row
from lakehouse.silver.profile_rows import Row, Scope, profile_row
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
        yield parse_batch(batch, columns=PROFILE_COLUMNS, normalise=profile_row, pepper=pepper, erased=erased)


def parse_posts(
    batches: Iterator[pa.RecordBatch], *, pepper: bytes, erased: frozenset[str] = frozenset()
) -> Iterator[pa.RecordBatch]:
    """Normalised posts of raw post batches (columns `RAW_COLUMNS`); those of `erased` accounts are refused."""
    for batch in batches:
        yield parse_batch(batch, columns=POST_COLUMNS, normalise=post_row, pepper=pepper, erased=erased)


def parse_batch(
    batch: pa.RecordBatch,
    *,
    columns: tuple[str, ...],
    normalise: Normalise,
    pepper: bytes,
    erased: frozenset[str] = frozenset(),
) -> pa.RecordBatch:
    """One normalised batch with as many rows, in the same order, as the raw one."""
    inputs = zip(*(batch.column(name).to_pylist() for name in ("payload", "platform", "observed_at")), strict=True)
    scopes = ((payload, Scope(platform, seen, pepper)) for payload, platform, seen in inputs)
    results = [_unless_erased(_parse(payload, scope, normalise), scope, erased) for payload, scope in scopes]
    schema = parsed_schema(columns)
    empty: Row = {}
    rows = [row or empty for row, _ in results]
    arrays = [batch.column(name) for name in ENVELOPE]
    arrays += [pa.array([row.get(name) for row in rows], FIELDS[name].type) for name in columns]
    arrays.append(pa.array([[_reject_row(reject) for reject in rejects] for _, rejects in results], REJECTS))
    arrays.append(pa.array([row is None for row, _ in results], pa.bool_()))
    return pa.RecordBatch.from_arrays(_as(arrays, schema), schema=schema)


def _unless_erased(result: Result, scope: Scope, erased: frozenset[str]) -> Result:
    """The result, but for an account that is to be forgotten only that something was refused."""
    row = result[0]
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
        return _bad_payload({"error": type(error).__name__, "fields": sorted(payload)})


def _bad_payload(raw: object) -> tuple[None, list[Reject]]:
    reading = Reading({})
    reading.refuse(None, "bad_payload", raw)
    return None, reading.rejects


def _reject_row(reject: Reject) -> dict[str, str | None]:
    return {"field_name": reject.field_name, "reason_code": reject.reason_code, "raw_value": reject.raw_value}


def _as(arrays: list[Any], schema: pa.Schema) -> list[Any]:
    """Arrays in the schema's types: Spark hands over other widths of strings and zones of time."""
    return [
        array if array.type == field.type else array.cast(field.type)
        for array, field in zip(arrays, schema, strict=True)
    ]
