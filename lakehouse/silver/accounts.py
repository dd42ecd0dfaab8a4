"""Step: observations -> `silver_core__accounts`, one row per account, each column its newest known value.

Links are the exception: each source's newest word counts, since a source that shows a website does not deny what another
one declares. Only accounts with a new observation are recomputed, each from all of its observations: the result equals a
full rebuild.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.contracts.tables import ACCOUNTS, OBSERVATIONS
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
    return write_keyed(ctx, ACCOUNTS, source=ctx.lake.read(OBSERVATIONS), fold=fold_accounts)


def fold_accounts(observations: DataFrame) -> DataFrame:
    """Accounts of observations; every observation of an account must be among them."""
    folded = observations.groupBy(*ACCOUNTS.key).agg(
        *newest_known(_NEWEST, parts_of=_PARTS),
        F.sort_array(F.collect_set("source_code")).alias("source_codes"),
        F.count(F.lit(1)).alias("observations_count"),
        F.min("landed_at").alias("first_seen_at"),
        F.max("observed_at").alias("observed_at"),
        F.max("batch_seq").alias("batch_seq"),
    )
    return folded.join(_links(observations), list(ACCOUNTS.key), "left").select(*ACCOUNTS.columns)


def _links(observations: DataFrame) -> DataFrame:
    """Links of each account that any observation read: those of every source's newest such observation, together."""
    read = observations.where(F.col("declared_links").isNotNull())
    by_source = read.groupBy(*ACCOUNTS.key, "source_code").agg(*newest_known(("declared_links",)))
    lists = by_source.groupBy(*ACCOUNTS.key).agg(F.flatten(F.collect_list("declared_links")).alias("links"))
    ranked = lists.withColumn("links", F.sort_array(F.transform("links", _ranked)))
    return ranked.select(*ACCOUNTS.key, F.transform(_first_to_each("links"), _plain).alias("declared_links"))


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
