"""Small states, sources and terms for tests of the refresh planner."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa

from lakehouse.fetch.change_rate import Priors
from lakehouse.fetch.refresh import Terms
from lakehouse.fetch.refresh_budget import HourBudget
from lakehouse.fetch.refresh_policy import load_policy
from lakehouse.fetch.refresh_state import REFRESH_SCHEMA, RefreshState
from lakehouse.fetch.source import parse_source

NOW = dt.datetime(2026, 11, 4, 12, tzinfo=dt.UTC)
HEAD = """
source: {name}
platform: {platform}
description: for tests
checked_on: 2026-11-28
base_url: https://localhost
api_version: v0
auth: {{header: x-key}}
retention_days: {retention}
"""
YOUTUBE = parse_source(
    HEAD.format(name="youtube_api", platform="youtube", retention=30)
    + """
buckets: [{name: day, units: 240, day: America/Los_Angeles}]
endpoints:
  channels: {path: c, keys: id, batch: 50, bucket: day}
  channels_by_handle: {path: c, keys: forHandle, key_kind: handle, bucket: day}
  uploads: {path: p, keys: list, record: post, bucket: day, then: videos, paging: {parameter: t, next: n}}
  videos: {path: v, keys: id, key_kind: none, batch: 50, record: post, bucket: day}
""",
    name="youtube_api",
)
X = parse_source(
    HEAD.format(name="x_api", platform="x", retention=0)
    + """
rates: [{family: users, requests: 300, seconds: 900}]
spend: {usd_per_day: 24, usd_per_cycle: 720}
endpoints:
  users: {path: u, keys: ids, batch: 100, usd_per_row: 0.01, family: users}
  user: {path: u/one, keys: id, usd_per_row: 0.01, family: users}
  posts: {path: "u/{key}", record: post, usd_per_row: 0.005, max_rows: 20, family: users, paging: {parameter: t, next: n}}
  users_by_username: {path: b, keys: usernames, key_kind: handle, batch: 100, usd_per_row: 0.01, family: users}
""",
    name="x_api",
)
INSTAGRAM = parse_source(
    HEAD.format(name="instagram_graph", platform="instagram", retention=30)
    + """
buckets: [{name: hour, units: 200, seconds: 3600}]
endpoints:
  business_discovery: {path: d, keys: username, key_kind: handle, bucket: hour}
""",
    name="instagram_graph",
)
SOURCES = {source.source: source for source in (YOUTUBE, X, INSTAGRAM)}


def row(number, *, source=YOUTUBE, age_hours=48.0, has_id=True, handle=True, now=NOW, **changed):
    """One account; by default of YouTube, two days old, with an id and a handle."""
    return {
        "platform": source.platform,
        "source": source.source,
        "platform_account_id": f"id{number}" if has_id else None,
        "handle": f"handle{number}" if handle else None,
        "followers_count": 1_000,
        "known_at": now - dt.timedelta(days=365),
        "last_fetched_at": None if age_hours is None else now - dt.timedelta(hours=age_hours),
        "last_changed_at": None,
        "changes": 1.0,
        "flagged_hours": 0.0,
        "counted_hours": 240.0,
        "change_rate": None,
        "is_requested": False,
        "tenants_count": 0,
        "impressions": 0.0,
        "state": "active",
        "posts_count": None,
        "referrers_count": 0,
    } | changed


def state(rows):
    """Rows as a chunk."""
    return RefreshState.from_arrow(pa.Table.from_pylist(rows, schema=REFRESH_SCHEMA))


def terms(units=2, *, usd=1.0, now=NOW, seed=0, sources=SOURCES, **policy):
    """Terms with equal budgets for every source; `policy` changes its values."""
    budgets = {
        "youtube_api": HourBudget({"day": units}),
        "x_api": HourBudget({}, usd),
        "instagram_graph": HourBudget({"hour": units}),
    }
    chosen = load_policy().model_copy(update=policy)
    return Terms(sources, budgets, chosen, Priors.default(chosen.prior), now, seed)


def chosen(plan, *reasons):
    """Names of a plan's accounts, of some reasons or all."""
    return [
        str(name)
        for pick in plan.picks
        if not reasons or pick.reason in reasons
        for name in np.asarray(pick.chosen.names)
    ]
