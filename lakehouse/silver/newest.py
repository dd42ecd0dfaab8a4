"""The one way to fold many observations into one row: per column the newest value that is known. Spark, one aggregation.

The order is total (observation time, then batch, then place in the batch), so the result depends on the set of rows only,
not on their arrival or partitioning. No windows: one group-by with one buffer a column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lakehouse.silver.seen import Seen

ORDER = ("observed_at", "batch_seq", "record_seq")
"""Newest last; unique inside an account because a batch numbers its records."""


def newest_known(columns: Sequence[str], *, parts_of: Mapping[str, str] | None = None) -> list[Column]:
    """Aggregates giving each column's newest non-null value; null where no row knows it.

    Args:
        columns: columns to fold.
        parts_of: columns that go with another one: theirs is the value, or the null, of the row that gives the other.
    """
    order = F.struct(*(F.col(name) for name in ORDER))
    leads = {name: name for name in columns} | dict(parts_of or {})
    return [F.max_by(F.col(name), F.when(F.col(leads[name]).isNotNull(), order)).alias(name) for name in columns]


def changed(df: DataFrame, *, keys: Sequence[str], seen: Seen) -> DataFrame:
    """Rows of every key that occurs in a batch not yet seen.

    Args:
        df: rows with `platform` and `batch_seq`, few.
        keys: key columns.
        seen: batches taken in before.
    """
    touched = df.where(seen.predicate()).select(*keys).distinct()
    return df.join(touched, list(keys), "left_semi")


def news(df: DataFrame, seen: Seen) -> tuple[int, Seen]:
    """Rows not yet seen, and what is seen once they are taken in."""
    found = (
        df.where(seen.predicate())
        .groupBy("platform")
        .agg(F.count(F.lit(1)).alias("n"), F.max("batch_seq").alias("last"))
    )
    rows = found.collect()
    return sum(row["n"] for row in rows), seen.advanced({row["platform"]: row["last"] for row in rows})
