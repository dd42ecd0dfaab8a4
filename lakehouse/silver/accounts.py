"""Step: observations -> `silver_core__accounts`, one row per account, each column its newest known value.

Links are the exception: each source's newest word counts, since a source that shows a website does not deny what another
one declares. Only accounts with a new observation are recomputed, each from all of its observations: the result equals a
full rebuild.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.contracts.tables import ACCOUNTS
from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver.mentions import STRENGTH
from lakehouse.silver.newest import newest_known
from lakehouse.silver.upsert import write_keyed

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_DERIVED = frozenset(
    {"declared_links", "source_codes", "observations_count", "first_seen_at", "observed_at", "batch_seq"}
)
_NEWEST = tuple(name for name in ACCOUNTS.columns if name not in _DERIVED and name not in ACCOUNTS.key)
_PARTS = {"website_domain": "website_url"}
"""Columns that say something about another one, and are taken from the same observation."""
_LINK_FIELDS = ("platform", "target", "url", "evidence")


def build_accounts(ctx: StepContext) -> Report:
    """Recompute every account that new observations touch.

    Returns:
        Observations new since the cursor, accounts written; cursor `batches`.
    """
    return write_keyed(ctx, ACCOUNTS, fold=fold_accounts)


def fold_accounts(observations: DataFrame) -> DataFrame:
    """Accounts of observations; every observation of an account must be among them.

    The rows are parted by account once for both aggregations. The large one holds no lists: with one among its results
    Spark keeps every buffer as an object, at three times the cost.
    """
    parted = observations.repartition(*ACCOUNTS.key)
    folded = parted.groupBy(*ACCOUNTS.key).agg(
        *newest_known(_NEWEST, parts_of=_PARTS),
        F.count(F.lit(1)).alias("observations_count"),
        F.min("landed_at").alias("first_seen_at"),
        F.max("observed_at").alias("observed_at"),
        F.max("batch_seq").alias("batch_seq"),
    )
    return folded.join(_sources(parted), list(ACCOUNTS.key), "left").select(*ACCOUNTS.columns)


def _sources(observations: DataFrame) -> DataFrame:
    """Sources of each account, and its links: those of every source's newest observation that read any, together.

    Without a source that read any the links are unknown.
    """
    by_source = observations.groupBy(*ACCOUNTS.key, "source_code").agg(*newest_known(("declared_links",)))
    gathered = by_source.groupBy(*ACCOUNTS.key).agg(
        F.sort_array(F.collect_list("source_code")).alias("source_codes"),
        F.collect_list("declared_links").alias("lists"),
    )
    links = F.when(F.size("lists") > 0, F.flatten("lists")).alias("links")
    are_many = F.size("links") > 1
    ranked = F.when(are_many, F.sort_array(F.transform("links", _ranked))).alias("ranked")
    distinct = F.transform(_first_to_each("ranked"), _plain)
    chosen = F.when(are_many, distinct).otherwise(F.col("links")).alias("declared_links")
    return (
        gathered.select(*ACCOUNTS.key, "source_codes", links)
        .select(*ACCOUNTS.key, "source_codes", "links", ranked)
        .select(*ACCOUNTS.key, "source_codes", chosen)
    )


def _ranked(link: Column) -> Column:
    """A link with its strength in front: sorted, the strongest comes first, and the order depends on the links only."""
    strength = F.array_position(F.array(*(F.lit(code) for code in STRENGTH)), link["evidence"])
    return F.struct(strength.alias("strength"), *(link[name].alias(name) for name in _LINK_FIELDS))


def _plain(link: Column) -> Column:
    return F.struct(*(link[name].alias(name) for name in _LINK_FIELDS))


def _first_to_each(name: str) -> Column:
    """The first link to each target."""

    def is_first(link: Column, place: Column) -> Column:
        return ~F.exists(
            F.slice(name, F.lit(1), place),
            lambda other: (other["platform"] == link["platform"]) & (other["target"] == link["target"]),
        )

    return F.filter(name, is_first)
