"""Step: raw profile records -> `_silver_core__observations`, append-only in meaning, one row per distinct record.

Whatever landed after the cursor is rebuilt as one slice, so a run that died after its write and
one that did not end at the same rows and the same counts.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.contracts.tables import BRONZE_PROFILES, OBSERVATIONS
from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver import bronze_rows, rows
from lakehouse.silver.erased import erased_subjects
from lakehouse.silver.rejected import SourceCounts, conserved_report, has_rejects, write_rejects
from lakehouse.silver.seen import Seen
from lakehouse.storage.kept import KEPT
from lakehouse.storage.keys import Keys, frame_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.storage.lake import Lake

STAGE = "silver_profiles"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def build_observations(ctx: StepContext) -> Report:
    """Normalise new profile records; drop repeated ones; quarantine what a rule refuses.

    Returns:
        Conserved counts per source; cursor `batches`, the newest batch of each platform.
    """
    seen = Seen.from_cursor(ctx.cursor.get("batches"))
    records = bronze_rows.new_records(ctx.lake, BRONZE_PROFILES, seen)
    rows_in, newest = bronze_rows.counts_in(records)
    if not rows_in and not seen.is_nothing:
        return conserved_report({}, seen=seen)
    fresh = _unknown(ctx.lake, bronze_rows.first_of_each(records), seen)
    erased = erased_subjects(ctx.lake.objects)
    parsed = bronze_rows.parse(
        fresh, rows.parse_profiles, columns=rows.PROFILE_COLUMNS, pepper=ctx.settings.pepper(), erased=erased
    )
    parsed = parsed.persist(KEPT)
    try:
        counts = _counts(parsed, rows_in)
        if seen.is_nothing or has_rejects(counts):
            write_rejects(ctx.lake, parsed, stage=STAGE, is_rebuild=seen.is_nothing)
        kept = parsed.where(~F.col("is_refused")).select(*OBSERVATIONS.columns)
        ctx.lake.replace_where(OBSERVATIONS, kept, predicate=seen.predicate())
    finally:
        parsed.unpersist()
    return conserved_report(counts, seen=seen.advanced(newest))


def _unknown(lake: Lake, records: DataFrame, seen: Seen) -> DataFrame:
    """Records whose content is not yet in the table.

    The same content has the same time of observation, so only files of the table with such times are read.
    """
    if seen.is_nothing:
        return records
    ids = Keys.of_frame(records.select("record_id"))
    micros = records.agg(F.unix_micros(F.min("observed_at")), F.unix_micros(F.max("observed_at"))).collect()[0]
    span = "observed_at BETWEEN TIMESTAMP '{}' AND TIMESTAMP '{}'".format(*(_literal(moment) for moment in micros))
    where = f"NOT ({seen.predicate()}) AND {span}"
    found = lake.pick(OBSERVATIONS, where=where, keys=ids, columns=("record_id",))
    if found is not None and not found.num_rows:
        return records
    known = lake.read(OBSERVATIONS).where(where).select("record_id") if found is None else frame_of(lake.spark, found)
    return records.join(known, "record_id", "left_anti")


def _literal(micros: int) -> str:
    """A point in time, in microseconds since 1970, as SQL writes it whatever the session's time zone."""
    return (EPOCH + timedelta(microseconds=micros)).isoformat(sep=" ")


def _counts(parsed: DataFrame, rows_in: dict[str, int]) -> dict[str, SourceCounts]:
    refused = F.col("is_refused").cast("int")
    found = parsed.groupBy("source_code").agg(
        F.sum(refused).alias("refused"),
        F.sum(1 - refused).alias("out"),
        F.sum(F.size("rejects") - refused).alias("fields"),
    )
    parts = {row["source_code"]: row for row in found.collect()}
    return {
        source: SourceCounts(count, parts[source]["refused"], parts[source]["out"], parts[source]["fields"])
        if source in parts
        else SourceCounts(count, 0, 0, 0)
        for source, count in rows_in.items()
    }
