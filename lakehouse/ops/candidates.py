"""Step: links -> `ops_ingest__candidates`: accounts that others point at and that the lake does not have.

Whoever is known by its id or its handle is none. The planner asks for candidates (`lakehouse/fetch/plan.py`); what comes of it
makes them accounts, also those that turn out to be nobody's: they are not asked for again and again.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.contracts.tables import ACCOUNTS, CANDIDATES, LINKS
from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.identity.nodes import NO_ID
from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver.handles import YOUTUBE_ID
from lakehouse.storage.keys import Keys

if TYPE_CHECKING:
    from pyspark.sql import Column

KEY = CANDIDATES.key
TARGET = ("target_platform", "target_key")
HANDLE = ("platform", "handle_key")


def build_candidates(ctx: StepContext) -> Report:
    """Bring the table up to date: of links and accounts that came, went or changed, or, where nobody can tell, of all.

    Returns:
        Candidates in the table.
    """
    keys = _touched(ctx)
    if keys is None:
        ctx.lake.replace(CANDIDATES, fold_candidates(ctx.lake.read(LINKS), ctx.lake.read(ACCOUNTS)))
    elif keys.count:
        ctx.lake.upsert(CANDIDATES, fold_candidates(ctx.lake.read(LINKS), ctx.lake.read(ACCOUNTS), keys), of=keys)
    return Report(rows_out=ctx.lake.count(CANDIDATES))


def fold_candidates(links: DataFrame, accounts: DataFrame, keys: Keys | None = None) -> DataFrame:
    """Candidates that links point at, none of them among the accounts; of some keys, or all."""
    targets, known = _targets(links), _names(accounts)
    if keys is not None:
        targets, known = keys.rows_of(targets), keys.rows_of(known)
    found = targets.groupBy(*KEY).agg(
        F.count(F.lit(1)).alias("referrers_count"),  # a link stands for one account and its target
        F.min("first_seen_at").alias("first_seen_at"),
    )
    return found.join(known, list(KEY), "left_anti").select(*CANDIDATES.columns)


def _touched(ctx: StepContext) -> Keys | None:
    """Ids that a change of links or accounts may make candidates or not; None for all."""
    if ctx.before is None or ctx.lake.is_small(LINKS):
        return None
    links = ctx.lake.changed_keys({LINKS: ctx.before[LINKS.name]}, TARGET)
    accounts = {ACCOUNTS: ctx.before[ACCOUNTS.name]}
    by_id, by_handle = ctx.lake.changed_keys(accounts, KEY), ctx.lake.changed_keys(accounts, HANDLE)
    if links is None or by_id is None or by_handle is None:
        return None
    handles = by_handle.frame.where("handle_key IS NOT NULL").select("platform", _at("handle_key"))
    parts = (_targets(links.frame), by_id.frame.select(*KEY), handles)
    return Keys.of_frame(reduce(DataFrame.unionByName, (part.select(*KEY) for part in parts)))


def _targets(links: DataFrame) -> DataFrame:
    """What links to accounts of the lake's platforms point at, as accounts are named: the id, or `@handle`."""
    is_id = (F.col("platform") == "youtube") & F.col("target_key").rlike(f"^(?:{YOUTUBE_ID.pattern})$")
    rest = [name for name in ("first_seen_at",) if name in links.columns]
    own = links.where(F.col("target_platform").isin(*PLATFORMS) & F.col("target_key").isNotNull())
    named = own.select(F.col("target_platform").alias("platform"), "target_key", *rest)
    account_id = F.when(is_id, F.col("target_key")).otherwise(F.concat(F.lit(NO_ID), "target_key"))
    return named.select("platform", account_id.alias("platform_account_id"), *rest)


def _names(accounts: DataFrame) -> DataFrame:
    """Every name under which an account is known."""
    handles = accounts.where("handle_key IS NOT NULL").select("platform", _at("handle_key"))
    return accounts.select(*KEY).unionByName(handles)


def _at(name: str) -> Column:
    return F.concat(F.lit(NO_ID), F.col(name)).alias("platform_account_id")
