"""How a step writes a keyed table that is folded from an append-only one: rebuild all, or merge what changed. Spark."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyspark import StorageLevel
from pyspark.sql import functions as F

from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver.newest import changed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.contracts.tables import TableSpec


def write_keyed(
    ctx: StepContext, spec: TableSpec, *, source: DataFrame, fold: Callable[[DataFrame], DataFrame]
) -> Report:
    """Fold the keys that changed since the cursor and write them; without a cursor, rebuild the table.

    Args:
        ctx: the step's context; its cursor holds `batch_seq`, the newest batch that the last run saw.
        spec: table to write.
        source: append-only input with the table's key columns and `batch_seq`.
        fold: all rows of some keys -> rows of `spec`.

    Returns:
        Rows of `source` new since the cursor, rows written; cursor `batch_seq`.
    """
    since = int(ctx.cursor.get("batch_seq", 0))
    new = (
        source.where(F.col("batch_seq") > since)
        .agg(F.count(F.lit(1)).alias("n"), F.max("batch_seq").alias("last"))
        .first()
    )
    if since and not new["n"]:
        return Report(cursor={"batch_seq": since})
    rows = fold(changed(source, keys=spec.key, since=since, new_rows=new["n"])).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        if since:
            ctx.lake.merge(spec, rows)
        else:
            ctx.lake.replace(spec, rows)
        written = rows.count()
    finally:
        rows.unpersist()
    return Report(rows_in=new["n"], rows_out=written, cursor={"batch_seq": max(since, new["last"] or 0)})
