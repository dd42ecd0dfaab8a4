"""Engagement rates, cadence and growth of each account, with window, n and statistic (product.md section 5).

Formula, version 1. Over the posts of the `WINDOW_DAYS` before the account's newest countable post:
`er_followers` = median(interactions) / followers, `er_views` = median(interactions / views); means beside them. A post
counts when it was at least `MIN_AGE_HOURS` old as it was observed; hidden likes drop it, views of 0 or null drop it from
the rate by views. Fewer than `MIN_POSTS` posts give null and a reason, unless the source states averages: then the
rate comes from those, `statistic_code` is `stated` and n is null. Rates above 1 are legal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lakehouse.contracts.tables import ACCOUNT_METRICS, ACCOUNTS, ENGAGEMENT, POSTS
from lakehouse.enrich.conserved import one_for_one
from lakehouse.enrich.sums import fixed_mean
from lakehouse.ops.derive import Read, derive
from lakehouse.ops.steps import Report, StepContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FORMULA_VERSION = "engagement/1"
WINDOW_DAYS = 90
MIN_POSTS = 5
MIN_AGE_HOURS = 48
"""Younger posts are still gathering interactions."""
GROWTH_DAYS = 90
GROWTH_TOLERANCE_DAYS = 20
"""How far from 90 days ago the older snapshot may be: monthly snapshots always have one."""
MIN_SPAN_DAYS = 7
"""Cadence is not measured over less than a week."""
KEY = ("platform", "platform_account_id")

BY_FOLLOWERS: Mapping[str, tuple[str, ...]] = {
    "instagram": ("likes", "comments"),
    "tiktok": ("likes", "comments", "shares"),
    "youtube": ("likes", "comments"),
    "x": ("likes", "comments", "shares"),
}
"""What counts as an interaction in `er_followers`. Likes must be known; others count as 0 where unknown."""
BY_VIEWS: Mapping[str, tuple[str, ...]] = {
    "instagram": ("likes", "comments", "saves", "shares"),
    "tiktok": ("likes", "comments", "shares", "saves"),
    "youtube": ("likes", "comments"),
    "x": ("likes", "comments", "shares"),
}
"""The same for `er_views`."""

_POSTS_AGGREGATES = {
    "posts_all": "count(*)",
    "last_post_at": "max(published_at)",
    "posts_as_of": "max(observed_at)",
    "in_window": "count_if(counts)",
    "first_at": "min(IF(counts, published_at, NULL))",
    "newest_at": "max(IF(counts, published_at, NULL))",
    "n_followers": "count(IF(counts, by_followers, NULL))",
    "median_by_followers": "median(IF(counts, by_followers, NULL))",
    "mean_by_followers": "avg(IF(counts, by_followers, NULL))",
    "n_views": "count(IF(counts, rate_by_views, NULL))",
    "median_by_views": "median(IF(counts, rate_by_views, NULL))",
    "mean_by_views": fixed_mean("IF(counts, rate_by_views, NULL)"),
    "median_views_count": "median(IF(counts AND views_count > 0, views_count, NULL))",
}


def interactions_sql(numerators: Mapping[str, tuple[str, ...]], *, pattern: str) -> str:
    """SQL sum of each platform's interactions; null where likes are hidden.

    Args:
        numerators: `BY_FOLLOWERS` or `BY_VIEWS`.
        pattern: column name with `{}` for the kind, such as `{}_count`.
    """
    cases = []
    for platform, kinds in numerators.items():
        terms = [pattern.format(k) if k == "likes" else f"coalesce({pattern.format(k)}, 0)" for k in kinds]
        cases.append(f"WHEN '{platform}' THEN {' + '.join(terms)}")
    return f"CASE platform {' '.join(cases)} END"


def build_engagement(ctx: StepContext) -> Report:
    """Derive every account's rates from its posts, metric snapshots and stated averages; conserves rows."""
    derive(ctx, ENGAGEMENT, fold_engagement, inputs=(ACCOUNTS, POSTS, ACCOUNT_METRICS))
    return one_for_one(ctx.lake, ACCOUNTS, ENGAGEMENT)


def fold_engagement(read: Read) -> DataFrame:
    """Rows of the engagement table from accounts, their posts and their metric snapshots."""
    posts, growth = post_statistics(read(POSTS)), follower_growth(read(ACCOUNT_METRICS))
    joined = read(ACCOUNTS).join(posts, list(KEY), "left").join(growth, list(KEY), "left")
    return rates(joined).select(*ENGAGEMENT.columns)


def post_statistics(posts: DataFrame) -> DataFrame:
    """One row per account with what its posts say; one shuffle."""
    from pyspark.sql import functions as F

    by_views = interactions_sql(BY_VIEWS, pattern="{}_count")
    marked = posts.selectExpr(
        *KEY,
        "published_at",
        "observed_at",
        "views_count",
        f"observed_at >= published_at + INTERVAL {MIN_AGE_HOURS} HOURS AS is_ripe",
        f"{interactions_sql(BY_FOLLOWERS, pattern='{}_count')} AS by_followers",
        f"IF(views_count > 0, ({by_views}) / views_count, NULL) AS rate_by_views",
    ).withColumn("newest", F.expr(f"max(IF(is_ripe, published_at, NULL)) OVER (PARTITION BY {', '.join(KEY)})"))
    counted = marked.withColumn(
        "counts", F.expr(f"coalesce(is_ripe AND published_at > newest - INTERVAL {WINDOW_DAYS} DAYS, false)")
    )
    return counted.groupBy(*KEY).agg(*(F.expr(sql).alias(name) for name, sql in _POSTS_AGGREGATES.items()))


def follower_growth(metrics: DataFrame) -> DataFrame:
    """`growth_90d_ratio` per account: newest snapshot against the one nearest to 90 days before it."""
    from pyspark.sql import functions as F

    known = metrics.where("followers_count > 0").selectExpr(
        *KEY,
        "metric_date",
        "followers_count",
        f"max(metric_date) OVER (PARTITION BY {', '.join(KEY)}) AS newest",
    )
    off = f"abs(datediff(newest, metric_date) - {GROWTH_DAYS})"
    then = F.expr(f"min_by(IF({off} <= {GROWTH_TOLERANCE_DAYS}, followers_count, NULL), ({off}, metric_date))")
    pair = known.groupBy(*KEY).agg(F.expr("max_by(followers_count, metric_date)").alias("now"), then.alias("then"))
    return pair.selectExpr(*KEY, "(now - then) / then AS growth_90d_ratio")


def rates(joined: DataFrame) -> DataFrame:
    """Columns of the engagement table from accounts joined with post statistics and growth."""
    from pyspark.sql import functions as F

    stages: tuple[dict[str, str], ...] = (_SUPPORT, _RATES, _LABELS)
    for stage in stages:
        joined = joined.withColumns({name: F.expr(sql) for name, sql in stage.items()})
    return joined


_STATED = interactions_sql(BY_FOLLOWERS, pattern="avg_{}_count").replace("avg_saves_count", "NULL")
_SUPPORT = {
    "followers": "nullif(followers_count, 0)",
    "has_followers_rate": f"followers_count > 0 AND coalesce(n_followers, 0) >= {MIN_POSTS}",
    "has_views_rate": f"coalesce(n_views, 0) >= {MIN_POSTS}",
    "stated_interactions": f"coalesce(nullif(avg_engagement_count, 0), IF(avg_likes_count > 0, {_STATED}, NULL))",
}
_RATES = {
    "er_followers_ratio": "IF(has_followers_rate, median_by_followers / followers, "
    "coalesce(nullif(stated_er_ratio, 0), stated_interactions / followers))",
    "er_views_ratio": "IF(has_views_rate, median_by_views, stated_interactions / nullif(avg_views_count, 0))",
    "er_followers_mean_ratio": "IF(has_followers_rate, mean_by_followers / followers, NULL)",
    "er_views_mean_ratio": "IF(has_views_rate, mean_by_views, NULL)",
    "posts_per_week": f"IF(in_window >= {MIN_POSTS}, 7D * (in_window - 1) / "
    f"greatest({MIN_SPAN_DAYS}, (unix_seconds(newest_at) - unix_seconds(first_at)) / 86400D), NULL)",
}
_LABELS = {
    "statistic_code": "CASE WHEN has_followers_rate THEN 'median' WHEN er_followers_ratio IS NOT NULL THEN 'stated' "
    "WHEN has_views_rate THEN 'median' WHEN er_views_ratio IS NOT NULL THEN 'stated' END",
    "window_days": f"IF(has_followers_rate OR (has_views_rate AND er_followers_ratio IS NULL), {WINDOW_DAYS}, NULL)",
    "posts_count": "CASE WHEN has_followers_rate THEN n_followers "
    "WHEN has_views_rate AND er_followers_ratio IS NULL THEN n_views END",
    "null_reason_code": "CASE WHEN er_followers_ratio IS NOT NULL THEN NULL "
    "WHEN followers IS NULL THEN 'followers_unknown' WHEN coalesce(posts_all, 0) = 0 THEN 'no_posts' "
    f"WHEN in_window >= {MIN_POSTS} THEN 'likes_hidden' ELSE 'too_few_posts' END",
    "formula_version": f"'{FORMULA_VERSION}'",
    "as_of": "greatest(observed_at, posts_as_of)",
}
