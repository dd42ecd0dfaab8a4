"""Expectations on silver and gold, evaluated by Great Expectations over one row of metrics per table.

The only file that imports Great Expectations. The metrics are taken along by the structural check's one aggregation; the
expectations then run on them, because each expectation on a table would be a Spark job of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lakehouse.contracts.tables import ACCOUNTS, CREATOR_IDS, GOLD_PROFILES, POSTS, SEARCH_DOCS
from lakehouse.quality.structural import SQUARED_NORM, CheckOutcome

SPARK_CONNECT = "pyspark.sql.connect"


@dataclass(frozen=True, slots=True)
class Expectation:
    """A metric (an SQL aggregate that Spark and DuckDB read alike, see `structural.py`) and the range it should lie in."""

    metric: str
    sql: str
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """The expectations on one table."""

    table: str
    description: str
    expectations: tuple[Expectation, ...]


EXPECTATIONS: tuple[Suite, ...] = (
    Suite(
        ACCOUNTS.name,
        "Accounts have handles and plausible follower counts",
        (
            Expectation("rows", "count(*)", minimum=1),
            Expectation(
                "handle_or_name_share", "avg(cast(handle is not null or display_name is not null as int))", minimum=0.99
            ),
            Expectation("followers_share", "avg(cast(followers_count is not null as int))", minimum=0.3),
            Expectation("followers_max", "coalesce(max(followers_count), 0)", maximum=2e9),
            Expectation("email_in_bio", "count_if(regexp_like(bio, '[a-z0-9.]+@[a-z0-9]+[.][a-z]{2,}'))", maximum=0),
        ),
    ),
    Suite(
        POSTS.name,
        "Posts belong to the years of the platforms and keep their counts",
        (
            Expectation("rows", "count(*)", minimum=0),
            Expectation("early_posts", "count_if(unix_micros(published_at) < 1072915200000000)", maximum=0),
            Expectation(
                "late_posts", "count_if(unix_micros(published_at) > unix_micros(observed_at) + 172800000000)", maximum=0
            ),
        ),
    ),
    Suite(
        CREATOR_IDS.name,
        "Clusters stay small and every cluster has one anchor",
        (
            Expectation("rows", "count(*)", minimum=1),
            Expectation("largest_cluster", "max(cluster_size_count)", maximum=60),
            Expectation(
                "anchors_minus_creators", "count_if(is_anchor) - count(distinct creator_id)", minimum=0, maximum=0
            ),
        ),
    ),
    Suite(
        GOLD_PROFILES.name,
        "Creators have platforms and profiles that agree",
        (
            Expectation("rows", "count(*)", minimum=1),
            Expectation("without_profiles", "count_if(array_size(profiles) = 0)", maximum=0),
            Expectation("platforms_disagree", "count_if(array_size(platforms) <> platforms_count)", maximum=0),
            Expectation("niche_share", "avg(cast(niche_code is not null as int))", minimum=0.05),
        ),
    ),
    Suite(
        SEARCH_DOCS.name,
        "Every searchable creator has a unit vector",
        (
            Expectation("rows", "count(*)", minimum=1),
            Expectation("dimensions", "count(distinct array_size(vector))", minimum=1, maximum=1),
            Expectation("not_unit", f"count_if(abs({SQUARED_NORM} - 1) > 0.001)", maximum=0),
        ),
    ),
)

SUITES = {suite.table: suite for suite in EXPECTATIONS}


def metrics_of(table: str) -> dict[str, str]:
    """SQL aggregates that the expectations on a table need, by name; none for a table without a suite."""
    suite = SUITES.get(table)
    return {item.metric: item.sql for item in suite.expectations} if suite else {}


def validate(table: str, metrics: Mapping[str, float]) -> CheckOutcome:
    """Hold measured metrics against the table's suite; `problems` holds the value of each broken one, rounded."""
    broken = _broken(SUITES[table], pd.DataFrame([metrics]))
    return CheckOutcome(table, int(metrics["rows"]), {name: round(metrics[name]) for name in broken})


def _great_expectations() -> Any:
    """The library, loaded without Spark Connect.

    Where the main module has no file, as in the workers that Dagster's daemon starts, PySpark takes an import of Spark
    Connect for a doctest and ends the process if gRPC is not complete.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    absent: dict[str, Any] = {} if SPARK_CONNECT in sys.modules else {SPARK_CONNECT: None}
    sys.modules.update(absent)
    try:
        import great_expectations
    finally:
        for name in absent:
            del sys.modules[name]
    return great_expectations


def _broken(suite: Suite, metrics: pd.DataFrame) -> list[str]:
    """Names of the metrics outside their range."""
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    rules = gx.ExpectationSuite(name=suite.table)
    for item in suite.expectations:
        rules.add_expectation(
            gx.expectations.ExpectColumnValuesToBeBetween(
                column=item.metric, min_value=item.minimum, max_value=item.maximum
            )
        )
    source = context.data_sources.add_pandas(suite.table)
    batch = source.add_dataframe_asset(suite.table).add_batch_definition_whole_dataframe("metrics")
    result = batch.get_batch(batch_parameters={"dataframe": metrics}).validate(rules, result_format="BOOLEAN_ONLY")
    return sorted(r.expectation_config.kwargs["column"] for r in result.results if not r.success)
