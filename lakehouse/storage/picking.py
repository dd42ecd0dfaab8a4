"""Few rows of a table found by this process: delta-rs streams its files, DuckDB picks and compares. No Spark (ADR 0009)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

if TYPE_CHECKING:
    from deltalake import DeltaTable

MEMORY_LIMIT = "1GB"
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
        most: rows at the most; with more the answer is None.
    """
    reader = pa.RecordBatchReader.from_stream(table.scan(columns=schema.names, predicate=where or None))
    with _session() as session:
        session.register("rows", reader)
        joined = ""
        if keys is not None:
            session.register("keys", keys)
            joined = f"SEMI JOIN keys USING ({_listed(keys.column_names)})"
        found = session.sql(f"SELECT * FROM rows {joined} LIMIT {most + 1}").to_arrow_table()  # noqa: S608  (own names)
    return None if found.num_rows > most else found.cast(schema)


def changed_keys(table: DeltaTable, schema: pa.Schema, *, versions: range, most: int) -> pa.Table | None:
    """Distinct values of some columns over rows that came, went or changed in some versions; None if more than `most`.

    Args:
        table: one that keeps a feed of changes.
        schema: the columns, in their declared types.
        versions: commits to look at.
        most: values at the most.
    """
    feed = table.load_cdf(versions.start, versions.stop - 1, columns=schema.names)
    with _session() as session:
        session.register("feed", pa.RecordBatchReader.from_stream(feed))
        sql = f"SELECT DISTINCT {_listed(schema.names)} FROM feed LIMIT {most + 1}"  # noqa: S608  (own names)
        found = session.sql(sql).to_arrow_table()
    return None if found.num_rows > most else found.cast(schema)


def differing(new: pa.Table, old: pa.Table, *, key: Sequence[str]) -> pa.Table:
    """Rows of `new` that are not in `old` as they are, and keys of `old` that `new` lacks, with their `_kind`."""
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
    with _session() as session:
        session.register("new_rows", new)
        session.register("old_rows", old)
        found = session.sql(sql).to_arrow_table()
    return found.select(schema.names).cast(schema)


def _session() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"memory_limit": MEMORY_LIMIT})


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
