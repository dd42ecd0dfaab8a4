"""Every state of an asset is recorded once: rows, rules, expectations, null rates."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lakehouse.contracts.tables import CREATOR_IDS, QUALITY_METRICS
from lakehouse.ops.steps import Report, Step, run_step
from lakehouse.quality import measures
from lakehouse.quality.measures import FAIL, PASS, WARN, build_metrics
from lakehouse.quality.memory import checked

pytestmark = pytest.mark.spark
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def step_over(lake, rows):
    def build(ctx):
        names = [field.name for field in lake.spark_schema(CREATOR_IDS).fields]
        values = {"platform": "x", "first_seen_at": NOW, "cluster_size_count": 1, "confidence_score": 1.0}
        filled = [
            values | {"platform_account_id": str(row), "creator_id": f"c{row % 2}", "is_anchor": row < 2}
            for row in range(rows)
        ]
        data = [tuple(row.get(name) for name in names) for row in filled]
        ctx.lake.replace(CREATOR_IDS, ctx.lake.spark.createDataFrame(data, lake.spark_schema(CREATOR_IDS)))
        return Report(rows_in=rows, rows_out=rows, by_source={"a": {"in": rows, "out": rows}})

    return Step(CREATOR_IDS.name, "", "identity", (), (CREATOR_IDS.name,), build, code_version=str(rows))


METRICS = Step(
    QUALITY_METRICS.name, "", "ops", (CREATOR_IDS.name,), (QUALITY_METRICS.name,), build_metrics, code_version="1"
)


def night(lake, rows):
    run_step(step_over(lake, rows), lake, lake.settings)
    checked(lake, CREATOR_IDS)
    return run_step(METRICS, lake, lake.settings)


def recorded(lake):
    return [row.asDict() for row in lake.read(QUALITY_METRICS).collect()]


def test_states_are_recorded_once_and_told_to_dagster(lake):
    report = night(lake, 4)
    first = recorded(lake)
    assert report.rows_out == len(first) == len({(r["asset"], r["partition"], r["run"], r["metric"]) for r in first})
    by_metric = {(row["metric"], row["partition"]): row for row in first}
    assert by_metric["rows_out", ""]["value"] == 4
    assert by_metric["rows_in", "a"]["value"] == 4
    assert by_metric["rows", ""]["run"] == lake.state(CREATOR_IDS.name)
    clusters = by_metric["largest_cluster", ""]
    assert (clusters["value"], clusters["maximum"], clusters["status_code"]) == (1.0, 60.0, PASS)
    assert report.metadata["silver_identity__creator_ids: rows"] == 4.0
    assert night(lake, 4).is_skipped
    assert recorded(lake) == first
    night(lake, 6)
    second = recorded(lake)
    assert [row for row in second if row in first] == sorted(first, key=second.index)
    assert {row["value"] for row in second if row["metric"] == "rows"} == {4.0, 6.0}


def test_what_is_broken_is_said(lake, monkeypatch):
    monkeypatch.setattr(measures, "past_counts", lambda _lake: {CREATOR_IDS.name: [100.0] * 10})
    run_step(step_over(lake, 3), lake, lake.settings)
    lake.replace(
        CREATOR_IDS,
        lake.read(CREATOR_IDS).selectExpr(
            *[
                "CAST(-1 AS BIGINT) AS cluster_size_count"
                if name == "cluster_size_count"
                else "false AS is_anchor"
                if name == "is_anchor"
                else name
                for name in CREATOR_IDS.columns
            ]
        ),
    )
    checked(lake, CREATOR_IDS)
    report = run_step(METRICS, lake, lake.settings)
    status = {(row["metric"], row["partition"]): row["status_code"] for row in recorded(lake)}
    assert status["rows_out", ""] == WARN
    assert status["anchors_minus_creators", ""] == WARN
    assert status["broken_rules", ""] == FAIL
    assert status["broken", "negative:cluster_size_count"] == FAIL
    assert report.metadata["broken"] == 4
