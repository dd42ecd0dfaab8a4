"""Step: raw posts -> `silver_core__posts`, one row per post, the newest record wins as a whole.

A record that another one of the same post outdates, or repeats, is a duplicate. The state kept between runs is the
winner's place in the order, so runs over any split of the input end at the same table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.contracts.tables import BRONZE_POSTS, POSTS
from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver import bronze_rows, rows
from lakehouse.silver.erased import erased_subjects
from lakehouse.silver.newest import ORDER
from lakehouse.silver.rejected import SourceCounts, conserved_report, has_rejects, write_rejects
from lakehouse.silver.seen import Seen
from lakehouse.storage.kept import KEPT
from lakehouse.storage.keys import Keys

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.storage.lake import Lake

STAGE = "silver_posts"
_STATE = tuple(name for name in POSTS.columns if name not in POSTS.key and name != "first_seen_at")


def build_posts(ctx: StepContext) -> Report:
    """Normalise new posts, keep the newest record of each, quarantine what a rule refuses.

    Returns:
        Conserved counts per source; cursor `batches`, the newest batch of each platform.
    """
    seen = Seen.from_cursor(ctx.cursor.get("batches"))
    records = bronze_rows.new_records(ctx.lake, BRONZE_POSTS, seen)
    rows_in, newest = bronze_rows.counts_in(records)
    if not rows_in and not seen.is_nothing:
        return conserved_report({}, seen=seen)
    erased = erased_subjects(ctx.lake.objects)
    parsed = bronze_rows.parse(
        records, rows.parse_posts, columns=rows.POST_COLUMNS, pepper=ctx.settings.pepper(), erased=erased
    )
    parsed = parsed.persist(KEPT)
    winners = _winners(ctx.lake, parsed, seen=seen).persist(KEPT)
    try:
        counts = _counts(parsed, winners, rows_in)
        if seen.is_nothing or has_rejects(counts):
            write_rejects(ctx.lake, parsed, stage=STAGE, is_rebuild=seen.is_nothing)
        _write(ctx.lake, winners.select(*POSTS.columns), is_rebuild=seen.is_nothing)
    finally:
        winners.unpersist()
        parsed.unpersist()
    return conserved_report(counts, seen=seen.advanced(newest))


def fold_posts(records: DataFrame) -> DataFrame:
    """Newest row of each post with the earliest `first_seen_at` and whether it is new (`is_new`)."""
    order = F.struct(*(F.col(name) for name in ORDER))
    state = F.struct(*_STATE, "is_new")
    folded = records.groupBy(*POSTS.key).agg(
        F.max_by(state, order).alias("newest"), F.min("first_seen_at").alias("first_seen_at")
    )
    return folded.select(*POSTS.key, "newest.*", "first_seen_at")


def _winners(lake: Lake, parsed: DataFrame, *, seen: Seen) -> DataFrame:
    new = parsed.where(~F.col("is_refused")).withColumn("first_seen_at", F.col("landed_at"))
    new = new.select(*POSTS.columns, "record_seq", F.lit(True).alias("is_new"))
    if seen.is_nothing:
        return fold_posts(new)
    old = lake.read_of(POSTS, Keys.of_frame(new.select(*POSTS.key)))
    # Rows that an interrupted run wrote lose against the same records read again.
    old = old.select(*POSTS.columns, F.lit(-1).cast("long").alias("record_seq"), F.lit(False).alias("is_new"))
    return fold_posts(new.unionByName(old))


def _write(lake: Lake, winners: DataFrame, *, is_rebuild: bool) -> None:
    if is_rebuild:
        lake.replace(POSTS, winners)
    else:
        lake.upsert(POSTS, winners)


def _counts(parsed: DataFrame, winners: DataFrame, rows_in: dict[str, int]) -> dict[str, SourceCounts]:
    refused = F.col("is_refused").cast("int")
    stopped = parsed.groupBy("source_code").agg(
        F.lit(0).cast("long").alias("out"),
        F.sum(refused).alias("refused"),
        F.sum(F.size("rejects") - refused).alias("fields"),
    )
    zero = F.lit(0).cast("long")
    kept = winners.where("is_new").groupBy("source_code").agg(F.count(F.lit(1)).alias("out"))
    kept = kept.select("source_code", "out", zero.alias("refused"), zero.alias("fields"))
    both = (
        stopped.unionByName(kept)
        .groupBy("source_code")
        .agg(*(F.sum(name).alias(name) for name in ("out", "refused", "fields")))
    )
    parts = {row["source_code"]: row for row in both.collect()}
    return {
        source: SourceCounts(count, parts[source]["refused"], parts[source]["out"], parts[source]["fields"])
        for source, count in rows_in.items()
    }
