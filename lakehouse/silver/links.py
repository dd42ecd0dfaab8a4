"""Step: accounts and posts -> `silver_core__links`: who points at which account, site or (hashed) e-mail, and how often.

One row per account and target with its strongest evidence; a record counts once for each target. Accounts with a changed
profile or post are recomputed whole, and links that they no longer carry are removed: the result equals a full rebuild, but for an account that lost a post to
another one, which is recomputed when it changes next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark import StorageLevel
from pyspark.sql import functions as F

from lakehouse.contracts.tables import ACCOUNTS, LINKS, POSTS
from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver.mentions import BIO, POST, STRENGTH, WEB
from lakehouse.silver.newest import news, of_keys
from lakehouse.silver.seen import Seen

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lakehouse.storage.lake import Lake

ACCOUNT_LINK, WEBSITE_LINK, EMAIL_LINK = "account", "website", "email"
_KEY = ("platform", "platform_account_id")
_TARGET = ("link_type_code", "target_platform", "target_key")
_CARRIED = (*_KEY, "declared_links", "email_hashes", "first_seen_at", "observed_at", "batch_seq")


def build_links(ctx: StepContext) -> Report:
    """Recompute the links of every account whose profile or posts changed.

    Returns:
        Profiles and posts read, links written; cursor `accounts` and `posts`, the newest batches of each platform.
    """
    tables = {"accounts": ctx.lake.read(ACCOUNTS), "posts": ctx.lake.read(POSTS)}
    seen = {name: Seen.from_cursor(ctx.cursor.get(name)) for name in tables}
    is_rebuild = all(entry.is_nothing for entry in seen.values())
    found = {name: news(table, seen[name]) for name, table in tables.items()}
    rows_in = sum(count for count, _ in found.values())
    cursor = {name: now_seen.as_cursor for name, (_, now_seen) in found.items()}
    if not rows_in and not is_rebuild:
        return Report(cursor=cursor)
    written = _rebuild(ctx.lake, tables) if is_rebuild else _update(ctx.lake, tables, seen=seen, max_keys=rows_in)
    return Report(rows_in=rows_in, rows_out=written, cursor=cursor)


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


def _rebuild(lake: Lake, tables: dict[str, DataFrame]) -> int:
    lake.replace(LINKS, fold_links(tables["accounts"], tables["posts"]))
    return int(lake.read(LINKS).count())


def _update(lake: Lake, tables: dict[str, DataFrame], *, seen: dict[str, Seen], max_keys: int) -> int:
    """Recompute the links of touched accounts; delete those that are no longer carried."""
    keys = [table.where(seen[name].predicate()).select(*_KEY) for name, table in tables.items()]
    touched = keys[0].unionByName(keys[1]).distinct().persist(StorageLevel.MEMORY_AND_DISK)
    parts = [of_keys(tables[name], touched, keys=_KEY, max_keys=max_keys) for name in ("accounts", "posts")]
    links = fold_links(*parts).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        old = of_keys(lake.read(LINKS), touched, keys=_KEY, max_keys=max_keys)
        stale = old.join(links, list(LINKS.key), "left_anti").select(*LINKS.key)
        lake.merge(LINKS, links)
        if stale.limit(1).count():
            lake.delete(LINKS, stale)
        return int(links.count())
    finally:
        links.unpersist()
        touched.unpersist()
