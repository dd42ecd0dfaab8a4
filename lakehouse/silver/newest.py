"""The one way to fold many observations into one row: per column the newest value that is known. Spark, one aggregation.

The order is total (observation time, then batch, then place in the batch), so the result depends on the set of rows only,
not on their arrival or partitioning. No windows: one group-by with one buffer a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ORDER = ("observed_at", "batch_seq", "record_seq")
"""Newest last; unique inside an account because a batch numbers its records."""
BROADCAST_MAX_KEYS = 1_000_000
"""Keys sent to every executor at once: about 100 MB; a backfill with more is joined by shuffle."""


def newest_known(columns: Sequence[str]) -> list[Column]:
    """Aggregates giving each column's newest non-null value; null where no row knows it."""
    order = F.struct(*(F.col(name) for name in ORDER))
    return [F.max_by(F.col(name), F.when(F.col(name).isNotNull(), order)).alias(name) for name in columns]


def changed(df: DataFrame, *, keys: Sequence[str], since: int, new_rows: int) -> DataFrame:
    """Rows of every key that occurs in a batch after `since`; the frame itself when nothing is older.

    Args:
        df: rows with `batch_seq`.
        keys: key columns.
        since: newest batch seen before, 0 for none.
        new_rows: rows after `since`, an upper bound of the touched keys.
    """
    if since <= 0:
        return df
    touched = df.where(F.col("batch_seq") > since).select(*keys).distinct()
    return of_keys(df, touched, keys=keys, max_keys=new_rows)


def of_keys(df: DataFrame, touched: DataFrame, *, keys: Sequence[str], max_keys: int) -> DataFrame:
    """Rows of `df` whose key is in `touched`; few keys are sent to the rows instead of shuffling all rows."""
    right = F.broadcast(touched) if max_keys <= BROADCAST_MAX_KEYS else touched
    return df.join(right, list(keys), "left_semi")
