"""Landing objects into append-only Delta: payload and envelope, nothing interpreted. Spark reads, `lake.py` writes.

A landing line ends with its payload, so the payload is cut out as the exact text it is: escapes of NUL and lone
surrogates survive, and no JSON parser comes near it before silver.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from lakehouse.bronze.objects import DAMAGE, Damage, Part, quarantine_parts, record_parts, sift
from lakehouse.contracts.payload import POST, PROFILE
from lakehouse.contracts.tables import BRONZE_POSTS, BRONZE_PROFILES, QUARANTINE, TableSpec
from lakehouse.ingest.batches import Batch, read_batches
from lakehouse.ops.alerts import POISON_OBJECT, raise_alert
from lakehouse.ops.steps import Report, StepContext
from lakehouse.storage.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

STAGE = "bronze"
PAYLOAD_MARK = ',"payload":'
"""Where the payload starts. Inside a JSON string every quote is escaped, so the first occurrence is the field itself."""
LANDING_KEY = r"(landing/(?:[a-z]+/\d{4}/\d{2}/\d{2}|_quarantine)/[^/]+)$"
"""The key of a landing object at the end of the URI that Spark gives."""
GLOB_SIGNS = re.compile(r"([\[\]{}*?\\])")
"""Signs that Hadoop takes for patterns in a path."""
ENVELOPE_SCHEMA = (
    "record_id string, source_code string, platform string, record_type string, observed_at string, "
    "file_name string, line_number bigint, record_seq bigint"
)
ENTRY_SCHEMA = (
    "quarantine_id string, stage_code string, source_code string, file_name string, line_number bigint, "
    "field_name string, reason_code string, reason_text string, raw_value string, rows_count bigint"
)

_KINDS = {
    **{spec.name: (platform, PROFILE) for platform, spec in BRONZE_PROFILES.items()},
    **{spec.name: (platform, POST) for platform, spec in BRONZE_POSTS.items()},
}


def build_bronze(spec: TableSpec) -> Callable[[StepContext], Report]:
    """The step function that appends a platform's landed records of one type to its bronze table.

    Args:
        spec: one of `BRONZE_PROFILES` or `BRONZE_POSTS`.
    """
    platform, record_type = _KINDS[spec.name]

    def build(ctx: StepContext) -> Report:
        batches = _new_batches(ctx)
        parts = record_parts(batches, platform=platform, record_type=record_type)
        seen = _newest_loaded(ctx, spec) if parts else 0
        parts = [part for part in parts if part.batch_seq > seen]
        sound, damaged = sift(ctx.lake.objects, parts)
        if damaged:
            withhold(ctx, damaged)
        if sound:
            ctx.lake.append(spec, read_records(ctx.lake, spec, sound), batch_seq=parts[-1].batch_seq)
        report = _report(ctx, batches, sound, damaged)
        return replace(report, cursor=report.cursor | {"table_version": ctx.lake.version(spec.name)})

    return build


def build_quarantine(ctx: StepContext) -> Report:
    """Merge the landing stage's quarantine entries into the table that all stages share."""
    batches = _new_batches(ctx)
    parts = quarantine_parts(batches)
    sound, damaged = sift(ctx.lake.objects, parts)
    if damaged:
        withhold(ctx, damaged)
    if sound:
        ctx.lake.upsert(QUARANTINE, read_entries(ctx.lake, sound))
    return _report(ctx, batches, sound, damaged)


def withhold(ctx: StepContext, damaged: Sequence[Damage]) -> None:
    """Put damaged objects into the quarantine with their reasons and tell somebody; everything else goes on."""
    rows = [_entry_of(damage) for damage in damaged]
    schema = ctx.lake.spark_schema(QUARANTINE)
    ctx.lake.upsert(QUARANTINE, ctx.lake.spark.createDataFrame(rows, schema))
    for damage in damaged:
        ctx.log(damage.text)
        raise_alert(ctx.lake.objects, ctx.settings, kind=POISON_OBJECT, subject=damage.part.path, text=damage.text)


def _entry_of(damage: Damage) -> tuple[object, ...]:
    """A quarantine row; its id is made of the object and the reason, so a repeated run leaves the same one."""
    part = damage.part
    values = {
        "quarantine_id": hashlib.sha256(f"{STAGE}|{part.path}|{damage.code}".encode()).hexdigest(),
        "stage_code": STAGE,
        "source_code": part.source_code,
        "file_name": part.path,
        "reason_code": damage.code,
        "reason_text": DAMAGE[damage.code],
        "rows_count": part.lines_count,
        "batch_seq": part.batch_seq,
        "landed_at": datetime.fromisoformat(part.landed_at),
    }
    return tuple(values.get(name) for name in QUARANTINE.columns)


def read_records(lake: Lake, spec: TableSpec, parts: Sequence[Part]) -> DataFrame:
    """Landing objects as rows of a bronze table; a line that is no record leaves nulls, which the lake refuses."""
    from pyspark.sql import functions as F

    raw = _lines(lake, parts)  # first: expressions need a running session
    value = F.col("value")
    mark = F.instr(value, PAYLOAD_MARK)
    head = F.from_json(F.concat(F.substring(value, F.lit(1), mark - 1), F.lit("}")), ENVELOPE_SCHEMA)
    start = mark + len(PAYLOAD_MARK)
    payload = F.substring(value, start, F.length(value) - start)
    lines = raw.select("landing_path", "batch_seq", "landed_at", payload.alias("payload"), head.alias("head"))
    plain = lines.select("landing_path", "batch_seq", "landed_at", "payload", "head.*")
    return plain.withColumn("observed_at", _timestamp(F.col("observed_at"))).select(*spec.columns)


def read_entries(lake: Lake, parts: Sequence[Part]) -> DataFrame:
    """Quarantine objects as rows of the quarantine table."""
    from pyspark.sql import functions as F

    raw = _lines(lake, parts)  # first: expressions need a running session
    entry = F.from_json(F.col("value"), ENTRY_SCHEMA).alias("entry")
    return raw.select("batch_seq", "landed_at", entry).select("entry.*", "batch_seq", "landed_at")


def _lines(lake: Lake, parts: Sequence[Part]) -> DataFrame:
    """Every line of the objects with the key, the batch and the landing time of its object."""
    from pyspark.sql import functions as F

    spark = lake.spark
    paths = [GLOB_SIGNS.sub(r"\\\1", lake.layout.spark_uri(part.path)) for part in parts]
    known = [(part.path, part.batch_seq, part.landed_at) for part in parts]
    batches = spark.createDataFrame(known, "landing_path string, batch_seq bigint, landed_at string")
    batches = batches.withColumn("landed_at", _timestamp(F.col("landed_at")))
    key = F.regexp_extract(F.col("_metadata.file_path"), LANDING_KEY, 1).alias("landing_path")
    lines = spark.read.text(paths, lineSep="\n").select("value", key)
    return lines.join(F.broadcast(batches), "landing_path", "left")


def _timestamp(text: Column) -> Column:
    """ISO 8601 text with Z as a timestamp."""
    return text.cast("timestamp")


def _newest_loaded(ctx: StepContext, spec: TableSpec) -> int:
    """Newest batch in the table. The cursor knows it unless somebody wrote since: a run that was killed after its append."""
    if ctx.cursor.get("table_version", -1) == ctx.lake.version(spec.name):
        return int(ctx.cursor["batch_seq"])
    return ctx.lake.max_value(spec, "batch_seq")


def _new_batches(ctx: StepContext) -> list[Batch]:
    return list(read_batches(ctx.lake.objects, int(ctx.cursor.get("batch_seq", 0))))


def _report(ctx: StepContext, batches: Sequence[Batch], parts: Sequence[Part], damaged: Sequence[Damage]) -> Report:
    """What was loaded. Counts are the verified line counts: the load itself is all or nothing."""
    by_source: dict[str, dict[str, int]] = {}
    for part in parts:
        counts = by_source.setdefault(part.source_code, {"in": 0, "out": 0, "quarantined": 0, "duplicate": 0})
        counts["in"] += part.lines_count
        counts["out"] += part.lines_count
    for part in (damage.part for damage in damaged):
        counts = by_source.setdefault(part.source_code, {"in": 0, "out": 0, "quarantined": 0, "duplicate": 0})
        counts["in"] += part.lines_count
        counts["quarantined"] += part.lines_count
    total = sum(part.lines_count for part in parts)
    withheld = sum(damage.part.lines_count for damage in damaged)
    newest = batches[-1].batch_seq if batches else int(ctx.cursor.get("batch_seq", 0))
    return Report(
        rows_in=total + withheld,
        rows_out=total,
        rows_quarantined=withheld,
        conserves=True,
        by_source=by_source,
        metadata={"objects": len(parts), "batches": len({part.batch_seq for part in parts})},
        cursor={"batch_seq": newest},
    )
