"""The hour's plan of a lake: known accounts as the planner wants them, each under the source that refreshes it, and its tasks.

Accounts stream by; nothing here holds more than a batch of them. Which source refreshes an account: of the active ones of its
platform the one that has its own credential for it, else the preferred one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.tables import REFRESH
from lakehouse.fetch.ledger import Ledger
from lakehouse.fetch.refresh import RefreshPlan, Terms, fit_priors, plan_refresh
from lakehouse.fetch.refresh_budget import hour_budget
from lakehouse.fetch.refresh_policy import RefreshPolicy
from lakehouse.fetch.refresh_state import REFRESH_SCHEMA, RefreshState
from lakehouse.fetch.source import Source
from lakehouse.fetch.task import AccountState

if TYPE_CHECKING:
    from lakehouse.storage.lake import Lake

KEYS = ("platform_account_id", "handle_key")
HANDLE_MARK, NAME_MARK = "@", "~"
"""First sign of an account's id in silver where it is known by its handle or its name alone."""


HOURS_PER_DAY = 24
"""Units that live work will need are counted as this hour's, for as many hours."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which source refreshes which account: by platform, and handles of those with a credential of their own."""

    by_platform: Mapping[str, str]
    own: Mapping[str, Collection[str]]
    """Source to handle keys."""
    platforms: Mapping[str, str]
    """Source to platform."""


def assign(sources: Mapping[str, Source], own: Mapping[str, Collection[str]]) -> Assignment:
    """The assignment of active sources; those with a credential for each key serve those keys alone."""
    shared = [source for _, source in sorted(sources.items()) if not source.auth.per_key]
    best = {source.platform: source.source for source in sorted(shared, key=lambda source: source.preference)}
    return Assignment(
        by_platform=best,
        own={name: keys for name, keys in own.items() if name in sources},
        platforms={name: source.platform for name, source in sources.items()},
    )


def plan_hour(
    lake: Lake,
    assignment: Assignment,
    sources: Mapping[str, Source],
    ledger: Ledger,
    policy: RefreshPolicy,
    *,
    now: dt.datetime,
) -> RefreshPlan:
    """Plan this hour's refresh within what the ledger says is left."""
    priors = fit_priors(_chunks(lake, assignment), policy)
    budgets = {name: hour_budget(source, now, ledger.remaining(source)) for name, source in sources.items()}
    terms = Terms(sources=sources, budgets=budgets, policy=policy, priors=priors, now=now)
    return plan_refresh(_chunks(lake, assignment), terms)


def reserve_live(plan: RefreshPlan, sources: Mapping[str, Source], ledger: Ledger) -> None:
    """Tell the ledger what live work needs of each bucket's window: all that is left where this hour left value behind."""
    for name, spending in plan.summary.spending.items():
        left = ledger.remaining(sources[name])
        for bucket in sources[name].buckets:
            wanted = left[bucket.name] if spending.value_left > 0 else HOURS_PER_DAY * spending.units
            ledger.need(sources[name], bucket.name, int(min(wanted, left[bucket.name])))


def known_keys(lake: Lake, listed: pa.Array) -> Iterator[tuple[str, str]]:
    """Which of the listed ids and handle keys the lake can plan, each with its platform; a few of many accounts."""
    for batch in lake.stream(REFRESH, ("platform", *KEYS)):
        for name in KEYS:
            found = batch.filter(pc.is_in(batch.column(name), listed))
            yield from zip(found.column("platform").to_pylist(), found.column(name).to_pylist(), strict=True)


def _chunks(lake: Lake, assignment: Assignment) -> Iterator[RefreshState]:
    for batch in lake.stream(REFRESH, REFRESH.columns):
        table = refresh_rows(batch, assignment)
        if table.num_rows:
            yield RefreshState.from_arrow(table)


def refresh_rows(batch: pa.RecordBatch, assignment: Assignment) -> pa.Table:
    """Rows of `ops_ingest__refresh` as `REFRESH_SCHEMA`, without those that no active source refreshes."""
    ids = batch.column("platform_account_id")
    is_handle, is_name = pc.starts_with(ids, HANDLE_MARK), pc.starts_with(ids, NAME_MARK)
    handles = pc.coalesce(batch.column("handle_key"), pc.if_else(is_handle, pc.utf8_slice_codeunits(ids, 1), None))
    zero = pa.array([0.0] * batch.num_rows)
    count = pa.array([0] * batch.num_rows, pa.int32())
    columns = {
        "platform": batch.column("platform"),
        "source": _sources(batch.column("platform"), handles, assignment),
        "platform_account_id": pc.if_else(pc.or_(is_handle, is_name), None, ids),
        "handle": handles,
        "followers_count": batch.column("followers_count"),
        "known_at": batch.column("first_seen_at"),
        "last_fetched_at": batch.column("observed_at"),
        "last_changed_at": batch.column("last_changed_at"),
        "changes": batch.column("changes_count"),
        "flagged_hours": zero,
        "counted_hours": batch.column("watched_hours"),
        "change_rate": pa.nulls(batch.num_rows, pa.float64()),
        "is_requested": pa.array([False] * batch.num_rows),
        "tenants_count": count,
        "impressions": zero,
        "state": pc.coalesce(batch.column("account_state_code"), pa.scalar(AccountState.ACTIVE.value)),
    }
    rows = pa.table({name: columns[name] for name in REFRESH_SCHEMA.names if name in columns})
    return rows.filter(pc.is_valid(rows.column("source")))


def _sources(platforms: pa.Array, handles: pa.Array, assignment: Assignment) -> pa.Array:
    """The source of each account, null without one."""
    found = pa.nulls(len(platforms), pa.string())
    for platform, source in assignment.by_platform.items():
        found = pc.if_else(pc.equal(platforms, platform), pa.scalar(source), found)
    for source, keys in assignment.own.items():
        is_theirs = pc.is_in(handles, pa.array(sorted(keys), pa.string()))
        is_it = pc.and_(pc.equal(platforms, assignment.platforms[source]), is_theirs)
        found = pc.if_else(is_it, pa.scalar(source), found)
    return found
