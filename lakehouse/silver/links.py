"""Step: accounts and posts -> `silver_core__links`: who points at which account, site or (hashed) e-mail, and how often.

One row per account and target with its strongest evidence; a record counts once for each target. Accounts with a changed
profile or post are recomputed whole, and links that they no longer carry are removed: the result equals a full rebuild.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.contracts.tables import ACCOUNTS, LINKS, POSTS
from lakehouse.ops.derive import derive
from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver.mentions import BIO, POST, STRENGTH, WEB

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ACCOUNT_LINK, WEBSITE_LINK, EMAIL_LINK = "account", "website", "email"
_KEY = ("platform", "platform_account_id")
_TARGET = ("link_type_code", "target_platform", "target_key")
_CARRIED = (*_KEY, "declared_links", "email_hashes", "first_seen_at", "observed_at", "batch_seq")


def build_links(ctx: StepContext) -> Report:
    """Recompute the links of every account whose profile or posts changed.

    Returns:
        Accounts recomputed, links in the table.
    """
    count = derive(ctx, LINKS, lambda read: fold_links(read(ACCOUNTS), read(POSTS)), inputs=(ACCOUNTS, POSTS))
    accounts = ctx.lake.count(ACCOUNTS) if count is None else count
    return Report(rows_in=accounts, rows_out=ctx.lake.count(LINKS))


def fold_links(accounts: DataFrame, posts: DataFrame) -> DataFrame:
    """Links of some accounts from all their profiles and posts; links to the account itself are left out."""
    carried = accounts.select(*_CARRIED).withColumn("email_evidence", F.lit(BIO))
    carried = carried.unionByName(posts.select(*_CARRIED).withColumn("email_evidence", F.lit(POST)))
    mentions = _mentions(carried)
    strongest = F.min(F.struct("strength", "target_url")).alias("strongest")
    folded = mentions.groupBy(*_KEY, *_TARGET).agg(
        strongest,
        F.count(F.lit(1)).alias("mentions_count"),
        F.min("first_seen_at").alias("first_seen_at"),
        F.max("observed_at").alias("last_seen_at"),
    )
    own = accounts.select(*_KEY, F.col("handle_key").alias("own_key"))
    kept = folded.join(own, list(_KEY), "left").where(~_is_own())
    return kept.select(
        _link_id().alias("link_id"),
        *_KEY,
        *_TARGET,
        F.col("strongest.target_url").alias("target_url"),
        F.element_at(F.array(*(F.lit(code) for code in STRENGTH)), F.col("strongest.strength")).alias("evidence_code"),
        "mentions_count",
        "first_seen_at",
        "last_seen_at",
    ).select(*LINKS.columns)


def _mentions(carried: DataFrame) -> DataFrame:
    """One row per record and target."""
    declared = carried.select(*_KEY, "first_seen_at", "observed_at", F.explode("declared_links").alias("link")).select(
        *_KEY,
        F.when(F.col("link.platform") == WEB, WEBSITE_LINK).otherwise(ACCOUNT_LINK).alias("link_type_code"),
        F.when(F.col("link.platform") != WEB, F.col("link.platform")).alias("target_platform"),
        F.col("link.target").alias("target_key"),
        F.col("link.url").alias("target_url"),
        F.array_position(F.array(*(F.lit(code) for code in STRENGTH)), F.col("link.evidence"))
        .cast("int")
        .alias("strength"),
        "first_seen_at",
        "observed_at",
    )
    emails = carried.select(
        *_KEY,
        F.lit(EMAIL_LINK).alias("link_type_code"),
        F.lit(None).cast("string").alias("target_platform"),
        F.explode("email_hashes").alias("target_key"),
        F.lit(None).cast("string").alias("target_url"),
        F.when(F.col("email_evidence") == BIO, STRENGTH.index(BIO) + 1)
        .otherwise(STRENGTH.index(POST) + 1)
        .alias("strength"),
        "first_seen_at",
        "observed_at",
    )
    return declared.unionByName(emails)


def _is_own() -> Column:
    same_platform = F.col("target_platform") == F.col("platform")
    own = F.col("target_key").eqNullSafe(F.col("platform_account_id")) | F.col("target_key").eqNullSafe(
        F.col("own_key")
    )
    return F.coalesce(same_platform & own, F.lit(False))


def _link_id() -> Column:
    parts = [F.coalesce(F.col(name), F.lit("")) for name in (*_KEY, *_TARGET)]
    return F.sha2(F.concat_ws("\n", *parts), 256)
