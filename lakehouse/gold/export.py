"""Gold as plain Parquet for the index build, DuckDB and anyone: `{lake}/exports/{export_id}/`, `export.json` last.

The id is derived from the source tables' versions, so the same state exports to the same place and a killed export is
simply written again.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from lakehouse.contracts.layout import export_key
from lakehouse.contracts.tables import CREATOR_ALIASES, GOLD_ACCOUNTS, GOLD_METRICS, POSTS, SEARCH_DOCS
from lakehouse.encoder import model_id_of
from lakehouse.gold.accounts import KEY
from lakehouse.ops.steps import Report, StepContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FORMAT = "1"
"""Raised when the layout of an export changes."""
DESCRIPTION = "export.json"
SIDE = {"accounts": GOLD_ACCOUNTS, "history": GOLD_METRICS, "aliases": CREATOR_ALIASES}
POSTS_PER_ACCOUNT = 12
"""Posts per account that a profile page shows."""
POST_COLUMNS = (
    "platform",
    "platform_account_id",
    "post_id",
    "published_at",
    "title",
    "caption",
    "views_count",
    "likes_count",
    "comments_count",
    "shares_count",
)
ROWS_PER_FILE = 1_000_000
SOURCES = (SEARCH_DOCS, *SIDE.values(), POSTS)


def export_id(versions: dict[str, int]) -> str:
    """Id of an export of these table versions."""
    body = json.dumps({"format": FORMAT, "versions": versions}, sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def build_export(ctx: StepContext) -> Report:
    """Write the export of the current gold tables unless it is already complete."""
    versions = {spec.name: ctx.lake.version(spec.name) or 0 for spec in SOURCES}
    export = export_id(versions)
    done = ctx.lake.objects.read_json(export_key(export, DESCRIPTION))
    if done is None:
        done = _write(ctx, export, versions)
    return Report(
        rows_in=done["rows"]["docs"],
        rows_out=done["rows"]["docs"],
        metadata={"export_id": export, **{f"{name}_rows": count for name, count in done["rows"].items()}},
        cursor={"version": export},
    )


def _write(ctx: StepContext, export: str, versions: dict[str, int]) -> dict[str, object]:
    docs = ctx.lake.read(SEARCH_DOCS, version=versions[SEARCH_DOCS.name])
    frames = {"docs": docs} | {name: ctx.lake.read(spec) for name, spec in SIDE.items()} | {"posts": _posts(ctx)}
    for name, frame in frames.items():
        target = ctx.lake.layout.spark_uri(export_key(export, name))
        frame.write.mode("overwrite").option("maxRecordsPerFile", ROWS_PER_FILE).parquet(target)
    written = {
        name: ctx.lake.spark.read.parquet(ctx.lake.layout.spark_uri(export_key(export, name))) for name in frames
    }
    summary = docs.agg(F.max("observed_at").alias("as_of"), F.max(F.size("vector")).alias("dimensions")).first()
    description = {
        "export_id": export,
        "as_of": summary["as_of"].isoformat() + "Z" if summary and summary["as_of"] else "",
        "model_id": model_id_of(ctx.settings.encoder_model),
        "dimensions": summary["dimensions"] if summary else None,
        "source_tables": versions,
        "rows": {name: frame.count() for name, frame in written.items()},
    }
    ctx.lake.objects.put_once(export_key(export, DESCRIPTION), json.dumps(description, sort_keys=True).encode())
    return description


def _posts(ctx: StepContext) -> DataFrame:
    """Newest posts of each account, with its creator."""
    newest = Window.partitionBy(*KEY).orderBy(F.col("published_at").desc_nulls_last(), "post_id")
    ranked = ctx.lake.read(POSTS).withColumn("_rank", F.row_number().over(newest))
    creators = ctx.lake.read(GOLD_ACCOUNTS).select(*KEY, "creator_id")
    return ranked.where(F.col("_rank") <= POSTS_PER_ACCOUNT).join(creators, KEY).select("creator_id", *POST_COLUMNS)
