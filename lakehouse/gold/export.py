"""Gold as plain Parquet for the index build, DuckDB and anyone: `{lake}/exports/{export_id}/`, `export.json` last.

The id is derived from the source tables' states, so the same state exports to the same place and a killed export is
simply written again.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from lakehouse.contracts.layout import EXPORTS, export_key
from lakehouse.contracts.tables import (
    CREATOR_ALIASES,
    GOLD_ACCOUNTS,
    GOLD_EVIDENCE,
    GOLD_METRICS,
    POSTS,
    SEARCH_DOCS,
    TableSpec,
)
from lakehouse.crash import AFTER_DATA, MID_DATA, crashpoint, point
from lakehouse.encoder import model_id_of
from lakehouse.gold.accounts import KEY
from lakehouse.ops.steps import Cursor, Report, StepContext
from lakehouse.storage.lake import Lake
from lakehouse.storage.objects import ObjectStore

if TYPE_CHECKING:
    from datetime import datetime

    from pyspark.sql import DataFrame

FORMAT = "3"
"""Raised when the layout of an export changes."""
DESCRIPTION = "export.json"
SIDE = {
    "accounts": GOLD_ACCOUNTS,
    "history": GOLD_METRICS,
    "aliases": CREATOR_ALIASES,
    "evidence": GOLD_EVIDENCE,
}
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
STEP = "gold_export"
"""Name of the step in crash points."""
SOURCES = (SEARCH_DOCS, *SIDE.values(), POSTS)


def export_id(states: dict[str, str | None]) -> str:
    """Id of an export of tables in these states."""
    body = json.dumps({"format": FORMAT, "states": states}, sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def build_export(ctx: StepContext) -> Report:
    """Write the export of the current gold tables unless it is already complete."""
    versions = {spec.name: ctx.lake.version(spec.name) or 0 for spec in SOURCES}
    export = export_id({spec.name: ctx.lake.state(spec.name) for spec in SOURCES})
    done = ctx.lake.objects.read_json(export_key(export, DESCRIPTION))
    if done is None:
        done = _write(ctx, export, versions)
    return Report(
        rows_in=ctx.lake.count(SEARCH_DOCS),
        rows_out=done["rows"]["docs"],
        conserves=True,
        metadata={"export_id": export, **{f"{name}_rows": count for name, count in done["rows"].items()}},
        cursor={"version": export},
    )


def is_export_there(lake: Lake, cursor: Cursor) -> bool:
    """Whether the export that a cursor names is complete."""
    return lake.objects.exists(export_key(cursor["version"], DESCRIPTION))


def exported_rows(objects: ObjectStore, export: str) -> int:
    """Searchable creators in a complete export."""
    description = objects.read_json(export_key(export, DESCRIPTION)) or {"rows": {"docs": 0}}
    return int(description["rows"]["docs"])


def collect_exports(
    objects: ObjectStore, *, current: str, kept: str | None = None, outdated: datetime | None = None
) -> list[str]:
    """Remove all exports but the current one, one that is `kept`, and the newest of the others, which somebody may still be reading.

    One written before `outdated` goes even then: it names somebody who asked to be forgotten.

    Returns:
        Ids removed, sorted.
    """
    written: dict[str, datetime] = {}
    for info in objects.list(EXPORTS):
        name = info.key.split("/")[1]
        written[name] = max(written.get(name, info.modified_at), info.modified_at)
    others = sorted((name for name in written if name not in (current, kept)), key=lambda name: written[name])
    spare = sorted(
        name for name in written if name in others[:-1] or (name != current and outdated and written[name] < outdated)
    )
    for name in spare:
        objects.delete(
            export_key(name, DESCRIPTION)
        )  # first, so that a killed removal leaves nothing that looks complete
        for info in list(objects.list(export_key(name, "").rstrip("/"))):
            objects.delete(info.key)
    return spare


def _write(ctx: StepContext, export: str, versions: dict[str, int]) -> dict[str, object]:
    pinned = {spec.name: _pinned(ctx, spec, versions) for spec in SOURCES}
    docs = pinned[SEARCH_DOCS.name]
    frames = {"docs": docs} | {name: pinned[spec.name] for name, spec in SIDE.items()}
    frames["posts"] = _posts(pinned[POSTS.name], pinned[GOLD_ACCOUNTS.name])
    for name, frame in frames.items():
        target = ctx.lake.layout.spark_uri(export_key(export, name))
        frame.write.mode("overwrite").option("maxRecordsPerFile", ROWS_PER_FILE).parquet(target)
        crashpoint(point(STEP, MID_DATA))
    written = {
        name: ctx.lake.spark.read.parquet(ctx.lake.layout.spark_uri(export_key(export, name))) for name in frames
    }
    newest = F.date_format(F.max("observed_at"), "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'")  # in the session's zone, UTC
    summary = docs.agg(newest.alias("as_of"), F.max(F.size("vector")).alias("dimensions")).first()
    description = {
        "export_id": export,
        "as_of": (summary["as_of"] if summary else None) or "",
        "model_id": model_id_of(ctx.settings.encoder_model),
        "dimensions": summary["dimensions"] if summary else None,
        "source_tables": versions,
        "rows": {name: frame.count() for name, frame in written.items()},
    }
    crashpoint(point(STEP, AFTER_DATA))
    ctx.lake.objects.put_once(export_key(export, DESCRIPTION), json.dumps(description, sort_keys=True).encode())
    return description


def _pinned(ctx: StepContext, spec: TableSpec, versions: dict[str, int]) -> DataFrame:
    """A source at the version that the export names; a table that was never written is empty."""
    is_written = ctx.lake.version(spec.name) is not None
    return ctx.lake.read(spec, version=versions[spec.name] if is_written else None)


def _posts(posts: DataFrame, accounts: DataFrame) -> DataFrame:
    """Newest posts of each account, with its creator."""
    newest = Window.partitionBy(*KEY).orderBy(F.col("published_at").desc_nulls_last(), "post_id")
    ranked = posts.withColumn("_rank", F.row_number().over(newest))
    creators = accounts.select(*KEY, "creator_id")
    return ranked.where(F.col("_rank") <= POSTS_PER_ACCOUNT).join(creators, KEY).select("creator_id", *POST_COLUMNS)
