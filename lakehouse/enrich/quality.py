"""Features and peer statistics from the lake, scored by `quality_rules.py`.

One frame of features, kept while it is used twice: peer percentiles (platform x tier, approximate) go to the driver, a
few hundred rows whatever the lake's size, and back with the code that scores each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.fields import FIELDS, SCORE_REASON
from lakehouse.contracts.tables import ACCOUNT_METRICS, ACCOUNTS, ENGAGEMENT, POSTS, SCORES
from lakehouse.contracts.taxonomy import TIER_EDGES
from lakehouse.enrich.conserved import one_for_one
from lakehouse.enrich.engagement import BY_VIEWS, KEY, MIN_POSTS, interactions_sql
from lakehouse.enrich.quality_rules import (
    FEATURES,
    FORMULA_VERSION,
    MIN_PEERS,
    PEER_METRICS,
    PROBABILITIES,
    REASONS,
    Column,
    PeerStats,
    Reasons,
    changed_groups,
    digests,
    on_grid,
    rounded,
    score_accounts,
)
from lakehouse.enrich.sums import fixed_mean
from lakehouse.ops.derive import touched, write
from lakehouse.ops.steps import Report, StepContext
from lakehouse.storage.kept import KEPT
from lakehouse.storage.keys import Keys

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ACCURACY = 2_000
"""Of approximate percentiles: rank error below 1/2000 of a group."""
MIN_SNAPSHOTS = 8
"""Follower snapshots needed before a jump can be called unusual."""
USUAL_DAILY_CHANGE = 0.002
"""Least spread of daily log changes: a still account that gains 1 % has not jumped."""
INFLATED_VIEWS, DROPPED_RATE = 1.5, 0.3
"""A post is inflated when views are so many times the account's median and its rate fell by so much."""
INPUTS = (ACCOUNTS, ENGAGEMENT, ACCOUNT_METRICS, POSTS)
_TIER = " + ".join(f"int(followers >= {edge})" for edge in TIER_EDGES)
PROFILE_PARTS = ("display_name", "bio", "website_url", "category_labels", "profile_url")

_INFLATION = (
    f"IF(views_count >= {INFLATED_VIEWS} * median_views AND 1 - rate / median_rate >= {DROPPED_RATE}, "
    "least(1D, 0.25D * views_count / median_views * (1 - rate / median_rate)), 0D)"
)


def build_scores(ctx: StepContext) -> Report:
    """Score every account against its peers, again where it or its peers changed; conserves rows.

    Returns:
        Accounts and rows; cursor `peers`, a digest of what each group is compared with.
    """
    features, schema = _features(ctx).persist(KEPT), ctx.lake.spark_schema(SCORES)
    try:
        stats = _peer_stats(features)
        peers = digests(stats)
        keys = touched(ctx, SCORES, INPUTS)
        if keys is not None:
            keys = _with_groups(keys, features, changed_groups(ctx.cursor["peers"], peers))

        def fold(chosen: Keys | None) -> DataFrame:
            rows = features if chosen is None else chosen.rows_of(features)
            return rows.mapInArrow(_scorer(stats), schema)

        write(ctx, SCORES, fold, keys=keys)
    finally:
        features.unpersist()
    report = one_for_one(ctx.lake, ACCOUNTS, SCORES, scored_count="quality_score IS NOT NULL")
    return replace(report, cursor={"peers": peers})


def _with_groups(keys: Keys, features: DataFrame, names: Sequence[str]) -> Keys:
    """The keys and those of all accounts of some groups, named as `digests` names them."""
    from pyspark.sql import functions as F

    if not names:
        return keys
    others = features.where(F.expr(f"concat(platform, '/', coalesce({_TIER}, -1))").isin(*names)).select(*KEY)
    return keys.with_keys(Keys.of_frame(others))


def score_batch(batch: pa.RecordBatch, stats: PeerStats) -> pa.RecordBatch:
    """Rows of the scores table from rows of keys, `engagement_reason` and `FEATURES`."""
    columns = {name: _floats(batch.column(name)) for name in FEATURES}
    scores = score_accounts(batch.column("platform").to_pylist(), columns, stats)
    quality = pa.array(scores.quality, from_pandas=True)
    missing = pc.coalesce(batch.column("engagement_reason"), "too_few_peers")
    filled = {
        "quality_score": quality,
        "anomaly_score": pa.array(scores.anomaly, from_pandas=True),
        "score_reasons": _reasons(scores.reasons, batch.num_rows),
        "null_reason_code": pc.if_else(quality.is_null(), missing, pa.scalar(None, pa.string())),
        "formula_version": pa.repeat(FORMULA_VERSION, batch.num_rows),
    }
    keys = {name: batch.column(name) for name in KEY}
    return pa.RecordBatch.from_pydict(keys | filled, schema=SCORES.arrow_schema())


def _reasons(reasons: Reasons, rows: int) -> pa.ListArray:
    """The column `score_reasons` of so many rows."""
    columns = [
        pa.array([code for code, _ in REASONS]).take(pa.array(reasons.kinds)),
        pa.array(reasons.contributions),
        pa.array(rounded(reasons.values)),
        pa.array(reasons.texts(), pa.string()),
    ]
    entries = pa.StructArray.from_arrays(columns, fields=list(SCORE_REASON))
    offsets = np.searchsorted(reasons.rows, np.arange(rows + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), entries, type=FIELDS["score_reasons"].type)


def _floats(column: pa.Array) -> Column:
    return np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False))


def _scorer(stats: PeerStats) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield score_batch(batch, stats)

    return score


def _features(ctx: StepContext) -> DataFrame:
    """Keys, `engagement_reason` and the columns `FEATURES` (doubles, null where unknown)."""
    from pyspark.sql import functions as F

    accounts = ctx.lake.read(ACCOUNTS).alias("a")
    engagement = ctx.lake.read(ENGAGEMENT).select(
        *KEY, "er_followers_ratio", "er_views_ratio", "median_views_count", "last_post_at", "as_of", "null_reason_code"
    )
    joined = accounts.join(engagement, list(KEY), "left")
    joined = joined.join(_post_signals(ctx.lake.read(POSTS)), list(KEY), "left")
    joined = joined.join(_spikes(ctx.lake.read(ACCOUNT_METRICS)), list(KEY), "left")
    filled = " + ".join(f"int({_is_filled(part)})" for part in PROFILE_PARTS)
    likes, comments = "coalesce(post_likes, avg_likes_count)", "coalesce(post_comments, avg_comments_count)"
    views = "coalesce(median_views_count, avg_views_count)"
    columns = {
        "er_followers": "er_followers_ratio",
        "er_views": "er_views_ratio",
        "log_likes_per_comment": f"IF({likes} > 0 AND {comments} > 0, ln({likes} / {comments}), NULL)",
        "log_views_per_follower": f"IF({views} > 0 AND followers_count > 0, ln({views} / followers_count), NULL)",
        "followers": "followers_count",
        "following": "following_count",
        "view_inflation": "view_inflation",
        "spike_sigmas": "spike_sigmas",
        "days_since_post": "(unix_seconds(as_of) - unix_seconds(last_post_at)) / 86400D",
        "completeness": f"({filled}) / {len(PROFILE_PARTS)}D",
    }
    values = [F.expr(f"double({sql})").alias(name) for name, sql in columns.items()]
    return joined.select(*KEY, F.col("null_reason_code").alias("engagement_reason"), *values)


def _is_filled(part: str) -> str:
    return f"coalesce(size({part}), 0) > 0" if part == "category_labels" else f"coalesce({part}, '') != ''"


def _post_signals(posts: DataFrame) -> DataFrame:
    """Per account: mean likes and comments, and the mean score of posts whose views rose while interactions fell."""
    from pyspark.sql import functions as F

    window = f"OVER (PARTITION BY {', '.join(KEY)})"
    rate = f"IF(views_count > 0, ({interactions_sql(BY_VIEWS, pattern='{}_count')}) / views_count, NULL)"
    rated = posts.selectExpr(*KEY, "likes_count", "comments_count", "views_count", f"{rate} AS rate")
    with_medians = rated.selectExpr(
        "*",
        f"median(IF(views_count > 0, views_count, NULL)) {window} AS median_views",
        f"nullif(median(rate) {window}, 0D) AS median_rate",
    )
    return with_medians.groupBy(*KEY).agg(
        F.avg("likes_count").alias("post_likes"),
        F.avg("comments_count").alias("post_comments"),
        F.expr(f"IF(count(rate) >= {MIN_POSTS}, {fixed_mean(f'IF(rate IS NULL, NULL, {_INFLATION})')}, NULL)").alias(
            "view_inflation"
        ),
    )


def _spikes(metrics: DataFrame) -> DataFrame:
    """Per account with enough snapshots: its largest daily log change, in spreads (MAD) from its median change."""
    from pyspark.sql import functions as F

    order = f"OVER (PARTITION BY {', '.join(KEY)} ORDER BY metric_date)"
    steps = metrics.where("followers_count > 0").selectExpr(
        *KEY,
        "metric_date",
        "followers_count",
        f"lag(followers_count) {order} AS before",
        f"lag(metric_date) {order} AS since",
    )
    changes = steps.selectExpr(
        *KEY, "ln(followers_count / before) / greatest(1, datediff(metric_date, since)) AS change"
    )
    grouped = changes.groupBy(*KEY).agg(F.median("change").alias("usual"), F.expr("array_agg(change)").alias("changes"))
    away = grouped.where(f"size(changes) >= {MIN_SNAPSHOTS - 1}").selectExpr(
        *KEY, "array_sort(transform(changes, c -> abs(c - usual))) AS away"
    )
    spread = f"greatest(1.4826D * element_at(away, int(size(away) / 2) + 1), {USUAL_DAILY_CHANGE}D)"
    return away.selectExpr(*KEY, f"array_max(away) / {spread} AS spike_sigmas")


def _peer_stats(features: DataFrame) -> dict[tuple[str, str | None, int | None], Column]:
    """Approximate percentiles per platform and tier, platform, and all: a few hundred rows, collected."""
    from pyspark.sql import functions as F

    grouped = features.withColumn("tier", F.expr(_TIER)).rollup("platform", "tier")
    wanted = [
        aggregate
        for metric in PEER_METRICS
        for aggregate in (
            F.percentile_approx(metric, list(PROBABILITIES), ACCURACY).alias(metric),
            F.count(metric).alias(f"{metric}_n"),
        )
    ]
    rows: list[dict[str, Any]] = [
        row.asDict() for row in grouped.agg(*wanted, F.grouping_id().alias("level")).collect()
    ]
    return {
        (metric, row["platform"], row["tier"]): on_grid(metric, np.asarray(row[metric], dtype=np.float64))
        for row in rows
        for metric in PEER_METRICS
        if row[f"{metric}_n"] >= MIN_PEERS and not (row["level"] == 0 and row["tier"] is None)
    }
