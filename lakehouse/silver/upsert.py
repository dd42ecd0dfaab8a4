"""How a step writes a keyed table that is folded from an append-only one: rebuild all, or merge what changed. Spark."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver.newest import changed, news
from lakehouse.silver.seen import Seen
from lakehouse.storage.lake import kept

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.contracts.tables import TableSpec


def write_keyed(
    ctx: StepContext, spec: TableSpec, *, source: DataFrame, fold: Callable[[DataFrame], DataFrame]
) -> Report:
    """Fold the keys that changed since the cursor and write them; without a cursor, rebuild the table.

    Args:
        ctx: the step's context; its cursor holds `batches`, the newest batch of each platform that the last run saw.
        spec: table to write.
        source: append-only input with the table's key columns, `platform` and `batch_seq`.
        fold: all rows of some keys -> rows of `spec`.

    Returns:
        Rows of `source` new since the cursor, rows written; cursor `batches`.
    """
    seen = Seen.from_cursor(ctx.cursor.get("batches"))
    new_rows, now_seen = news(source, seen)
    if not new_rows and not seen.is_nothing:
        return Report(cursor={"batches": seen.as_cursor})
    if seen.is_nothing:
        ctx.lake.replace(spec, fold(source))
        written = ctx.lake.read(spec).count()
    else:
        rows = kept(changed(source, keys=spec.key, seen=seen, new_rows=new_rows))
        written = ctx.lake.upsert(spec, fold(rows))
    return Report(rows_in=new_rows, rows_out=written, cursor={"batches": now_seen.as_cursor})
