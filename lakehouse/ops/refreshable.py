"""Step: what is known of each account for planning its refresh: `ops_ingest__refresh`, derived account by account.

Evidence of change is what the planner counts (`lakehouse/fetch/change_rate.py`): of two looks on different days, by how many
thresholds followers moved; below one they count as they are, above one by their root. Older looks fade by a half-life that
is counted back from the account's newest look, not from the clock: the same metrics leave the same rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from lakehouse.contracts.tables import ACCOUNT_METRICS, ACCOUNTS, REFRESH
from lakehouse.fetch.change_rate import MOST_MOVED
from lakehouse.fetch.refresh_policy import RefreshPolicy, load_policy
from lakehouse.ops.derive import Read, derive
from lakehouse.ops.steps import Report, StepContext

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

SECONDS_PER_HOUR = 3600.0


def build_refreshable(ctx: StepContext) -> Report:
    """Bring the table up to date with accounts and their daily metrics.

    Returns:
        Accounts in, rows out.
    """
    policy = load_policy(ctx.settings.fetch_policy)
    derive(ctx, REFRESH, lambda read: fold_refreshable(read, policy), inputs=(ACCOUNTS, ACCOUNT_METRICS))
    count = ctx.lake.count(REFRESH)
    return Report(rows_in=ctx.lake.count(ACCOUNTS), rows_out=count, conserves=True)


def fold_refreshable(read: Read, policy: RefreshPolicy) -> DataFrame:
    """One row for each account; all days of an account must be among the metrics."""
    evidence = _evidence(read(ACCOUNT_METRICS), policy)
    accounts = read(ACCOUNTS).select(
        *ACCOUNTS.key,
        "handle_key",
        "followers_count",
        "content_count",
        "account_state_code",
        "first_seen_at",
        "observed_at",
    )
    joined = accounts.join(evidence, list(ACCOUNTS.key), "left")
    zero = {name: F.coalesce(F.col(name), F.lit(0.0)) for name in ("changes_count", "watched_hours")}
    return joined.withColumns(zero).select(*REFRESH.columns)


def _evidence(metrics: DataFrame, policy: RefreshPolicy) -> DataFrame:
    """Per account: faded changes, faded hours between looks, and the last look that showed a change."""
    account = Window.partitionBy(*ACCOUNTS.key).orderBy("observed_at")
    looks = (
        metrics.where(F.col("followers_count") > 0)
        .withColumn("before", F.lag("followers_count").over(account))
        .withColumn("before_at", F.lag("observed_at").over(account))
        .withColumn("newest_at", F.max("observed_at").over(Window.partitionBy(*ACCOUNTS.key)))
        .where(F.col("before").isNotNull())
    )
    moved = F.abs(F.col("followers_count") - F.col("before")) / F.col("before") / F.lit(policy.change_ratio)
    changes = F.when(moved > 1, F.sqrt(F.least(moved, F.lit(MOST_MOVED)))).otherwise(moved)
    fade = F.pow(F.lit(0.5), _hours("observed_at", "newest_at") / F.lit(policy.prior.memory_days * 24.0))
    return looks.groupBy(*ACCOUNTS.key).agg(
        F.sum(changes * fade).alias("changes_count"),
        F.sum(_hours("before_at", "observed_at") * fade).alias("watched_hours"),
        F.max(F.when(moved >= 1, F.col("observed_at"))).alias("last_changed_at"),
    )


def _hours(start: str, end: str) -> Column:
    return (F.unix_micros(end) - F.unix_micros(start)) / F.lit(1e6 * SECONDS_PER_HOUR)
