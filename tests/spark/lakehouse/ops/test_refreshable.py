"""What the planner is told of accounts: changes between looks, faded, and the same whether derived at once or bit by bit."""

from __future__ import annotations

import datetime as dt
import math

import pytest

from lakehouse.contracts.tables import ACCOUNT_METRICS, ACCOUNTS, REFRESH
from lakehouse.fetch.refresh_policy import load_policy
from lakehouse.ops.refreshable import build_refreshable, fold_refreshable
from lakehouse.ops.steps import StepContext

pytestmark = pytest.mark.spark
DAY = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


def account(number: int, **given):
    row = dict.fromkeys(ACCOUNTS.columns)
    row |= {"platform": "x", "platform_account_id": str(number), "handle_key": f"h{number}", "followers_count": 1000}
    row |= {"first_seen_at": DAY, "observed_at": DAY + dt.timedelta(days=10), "observations_count": 1, "batch_seq": 1}
    return row | {"source_codes": ["s"]} | given


def look(number: int, days: int, followers: int | None):
    at = DAY + dt.timedelta(days=days)
    row = dict.fromkeys(ACCOUNT_METRICS.columns)
    row |= {"platform": "x", "platform_account_id": str(number), "metric_date": at.date(), "observed_at": at}
    return row | {"followers_count": followers, "source_code": "s", "batch_seq": 1}


def rows(lake, spec, given):
    return lake.spark.createDataFrame(
        [tuple(row[name] for name in spec.columns) for row in given], lake.spark_schema(spec)
    )


def test_changes_are_counted_in_thresholds_and_fade_by_the_half_life(lake) -> None:
    policy = load_policy()
    looks = [look(1, 0, 1000), look(1, 10, 1005), look(1, 38, 1206), look(2, 0, 500), look(3, 0, None)]
    tables = {ACCOUNTS.name: [account(1), account(2), account(3)], ACCOUNT_METRICS.name: looks}
    found = {
        row["platform_account_id"]: row
        for row in fold_refreshable(lambda spec: rows(lake, spec, tables[spec.name]), policy).collect()
    }
    fade = 0.5 ** (28 / policy.prior.memory_days)
    small, large = 0.005 / policy.change_ratio, math.sqrt(min((1206 - 1005) / 1005 / policy.change_ratio, 20.0))
    assert found["1"]["changes_count"] == pytest.approx(small * fade + large)
    assert found["1"]["watched_hours"] == pytest.approx(240 * fade + 672)
    assert found["1"]["last_changed_at"].replace(tzinfo=dt.UTC) == DAY + dt.timedelta(days=38)
    assert (found["2"]["changes_count"], found["2"]["watched_hours"], found["2"]["last_changed_at"]) == (0.0, 0.0, None)
    assert found["3"]["watched_hours"] == 0.0


def test_the_table_has_a_row_for_each_account(lake) -> None:
    lake.replace(ACCOUNTS, rows(lake, ACCOUNTS, [account(1), account(2)]))
    lake.replace(ACCOUNT_METRICS, rows(lake, ACCOUNT_METRICS, [look(1, 0, 10), look(1, 1, 20)]))
    report = build_refreshable(StepContext(lake, lake.settings, {}))
    assert (report.rows_in, report.rows_out) == (2, 2)
    streamed = [
        row for batch in lake.stream(REFRESH, ("platform_account_id", "changes_count")) for row in batch.to_pylist()
    ]
    assert {row["platform_account_id"]: row["changes_count"] > 0 for row in streamed} == {"1": True, "2": False}
