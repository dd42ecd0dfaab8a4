"""How a step writes a keyed table that is folded from observations: rebuild all, or merge what changed. Spark."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lakehouse.contracts.tables import ACCOUNTS, OBSERVATIONS
from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver.newest import changed, news
from lakehouse.silver.seen import Seen
from lakehouse.storage.keys import Keys

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.contracts.tables import TableSpec
    from lakehouse.storage.lake import Lake


def write_keyed(
    ctx: StepContext,
    spec: TableSpec,
    *,
    fold: Callable[[DataFrame], DataFrame],
    chosen: Callable[[DataFrame], DataFrame] = lambda observations: observations,
) -> Report:
    """Fold the keys that changed since the cursor and write them; without a cursor, rebuild the table.

    Args:
        ctx: the step's context; its cursor holds `batches`, the newest batch of each platform that the last run saw.
        spec: table to write.
        fold: all rows of some keys -> rows of `spec`.
        chosen: observations -> the rows that are folded, with the key columns of `spec`.

    Returns:
        Rows new since the cursor, rows written; cursor `batches`.
    """
    seen = Seen.from_cursor(ctx.cursor.get("batches"))
    if seen.is_nothing:
        source = chosen(ctx.lake.read(OBSERVATIONS))
        new_rows, now_seen = news(source, seen)
        ctx.lake.replace(spec, fold(source))
        return Report(rows_in=new_rows, rows_out=ctx.lake.count(spec), cursor={"batches": now_seen.as_cursor})
    accounts = _accounts_with_news(ctx.lake, seen)
    source = chosen(ctx.lake.read_of(OBSERVATIONS, accounts))
    new_rows, now_seen = news(source, seen) if accounts.count else (0, seen)
    if not new_rows:
        return Report(cursor={"batches": seen.as_cursor})
    written = ctx.lake.upsert(spec, fold(changed(source, keys=spec.key, seen=seen)))
    return Report(rows_in=new_rows, rows_out=written, cursor={"batches": now_seen.as_cursor})


def _accounts_with_news(lake: Lake, seen: Seen) -> Keys:
    """Accounts with an observation not yet seen."""
    found = lake.pick(OBSERVATIONS, where=seen.predicate(), columns=ACCOUNTS.key)
    if found is not None:
        return Keys.of_table(lake.spark, found)
    return Keys.of_frame(lake.read(OBSERVATIONS).where(seen.predicate()).select(*ACCOUNTS.key))
