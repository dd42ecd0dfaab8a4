"""One row per creator: accounts folded into profiles, profiles into a person. Pure Spark expressions, two shuffles.

An account that a source knows only by its handle or name and the same account known by its id are two silver rows of
one creator; here they fold into one profile (`_profile_key`). Two ids stay two profiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from lakehouse.contracts.fields import PROFILE
from lakehouse.contracts.tables import GOLD_ACCOUNTS, GOLD_PROFILES
from lakehouse.enrich.sums import fixed_sum
from lakehouse.identity.nodes import NO_HANDLE, NO_ID
from lakehouse.ops.derive import Read, derive
from lakehouse.ops.steps import Report, StepContext

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

NICHES_KEPT = 5
"""Niches of a creator that are stored; the tail is noise."""
CATEGORIES_KEPT = 12
"""Source categories of a creator that are stored."""
LISTS = ("niches", "niche_codes", "risks", "risk_codes", "category_labels")
"""Empty rather than null where a creator has none."""
FOLDED = (
    "handle",
    "display_name",
    "profile_url",
    "bio",
    "followers_count",
    "following_count",
    "content_count",
    "er_followers_ratio",
    "er_views_ratio",
    "avg_views_count",
    "avg_likes_count",
    "avg_comments_count",
    "is_verified",
    "is_private",
    "account_type_code",
    "country_code",
    "language_code",
    "growth_90d_ratio",
    "posts_per_week",
    "last_post_at",
)
"""Columns of which a profile shows the newest non-null value of the accounts folded into it."""
SCORED = ("quality_score", "anomaly_score", "score_reasons")
"""Columns that a profile takes together, from one account: reasons explain the scores they came with."""
_WEIGHT = "CAST(greatest(followers_count, 1) AS DOUBLE)"
"""Of a profile in a creator's mean."""
QUALITY_REASON, ANOMALY_REASON = "quality:", "anomaly:"
"""How the codes of a score's reasons begin."""


def build_gold_profiles(ctx: StepContext) -> Report:
    """Fold `gold_creator__accounts` into one row per creator in `gold_creator__profiles`."""
    types = {field.name: field.dataType for field in ctx.lake.spark_schema(GOLD_PROFILES).fields}

    def fold(read: Read) -> DataFrame:
        accounts = read(GOLD_ACCOUNTS)
        empty = {name: F.coalesce(F.col(name), F.array().cast(types[name])) for name in LISTS}
        creators = _creators(_profiles(accounts)).join(_labels(accounts), "creator_id", "left")
        return creators.withColumns(empty).select(*GOLD_PROFILES.columns)

    derive(ctx, GOLD_PROFILES, fold, inputs=(GOLD_ACCOUNTS,), key=("creator_id",))
    return Report(
        rows_in=ctx.lake.count(GOLD_ACCOUNTS),
        rows_out=ctx.lake.count(GOLD_PROFILES),
        metadata={"note": "rows in are accounts, rows out are creators"},
    )


def _profile_key() -> Column:
    """What the rows of one profile share, within a creator and platform.

    The handle where a row has one. A row without takes the key of a row whose name or handle has the same letters and
    digits as its own name: an id-only row that of a row known by handle alone, a name-only row that of any other row, or
    else of the name-only rows with the same letters.
    """
    account = F.col("platform_account_id")
    is_id, is_name = ~F.substring(account, 1, 1).isin(NO_ID, NO_HANDLE), F.substring(account, 1, 1) == NO_HANDLE
    name, handle = _compact("display_name"), _compact("handle_key")
    known = F.struct(
        F.col("handle_key").isNull().alias("has_no_handle"),
        F.coalesce("handle_key", account).alias("key"),
        is_id.alias("is_id"),
        name.alias("name"),
        handle.alias("handle"),
    )
    others = F.collect_list(F.when(~is_name, known)).over(Window.partitionBy("creator_id", "platform"))
    alike = F.filter(
        others, lambda other: ((other["name"] == name) | (other["handle"] == name)) & (is_name | ~other["is_id"])
    )
    taken = F.array_min(F.transform(alike, lambda other: F.struct(other["has_no_handle"], other["key"])))["key"]
    return F.coalesce("handle_key", taken, F.when(is_name & (name != ""), F.concat(F.lit(NO_HANDLE), name)), account)


def _compact(column: str) -> Column:
    """Letters and digits of a text, lower case."""
    return F.lower(F.regexp_replace(column, r"[^\p{L}\p{N}]", ""))


def _newest(name: str) -> Column:
    return F.max_by(name, F.when(F.col(name).isNotNull(), F.struct("observed_at", "platform_account_id"))).alias(name)


def _scored() -> Column:
    """The scores of the newest account that has a quality, else of the newest that has any score."""
    place = F.struct(F.col("quality_score").isNotNull(), "observed_at", "platform_account_id")
    is_scored = F.col("quality_score").isNotNull() | F.col("anomaly_score").isNotNull()
    return F.max_by(F.struct(*SCORED), F.when(is_scored, place)).alias("_scored")


def _profiles(accounts: DataFrame) -> DataFrame:
    keyed = accounts.withColumn("_profile_key", _profile_key())
    mark = F.substring("platform_account_id", 1, 1)
    known_by = F.when(mark == NO_HANDLE, 0).when(mark == NO_ID, 1).otherwise(2)  # name, handle, id
    best_id = F.max_by("platform_account_id", F.struct(known_by, "observed_at", "platform_account_id"))
    folded = keyed.groupBy("creator_id", "platform", "_profile_key").agg(
        _scored(),
        best_id.alias("platform_account_id"),
        *[_newest(name) for name in FOLDED],
        F.max("observed_at").alias("observed_at"),
        F.min("first_seen_at").alias("first_seen_at"),
        F.min("confidence_score").alias("identity_confidence_score"),
        F.max("has_email").alias("has_email"),
    )
    return folded.select("*", *[F.col(f"_scored.{name}").alias(name) for name in SCORED])


def _creators(profiles: DataFrame) -> DataFrame:
    """One row per creator; values and lists are folded apart (see `fold_accounts` for why) and joined in place.

    Parting the profiles by creator first lets both folds share what made them.
    """
    profiles = profiles.repartition("creator_id")
    values = profiles.groupBy("creator_id").agg(*_values())
    creators = values.join(profiles.groupBy("creator_id").agg(*_lists()), "creator_id")
    reasons = F.concat(_quality_reasons(), _anomaly_reasons()).alias("score_reasons")
    return creators.select("*", F.size("platforms").alias("platforms_count"), reasons)


def _order() -> Column:
    """Place of a profile in its creator: the largest is last."""
    size = F.coalesce(F.col("followers_count"), F.lit(-1))
    return F.struct(size, "observed_at", "platform", "platform_account_id")


def _values() -> list[Column]:
    order = _order()
    return [
        F.max_by("display_name", F.when(F.col("display_name").isNotNull(), order)).alias("display_name"),
        F.max_by("bio", F.when(F.length("bio") > 0, order)).alias("bio"),
        F.sum("followers_count").alias("followers_total_count"),
        F.max("followers_count").alias("followers_max_count"),
        _by_size("er_followers_ratio"),
        _by_size("er_views_ratio"),
        _by_size("quality_score"),
        F.max("anomaly_score").alias("anomaly_score"),
        F.max_by("score_reasons", F.when(F.col("anomaly_score").isNotNull(), F.struct("anomaly_score", order))).alias(
            "_of_anomaly"
        ),
        F.max_by("growth_90d_ratio", F.when(F.col("growth_90d_ratio").isNotNull(), order)).alias("growth_90d_ratio"),
        F.expr(fixed_sum("posts_per_week")).alias("posts_per_week"),
        F.max("last_post_at").alias("last_post_at"),
        F.coalesce(F.max("is_verified"), F.lit(False)).alias("is_verified"),
        F.coalesce(F.max("has_email"), F.lit(False)).alias("has_email"),
        F.min("identity_confidence_score").alias("identity_confidence_score"),
        F.min("first_seen_at").alias("first_seen_at"),
        F.max("observed_at").alias("observed_at"),
    ]


def _lists() -> list[Column]:
    profile = F.struct(*[F.col(field.name) for field in PROFILE])
    size = F.coalesce(F.col("followers_count"), F.lit(-1))
    row = F.struct(
        (-size).alias("s"), F.col("platform"), F.col("platform_account_id").alias("i"), profile.alias("profile")
    )
    scored = F.when(
        F.col("quality_score").isNotNull(),
        F.struct((-F.expr(_WEIGHT)).alias("w"), "platform", "platform_account_id", "score_reasons"),
    )
    return [
        F.sort_array(F.collect_set("platform")).alias("platforms"),
        F.sort_array(F.collect_set(F.lower("handle"))).alias("handles"),
        F.transform(F.sort_array(F.collect_list(row)), lambda item: item["profile"]).alias("profiles"),
        F.sort_array(F.collect_set("country_code")).alias("country_codes"),
        F.sort_array(F.collect_set("language_code")).alias("language_codes"),
        F.sort_array(F.collect_list(scored)).alias("_of_quality"),
    ]


def _quality_reasons() -> Column:
    """The profiles' reasons, each weighed as its profile in the mean, so that they add up to the creator's quality."""
    total = F.aggregate("_of_quality", F.lit(0.0), lambda sum_, item: sum_ - item["w"])

    def weighed(item: Column) -> Column:
        said = F.concat(item["platform"], F.lit(": "))
        return F.transform(
            _of_score(item["score_reasons"], QUALITY_REASON),
            lambda reason: F.struct(
                reason["code"].alias("code"),
                (reason["contribution"] * -item["w"] / total).alias("contribution"),
                reason["value"].alias("value"),
                F.when(F.size("_of_quality") == 1, reason["text"])
                .otherwise(F.concat(said, reason["text"]))
                .alias("text"),
            ),
        )

    return F.flatten(F.transform("_of_quality", weighed))


def _anomaly_reasons() -> Column:
    """The reasons of the profile that is most unusual: its score is the creator's."""
    return _of_score(F.coalesce("_of_anomaly", F.array()), ANOMALY_REASON)


def _of_score(reasons: Column, prefix: str) -> Column:
    return F.filter(reasons, lambda reason: reason["code"].startswith(prefix))


def _by_size(name: str) -> Column:
    """Mean weighted by followers; profiles without the value or without followers do not count."""
    weight = f"IF({name} IS NULL, NULL, {_WEIGHT})"
    return F.expr(f"{fixed_sum(f'{name} * {weight}')} / {fixed_sum(weight)}").alias(name)


def _labels(accounts: DataFrame) -> DataFrame:
    """Niches (mean over accounts, weight ln(2 + followers)), risks and source categories per creator."""
    followers = F.greatest(F.coalesce("followers_count", F.lit(0)), F.lit(0))
    weighted = accounts.withColumn("_weight", F.log(followers + F.lit(2.0)))
    return (
        _niches(weighted).join(_risks(weighted), "creator_id", "full").join(_categories(weighted), "creator_id", "full")
    )


def _niches(weighted: DataFrame) -> DataFrame:
    tagged = weighted.where(F.size("niches") > 0).select("creator_id", "_weight", "niches")
    totals = tagged.groupBy("creator_id").agg(F.expr(fixed_sum("_weight")).alias("_total"))
    votes = tagged.select("creator_id", "_weight", F.inline("niches"))
    scores = votes.groupBy("creator_id", "code").agg(F.expr(fixed_sum("score * _weight")).alias("_votes"))
    scored = scores.join(totals, "creator_id").withColumn("score", F.col("_votes") / F.col("_total"))
    row = F.struct((-F.col("score")).alias("order"), "code", F.struct("code", "score").alias("niche"))
    ranked = scored.groupBy("creator_id").agg(F.slice(F.sort_array(F.collect_list(row)), 1, NICHES_KEPT).alias("_rows"))
    return ranked.select(
        "creator_id",
        F.col("_rows.niche").alias("niches"),
        F.col("_rows.code").alias("niche_codes"),
        F.get("_rows", F.lit(0))["niche"]["code"].alias("niche_code"),
        F.get("_rows", F.lit(0))["niche"]["score"].alias("niche_score"),
    )


def _risks(accounts: DataFrame) -> DataFrame:
    """Per risk code the hit with the highest score."""
    hits = accounts.where(F.size("risks") > 0).select("creator_id", F.explode("risks").alias("risk"))
    worst = hits.groupBy("creator_id", F.col("risk.code").alias("code")).agg(
        F.max_by("risk", F.struct("risk.score", "risk.level", "risk.evidence")).alias("risk")
    )
    rows = F.sort_array(F.collect_list(F.struct("code", "risk"))).alias("_rows")
    return (
        worst.groupBy("creator_id")
        .agg(rows)
        .select("creator_id", F.col("_rows.risk").alias("risks"), F.col("_rows.code").alias("risk_codes"))
    )


def _categories(accounts: DataFrame) -> DataFrame:
    labels = accounts.select("creator_id", F.explode("category_labels").alias("label"))
    found = F.slice(F.sort_array(F.collect_set("label")), 1, CATEGORIES_KEPT).alias("category_labels")
    return labels.groupBy("creator_id").agg(found)
