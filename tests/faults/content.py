"""What a lake holds, whatever way it came to be: its rows, without the times of its own clock."""

from __future__ import annotations

import hashlib
import math

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from lakehouse.contracts.tables import DOC_TEXTS, DOCS, EMBEDDINGS, QUALITY_METRICS, TABLES
from lakehouse.settings import Settings
from lakehouse.storage.objects import ObjectStore

CLOCK_COLUMNS = frozenset({"landed_at", "first_seen_at", "assigned_at", "created_at", "merged_at"})
"""Columns, and fields within them, that hold when this lake saw something, not what it saw."""
MODELLED_COLUMNS = frozenset({"vector", "niche_score", "niches"})
"""Columns that an encoder made. Which texts share its batches changes a vector by up to 1e-6 (`lakehouse/encoder.py`)."""
TOLERANCE = 1e-5
"""Of numbers in them: a score is made of many components of two vectors, and rounded to six decimals."""
SNAPSHOT = "snapshot"
COMPARED = (*sorted(set(TABLES) - {QUALITY_METRICS.name}), SNAPSHOT)
"""What two lakes are compared by."""


def storage_options(settings: Settings) -> dict[str, str]:
    """How delta-rs reaches a lake, past any proxy."""
    if not settings.s3_endpoint:
        return {}
    assert settings.s3_access_key_id is not None and settings.s3_secret_access_key is not None
    return {
        "AWS_ENDPOINT_URL": settings.s3_endpoint,
        "AWS_ACCESS_KEY_ID": settings.s3_access_key_id.get_secret_value(),
        "AWS_SECRET_ACCESS_KEY": settings.s3_secret_access_key.get_secret_value(),
        "AWS_REGION": settings.s3_region,
        "AWS_ALLOW_HTTP": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
    }


def open_table(settings: Settings, name: str) -> DeltaTable | None:
    """A table as delta-rs reads it; None before its first write."""
    try:
        return DeltaTable(f"{settings.lake_root}/delta/{name}", storage_options=storage_options(settings))
    except TableNotFoundError:
        return None


def _rows(table: DeltaTable, columns: list[str] | None = None) -> pa.Table:
    """Rows without those that deletion vectors mark: `to_pyarrow_table` refuses tables that have any."""
    return pa.RecordBatchReader.from_stream(table.scan(columns=columns)).read_all()


def rows_hash(table: pa.Table) -> str:
    """Rows and sha256 of a table's rows, in any order, without clock columns."""
    names = sorted(name for name in table.column_names if name not in CLOCK_COLUMNS)
    rows = sorted(repr(_timeless(row)) for row in table.select(names).to_pylist())
    return f"{len(rows)}:{hashlib.sha256(''.join(rows).encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def differing(one: Settings, other: Settings) -> list[str]:
    """Declared tables, but that of measures of runs, that hold other rows in two lakes; `snapshot` are the documents served."""
    return [name for name in COMPARED if not are_alike(_compared(one, name), _compared(other, name))]


def are_alike(one: pa.Table | None, other: pa.Table | None) -> bool:
    """Whether two tables hold the same rows, in any order: exactly, but for what an encoder made, which may be `TOLERANCE` off."""
    if one is None or other is None:
        return one is other
    if one.schema.names != other.schema.names:
        return False
    exact, modelled = zip(*(_parts(table) for table in (one, other)), strict=True)
    return bool(exact[0] == exact[1]) and _are_near(*modelled)


def _parts(table: pa.Table) -> tuple[list[str], list[list[object]]]:
    """Rows in the order of their text: that text, without modelled and clock columns, and the modelled values."""
    rows = table.to_pylist()
    parts = [
        (
            repr(
                [(name, _timeless(row[name])) for name in sorted(row) if name not in CLOCK_COLUMNS | MODELLED_COLUMNS]
            ),
            [row[name] for name in sorted(row) if name in MODELLED_COLUMNS],
        )
        for row in rows
    ]
    parts.sort(key=lambda part: part[0])
    return [text for text, _ in parts], [values for _, values in parts]


def _timeless(value: object) -> object:
    """A value without the clock's fields within it."""
    if isinstance(value, list):
        return [_timeless(one) for one in value]
    if isinstance(value, dict):
        return {name: _timeless(one) for name, one in value.items() if name not in CLOCK_COLUMNS}
    return value


def _are_near(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=0, abs_tol=TOLERANCE)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_are_near, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_are_near(one[name], other[name]) for name in one)
    return one == other


def _compared(settings: Settings, name: str) -> pa.Table | None:
    """The rows of a table that are a promise, None without any."""
    if name == SNAPSHOT:
        return _served(settings)
    opened = open_table(settings, name)
    rows = _rows(opened) if opened is not None else None
    docs = open_table(settings, DOCS.name)
    if rows is None or name != EMBEDDINGS.name or docs is None:
        return rows
    keys = [key for key, _ in DOC_TEXTS]
    used = {text for column in _rows(docs, keys).columns for text in column.to_pylist()}
    is_used = [text in used for text in rows.column("content_hash").to_pylist()]
    plain = rows.cast(EMBEDDINGS.arrow_schema())  # delta-rs gives views of strings, which cannot be filtered
    return plain.filter(pa.array(is_used))  # vectors of texts that nobody has any more are kept


def _served(settings: Settings) -> pa.Table | None:
    objects = ObjectStore.open(settings)
    current = objects.read_json("snapshots/CURRENT")
    if current is None:
        return None
    folder = f"snapshots/{current['snapshot_id']}/shards"
    keys = sorted(info.key for info in objects.list(folder) if info.key.endswith("/docs.parquet"))
    docs = pa.concat_tables([pq.read_table(pa.BufferReader(objects.get(key))) for key in keys])
    return docs.filter(pc.is_valid(docs["creator_id"])).drop_columns(["row_id", "list_id", "row_check"])


def duplicate_keys(settings: Settings, name: str) -> int:
    """Rows of a table that repeat the key of another."""
    opened = open_table(settings, name)
    if opened is None:
        return 0
    rows = _rows(opened, list(TABLES[name].key))
    return int(rows.num_rows - rows.group_by(list(TABLES[name].key)).aggregate([]).num_rows)
