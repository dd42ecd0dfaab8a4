"""Step: observations -> `silver_core__accounts`, one row per account, each column its newest known value.

Only accounts with a new observation are recomputed, each from all of its observations: the result equals a full rebuild.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.contracts.tables import ACCOUNTS, OBSERVATIONS
from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver.newest import newest_known
from lakehouse.silver.upsert import write_keyed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_DERIVED = frozenset({"source_codes", "observations_count", "first_seen_at", "observed_at", "batch_seq"})
_NEWEST = tuple(name for name in ACCOUNTS.columns if name not in _DERIVED and name not in ACCOUNTS.key)


def build_accounts(ctx: StepContext) -> Report:
    """Recompute every account that new observations touch.

    Returns:
        Observations new since the cursor, accounts written; cursor `batches`.
    """
    return write_keyed(ctx, ACCOUNTS, source=ctx.lake.read(OBSERVATIONS), fold=fold_accounts)


def fold_accounts(observations: DataFrame) -> DataFrame:
    """Accounts of observations; every observation of an account must be among them."""
    folded = observations.groupBy(*ACCOUNTS.key).agg(
        *newest_known(_NEWEST),
        F.sort_array(F.collect_set("source_code")).alias("source_codes"),
        F.count(F.lit(1)).alias("observations_count"),
        F.min("landed_at").alias("first_seen_at"),
        F.max("observed_at").alias("observed_at"),
        F.max("batch_seq").alias("batch_seq"),
    )
    return folded.select(*ACCOUNTS.columns)
