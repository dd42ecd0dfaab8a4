"""Step: observations -> `silver_core__account_metrics`, one row per account and UTC day that states a metric.

Inside a day each metric is its newest known value. Only days with a new observation are recomputed.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.contracts.tables import ACCOUNT_METRICS, OBSERVATIONS
from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver.newest import newest_known
from lakehouse.silver.upsert import write_keyed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

METRICS = tuple(name for name in ACCOUNT_METRICS.columns if name.endswith(("_count", "_ratio")))


def build_account_metrics(ctx: StepContext) -> Report:
    """Recompute every account day that new observations touch.

    Returns:
        Observations new since the cursor, day rows written; cursor `batches`.
    """
    return write_keyed(ctx, ACCOUNT_METRICS, source=stated_days(ctx.lake.read(OBSERVATIONS)), fold=fold_metrics)


def stated_days(observations: DataFrame) -> DataFrame:
    """Observations that state a metric, with their UTC day as `metric_date`."""
    stated = observations.where(reduce(or_, (F.col(name).isNotNull() for name in METRICS)))
    return stated.withColumn("metric_date", F.to_date("observed_at"))


def fold_metrics(days: DataFrame) -> DataFrame:
    """Daily metrics of stated days; every observation of a day must be among them."""
    folded = days.groupBy(*ACCOUNT_METRICS.key).agg(
        *newest_known((*METRICS, "source_code")),
        F.max("observed_at").alias("observed_at"),
        F.max("batch_seq").alias("batch_seq"),
    )
    return folded.select(*ACCOUNT_METRICS.columns)
