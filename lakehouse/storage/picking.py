"""Few rows of a table found by this process: delta-rs streams its files, DuckDB picks and compares. No Spark (ADR 0009).

Everything is bounded by rows and by bytes; what would be more is left to Spark, and nothing is spilled to a disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

if TYPE_CHECKING:
    from deltalake import DeltaTable

MAX_BYTES = 256 << 20
"""Rows in memory at the most: a night's accounts are some tens of MiB."""
CONFIG: dict[str, str | bool | int | float | list[str]] = {"memory_limit": "2GB", "temp_directory": ""}
"""Two sets of `MAX_BYTES` are compared in a few times their size."""
BATCH_ROWS = 10_000
NEW, CHANGED, GONE = "new", "changed", "gone"
"""How a row differs from the one of its key that is stored."""
KIND = "_kind"


def pick(table: DeltaTable, schema: pa.Schema, *, where: str, keys: pa.Table | None, most: int) -> pa.Table | None:
    """Rows of the newest version.

    Args:
        table: where from.
        schema: columns to read, in their declared types.
        where: SQL condition that the rows satisfy; empty for none. Files whose statistics exclude it are not read.
        keys: distinct values of some columns of `schema`; only rows whose values occur there are picked.
        most: rows at the most; with more, or more than `MAX_BYTES`, the answer is None.
    """
    reader = pa.RecordBatchReader.from_stream(table.scan(columns=schema.names, predicate=where or None))
    if keys is None:
        return _bounded(reader, schema, most)
    with duckdb.connect(config=CONFIG) as session:
        # It takes a stream for one row, and would gather the whole table to look the keys up there.
        session.execute("SET disabled_optimizers = 'build_side_probe_side'")
        session.register("rows", reader)
        session.register("keys", keys)
        found = session.sql(f"FROM rows SEMI JOIN keys USING ({_listed(keys.column_names)})")
        return _bounded(found.to_arrow_reader(BATCH_ROWS), schema, most)


def changed_keys(table: DeltaTable, schema: pa.Schema, *, versions: range, most: int) -> pa.Table | None:
    """Distinct values of some columns over rows that came, went or changed in some versions; None if more than `most`.

    Args:
        table: one that keeps a feed of changes, which delta-rs can read for these versions.
        schema: the columns, in their declared types.
        versions: commits to look at.
        most: values at the most.
    """
    feed = table.load_cdf(versions.start, versions.stop - 1, columns=schema.names)
    found = schema.empty_table()
    for batch in pa.RecordBatchReader.from_stream(feed):
        part = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
        found = pa.concat_tables([found, part]).group_by(schema.names).aggregate([])
        if found.num_rows > most:
            return None
    return found


def differing(new: pa.Table, old: pa.Table, *, key: Sequence[str]) -> pa.Table | None:
    """Rows of `new` that are not in `old` as they are, and keys of `old` that `new` lacks, with their `_kind`.

    None where they take more memory than `CONFIG` allows.
    """
    others = [name for name in new.column_names if name not in key]
    changes = " OR ".join([f'n."{name}" IS DISTINCT FROM o."{name}"' for name in others]) or "false"
    values = ", ".join([_listed(key), *(f'n."{name}"' for name in others)])
    sql = f"""
        SELECT {values},
            CASE WHEN o._is_there IS NULL THEN '{NEW}' WHEN n._is_there IS NULL THEN '{GONE}' ELSE '{CHANGED}' END AS {KIND}
        FROM (SELECT *, true AS _is_there FROM new_rows) n
        FULL JOIN (SELECT *, true AS _is_there FROM old_rows) o USING ({_listed(key)})
        WHERE o._is_there IS NULL OR n._is_there IS NULL OR {changes}"""  # noqa: S608  (own names)
    schema = pa.schema([field.with_nullable(True) for field in new.schema]).append(pa.field(KIND, pa.string()))
    with duckdb.connect(config=CONFIG) as session:
        session.register("new_rows", new)
        session.register("old_rows", old)
        try:
            found = session.sql(sql).to_arrow_table()
        except duckdb.OutOfMemoryException:
            return None
    return found.select(schema.names).cast(schema)


def _bounded(batches: Iterable[pa.RecordBatch], schema: pa.Schema, most: int) -> pa.Table | None:
    """All rows in the types of the schema; None once they are too many."""
    kept: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows > most or size > MAX_BYTES:
            return None
        kept.append(batch)
    found = pa.Table.from_batches(kept) if kept else schema.empty_table()
    return found.select(schema.names).cast(schema)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
