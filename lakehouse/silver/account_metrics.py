"""Step: observations -> `silver_core__account_metrics`, one row per account and UTC day that states a metric.

Inside a day each metric is its newest known value. Only days with a new observation are recomputed. Days expire by the
newest one, not by the clock: the same observations leave the same rows whenever they are read.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
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
    """Recompute every account day that new observations touch; remove days that are older than the settings keep.

    Returns:
        Observations new since the cursor, day rows written; cursor `batches`; `oldest_day` where days expire.
    """
    keep_days = ctx.settings.metrics_days
    oldest = _oldest_day(stated_days(ctx.lake.read(OBSERVATIONS)), keep_days=keep_days) if keep_days else None
    if oldest is None:
        return write_keyed(ctx, ACCOUNT_METRICS, fold=fold_metrics, chosen=stated_days)

    def kept_days(observations: DataFrame) -> DataFrame:
        return stated_days(observations).where(F.col("metric_date") >= oldest)

    report = write_keyed(ctx, ACCOUNT_METRICS, fold=fold_metrics, chosen=kept_days)
    ctx.lake.delete_where(ACCOUNT_METRICS, f"metric_date < DATE'{oldest}'")
    return replace(report, metadata=report.metadata | {"oldest_day": str(oldest)})


def _oldest_day(days: DataFrame, *, keep_days: int) -> date | None:
    """First day that is kept, counted from the newest one; None where there are none."""
    newest = days.agg(F.max("metric_date")).collect()[0][0]
    return newest - timedelta(days=keep_days - 1) if newest else None


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
