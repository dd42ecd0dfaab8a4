"""What a lake holds, whatever way it came to be: one hash per table over its rows, without the times of its own clock."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from lakehouse.contracts.tables import QUALITY_METRICS, TABLES
from lakehouse.settings import Settings
from lakehouse.storage.objects import ObjectStore

CLOCK_COLUMNS = frozenset({"landed_at", "first_seen_at", "assigned_at", "created_at", "merged_at"})
"""Columns that hold when this lake saw something, not what it saw."""


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


def table_hash(settings: Settings, name: str) -> str:
    """Rows and sha256 of a table's rows in the order of their text."""
    opened = open_table(settings, name)
    if opened is None:
        return "none"
    return rows_hash(_rows(opened))


def _rows(table: DeltaTable, columns: list[str] | None = None) -> pa.Table:
    """Rows without those that deletion vectors mark: `to_pyarrow_table` refuses tables that have any."""
    return pa.RecordBatchReader.from_stream(table.scan(columns=columns)).read_all()


def rows_hash(table: pa.Table) -> str:
    """Rows and sha256 of a table's rows, in any order, without clock columns."""
    names = sorted(name for name in table.column_names if name not in CLOCK_COLUMNS)
    rows = sorted(repr(row) for row in table.select(names).to_pylist())
    return f"{len(rows)}:{hashlib.sha256(''.join(rows).encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def content(settings: Settings) -> dict[str, str]:
    """Hash of every declared table but that of measures of runs, and of the documents that the current snapshot serves."""
    hashes = {name: table_hash(settings, name) for name in sorted(set(TABLES) - {QUALITY_METRICS.name})}
    objects = ObjectStore.open(settings)
    current = objects.read_json("snapshots/CURRENT")
    if current is not None:
        folder = f"snapshots/{current['snapshot_id']}/shards"
        keys = sorted(info.key for info in objects.list(folder) if info.key.endswith("/docs.parquet"))
        docs = pa.concat_tables([pq.read_table(pa.BufferReader(objects.get(key))) for key in keys])
        hashes["snapshot"] = rows_hash(docs.drop_columns(["row_id", "list_id", "row_check"]))
    return hashes


def duplicate_keys(settings: Settings, name: str) -> int:
    """Rows of a table that repeat the key of another."""
    opened = open_table(settings, name)
    if opened is None:
        return 0
    rows = _rows(opened, list(TABLES[name].key))
    return int(rows.num_rows - rows.group_by(list(TABLES[name].key)).aggregate([]).num_rows)
