"""The hour's plan of a lake: known accounts as the planner wants them, each under the source that refreshes it, and its tasks.

Accounts stream by; nothing here holds more than a batch of them. Which source refreshes an account: of the active ones of its
platform the one that has its own credential for it, else the preferred one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.tables import CANDIDATES, REFRESH
from lakehouse.fetch.asked import Asked, What
from lakehouse.fetch.ledger import Ledger
from lakehouse.fetch.refresh import RefreshPlan, Terms, fit_priors, plan_refresh
from lakehouse.fetch.refresh_budget import hour_budget
from lakehouse.fetch.refresh_policy import RefreshPolicy
from lakehouse.fetch.refresh_state import REFRESH_SCHEMA, RefreshState
from lakehouse.fetch.refresh_value import Reason
from lakehouse.fetch.source import Source
from lakehouse.fetch.task import AccountState
from lakehouse.identity.nodes import NO_HANDLE, NO_ID

if TYPE_CHECKING:
    from lakehouse.storage.lake import Lake

KEYS = ("platform_account_id", "handle_key")
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
    asked: Asked,
) -> RefreshPlan:
    """Plan this hour's refresh within what the ledger says is left.

    Args:
        lake: whose accounts.
        assignment: which source refreshes which account.
        sources: by code.
        ledger: of their budgets.
        policy: of the plan.
        now: the time, aware.
        asked: what was asked for lately; `remember` tells it of this plan.
    """
    priors = fit_priors(_known(lake, assignment), policy)
    budgets = {name: hour_budget(source, now, ledger.remaining(source)) for name, source in sources.items()}
    posts, new = (asked.known(what, days=policy.ask_again_days) for what in (What.POSTS, What.NEW))
    terms = Terms(sources, budgets, policy, priors, now, posts=posts, new=new)
    return plan_refresh(chain(_known(lake, assignment), _candidates(lake, assignment)), terms)


def remember(plan: RefreshPlan, asked: Asked, policy: RefreshPolicy) -> None:
    """Note whose posts, and which accounts never seen, a plan asks for; once its tasks are queued."""
    for what, reason in ((What.POSTS, Reason.POSTS), (What.NEW, Reason.DISCOVER)):
        for pick in plan.picks:
            if pick.reason is reason:
                asked.note(what, pick.chosen.keys, np.nan_to_num(pick.chosen.posts))
    asked.forget(days=policy.ask_again_days)


def reserve_live(plan: RefreshPlan, sources: Mapping[str, Source], ledger: Ledger) -> None:
    """Tell the ledger what live work needs of each bucket's window: all that is left where this hour left value behind."""
    for name, spending in plan.summary.spending.items():
        left = ledger.remaining(sources[name])
        for bucket in sources[name].buckets:
            wanted = left[bucket.name] if spending.value_left > 0 else HOURS_PER_DAY * spending.live_units
            ledger.need(sources[name], bucket.name, int(min(wanted, left[bucket.name])))


def known_keys(lake: Lake, listed: pa.Array) -> Iterator[tuple[str, str]]:
    """Which of the listed ids and handle keys the lake can plan, each with its platform; a few of many accounts."""
    for batch in lake.stream(REFRESH, ("platform", *KEYS)):
        for name in KEYS:
            found = batch.filter(pc.is_in(batch.column(name), listed))
            yield from zip(found.column("platform").to_pylist(), found.column(name).to_pylist(), strict=True)


def _known(lake: Lake, assignment: Assignment) -> Iterator[RefreshState]:
    for batch in lake.stream(REFRESH, REFRESH.columns):
        yield from _state(refresh_rows(batch, assignment))


def _candidates(lake: Lake, assignment: Assignment) -> Iterator[RefreshState]:
    for batch in lake.stream(CANDIDATES, CANDIDATES.columns):
        yield from _state(candidate_rows(batch, assignment))


def _state(table: pa.Table) -> Iterator[RefreshState]:
    if table.num_rows:
        yield RefreshState.from_arrow(table)


def refresh_rows(batch: pa.RecordBatch, assignment: Assignment) -> pa.Table:
    """Rows of `ops_ingest__refresh` as `REFRESH_SCHEMA`, without those that no active source refreshes."""
    named = {"posts_count": "content_count", "last_fetched_at": "observed_at", "changes": "changes_count"}
    named |= {"counted_hours": "watched_hours", "handle": "handle_key"}
    named |= {name: name for name in ("followers_count", "last_changed_at")}
    given = {name: batch.column(column) for name, column in named.items()}
    state = pc.coalesce(batch.column("account_state_code"), pa.scalar(AccountState.ACTIVE.value))
    return _rows(batch, assignment, given | {"state": state})


def candidate_rows(batch: pa.RecordBatch, assignment: Assignment) -> pa.Table:
    """Rows of `ops_ingest__candidates` as `REFRESH_SCHEMA`, without those that no active source asks for."""
    return _rows(batch, assignment, {"referrers_count": batch.column("referrers_count")})


def _rows(batch: pa.RecordBatch, assignment: Assignment, given: Mapping[str, pa.Array]) -> pa.Table:
    """Rows of the planner: the given columns, and what stands for the others."""
    platforms, ids = batch.column("platform"), batch.column("platform_account_id")
    is_handle, is_name = pc.starts_with(ids, NO_ID), pc.starts_with(ids, NO_HANDLE)
    named = pc.if_else(is_handle, pc.utf8_slice_codeunits(ids, 1), None)
    handles = pc.coalesce(given["handle"], named) if "handle" in given else named
    columns = dict(given) | {
        "platform": platforms,
        "source": _sources(platforms, handles, assignment),
        "platform_account_id": pc.if_else(pc.or_(is_handle, is_name), None, ids),
        "handle": handles,
        "known_at": batch.column("first_seen_at"),
    }
    empty = {field.name: _unsaid(field, batch.num_rows) for field in REFRESH_SCHEMA if field.name not in columns}
    rows = pa.table({name: (columns | empty)[name] for name in REFRESH_SCHEMA.names})
    return rows.filter(pc.is_valid(rows.column("source")))


def _unsaid(field: pa.Field, length: int) -> pa.Array:
    """A column of which nothing is known: null where it may be, else zero, false or active."""
    if field.nullable:
        return pa.nulls(length, field.type)
    unsaid = AccountState.ACTIVE.value if field.name == "state" else False if pa.types.is_boolean(field.type) else 0
    return pa.repeat(pa.scalar(unsaid, field.type), length)


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
