"""Rejects of normalised rows -> quarantine, and the counts that prove that nothing vanished. Spark.

Entries are keyed by record, field and reason, so a repeated run leaves the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse.contracts.tables import QUARANTINE
from lakehouse.ops.steps import Report
from lakehouse.silver.rules import REASON_TEXTS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lakehouse.silver.seen import Seen
    from lakehouse.storage.lake import Lake


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """Rows of one source: read, refused whole, kept; single fields refused."""

    rows_in: int
    refused: int
    out: int
    fields_refused: int

    @property
    def as_dict(self) -> dict[str, int]:
        """The four conserved counts."""
        duplicate = self.rows_in - self.refused - self.out
        return {"in": self.rows_in, "out": self.out, "quarantined": self.refused, "duplicate": duplicate}


def write_rejects(lake: Lake, parsed: DataFrame, *, stage: str, is_rebuild: bool) -> None:
    """Add the rejects of `parsed` to the quarantine; a rebuild replaces everything that the stage had stopped."""
    entries = quarantine_rows(parsed, stage=stage)
    if is_rebuild:
        lake.replace_where(QUARANTINE, entries, predicate=f"stage_code = '{stage}'")
    else:
        lake.upsert(QUARANTINE, entries)


def quarantine_rows(parsed: DataFrame, *, stage: str) -> DataFrame:
    """One quarantine entry per refused field or row."""
    entries = parsed.where(F.size("rejects") > 0).withColumn("reject", F.explode("rejects"))
    entries = entries.select("*", "reject.field_name", "reject.reason_code", "reject.raw_value")
    texts = F.create_map(*(F.lit(part) for pair in REASON_TEXTS.items() for part in pair))
    place = ("platform", "batch_seq", "record_seq", "reason_code")
    identity: list[Column] = [F.lit(stage), *(F.col(name).cast("string") for name in place)]
    return entries.select(
        F.sha2(F.concat_ws("|", *identity, F.coalesce("field_name", F.lit(""))), 256).alias("quarantine_id"),
        F.lit(stage).alias("stage_code"),
        "source_code",
        "file_name",
        "line_number",
        "field_name",
        "reason_code",
        F.coalesce(texts[F.col("reason_code")], F.col("reason_code")).alias("reason_text"),
        "raw_value",
        F.when(F.col("field_name").isNull(), 1).otherwise(0).cast("long").alias("rows_count"),
        "batch_seq",
        "landed_at",
    )


def has_rejects(counts: dict[str, SourceCounts]) -> bool:
    """Whether anything was refused."""
    return any(entry.refused or entry.fields_refused for entry in counts.values())


def conserved_report(counts: dict[str, SourceCounts], *, seen: Seen) -> Report:
    """Report of a step whose rows in equal rows out, quarantined and duplicate, per source and in all."""
    by_source = {source: entry.as_dict for source, entry in sorted(counts.items())}
    total = {
        name: sum(entry[name] for entry in by_source.values()) for name in ("in", "out", "quarantined", "duplicate")
    }
    return Report(
        rows_in=total["in"],
        rows_out=total["out"],
        rows_quarantined=total["quarantined"],
        rows_duplicate=total["duplicate"],
        conserves=True,
        by_source=by_source,
        metadata={
            "fields_quarantined": sum(entry.fields_refused for entry in counts.values()),
        },
        cursor={"batches": seen.as_cursor},
    )
