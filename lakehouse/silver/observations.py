"""Step: raw profile records -> `_silver_core__observations`, append-only in meaning, one row per distinct record.

Whatever landed after the cursor is rebuilt as one slice (`batch_seq > cursor`), so a run that died after its write and
one that did not end at the same rows and the same counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark import StorageLevel
from pyspark.sql import functions as F

from lakehouse.contracts.tables import BRONZE_PROFILES, OBSERVATIONS
from lakehouse.ops.steps import Report, StepContext
from lakehouse.silver import bronze_rows, rows
from lakehouse.silver.rejected import SourceCounts, conserved_report, write_rejects

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.storage.lake import Lake

STAGE = "silver_profiles"


def build_observations(ctx: StepContext) -> Report:
    """Normalise new profile records; drop repeated ones; quarantine what a rule refuses.

    Returns:
        Conserved counts per source; cursor `batch_seq` of the newest batch seen.
    """
    since = int(ctx.cursor.get("batch_seq", 0))
    records = bronze_rows.new_records(ctx.lake, BRONZE_PROFILES, since=since)
    rows_in, newest = bronze_rows.counts_in(records)
    if not rows_in and since:
        return conserved_report({}, batch_seq=since, metadata={})
    fresh = _unknown(ctx.lake, bronze_rows.first_of_each(records), since=since)
    parsed = bronze_rows.parse(fresh, rows.parse_profiles, columns=rows.PROFILE_COLUMNS, pepper=ctx.settings.pepper())
    parsed = parsed.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        counts = _counts(parsed, rows_in)
        _write(ctx.lake, parsed, since=since, has_rejects=_has_rejects(counts))
    finally:
        parsed.unpersist()
    return conserved_report(counts, batch_seq=max(since, newest), metadata={})


def _unknown(lake: Lake, records: DataFrame, *, since: int) -> DataFrame:
    """Records whose content is not yet in the table."""
    if since <= 0:
        return records
    known = lake.read(OBSERVATIONS).where(F.col("batch_seq") <= since).select("record_id")
    return records.join(known, "record_id", "left_anti")


def _write(lake: Lake, parsed: DataFrame, *, since: int, has_rejects: bool) -> None:
    if has_rejects:
        write_rejects(lake, parsed, stage=STAGE, since=since)
    kept = parsed.where(~F.col("is_refused")).select(*OBSERVATIONS.columns)
    lake.replace_where(OBSERVATIONS, kept, predicate=f"batch_seq > {since}")


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


def _has_rejects(counts: dict[str, SourceCounts]) -> bool:
    return any(entry.refused or entry.fields_refused for entry in counts.values())
