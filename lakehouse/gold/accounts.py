"""One row per account with everything derived about it, and one per account and metric day. Joins only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lakehouse.contracts.tables import (
    ACCOUNT_METRICS,
    ACCOUNTS,
    CREATOR_IDS,
    DOCS,
    ENGAGEMENT,
    GOLD_ACCOUNTS,
    GOLD_METRICS,
    NICHES,
    RISKS,
    SCORES,
    TableSpec,
)
from lakehouse.contracts.taxonomy import SUPPRESSED_STATES
from lakehouse.enrich.conserved import one_for_one
from lakehouse.ops.derive import Read, derive
from lakehouse.ops.steps import Report, StepContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

KEY = ["platform", "platform_account_id"]
_STATES = ", ".join(f"'{state}'" for state in SUPPRESSED_STATES)
SUPPRESSED = (
    f"coalesce(account_state_code, '') IN ({_STATES}) OR (coalesce(account_state_code, '') = 'unknown' "
    "AND display_name IS NULL AND followers_count IS NULL AND bio IS NULL)"
)
"""SQL condition on silver's accounts, never null, in words that Spark and DataFusion read alike."""

TAKEN: tuple[tuple[TableSpec, tuple[str, ...]], ...] = (
    (CREATOR_IDS, ("creator_id", "confidence_score")),
    (DOCS, ("content_hash", "short_hash", "long_hash")),
    (
        ENGAGEMENT,
        (
            "er_followers_ratio",
            "er_views_ratio",
            "median_views_count",
            "posts_per_week",
            "last_post_at",
            "growth_90d_ratio",
            "statistic_code",
            "window_days",
            "posts_count",
            "null_reason_code",
        ),
    ),
    (NICHES, ("niche_code", "niche_score", "niches")),
    (RISKS, ("risks", "risk_codes")),
    (SCORES, ("quality_score", "anomaly_score", "score_reasons")),
)
"""What each table adds to an account. Every account has a creator; the rest may be missing."""


def build_gold_accounts(ctx: StepContext) -> Report:
    """Join everything known about each account into `gold_creator__accounts`, without accounts that are shown nowhere.

    Those are accounts of `SUPPRESSED_STATES`, and such of which nothing is known but that a platform does not find them.
    """
    derive(ctx, GOLD_ACCOUNTS, _joined, inputs=(ACCOUNTS, *(spec for spec, _ in TAKEN)))
    report = one_for_one(ctx.lake, ACCOUNTS, GOLD_ACCOUNTS)
    suppressed = ctx.lake.count(ACCOUNTS, where=SUPPRESSED)
    return replace(report, rows_in=report.rows_in - suppressed, metadata=report.metadata | {"suppressed": suppressed})


def build_gold_metrics(ctx: StepContext) -> Report:
    """Daily metrics with the creator of each account into `gold_creator__metrics_daily`."""
    derive(ctx, GOLD_METRICS, _with_creators, inputs=(ACCOUNT_METRICS, CREATOR_IDS))
    return one_for_one(ctx.lake, ACCOUNT_METRICS, GOLD_METRICS)


def _joined(read: Read) -> DataFrame:
    joined = read(ACCOUNTS).where(f"NOT ({SUPPRESSED})")
    for spec, columns in TAKEN:
        how = "inner" if spec is CREATOR_IDS else "left"
        joined = joined.join(read(spec).select(*KEY, *columns), KEY, how)
    return joined.select(*GOLD_ACCOUNTS.columns)


def _with_creators(read: Read) -> DataFrame:
    creators = read(CREATOR_IDS).select(*KEY, "creator_id")
    return read(ACCOUNT_METRICS).join(creators, KEY).select(*GOLD_METRICS.columns)
