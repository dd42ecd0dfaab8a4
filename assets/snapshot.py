"""The last step: the newest export becomes the current snapshot. The one place where steps and assets meet the index build."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from assets.names import EXPORT
from index_build.apart import ShardName, is_built, read_plan
from index_build.build import fingerprint
from index_build.lake import Rules, publish_export
from index_build.publish import is_stored_whole, read_current
from index_build.runs import build_apart
from index_build.spec import IndexSpec
from lakehouse.contracts.layout import progress_key
from lakehouse.errors import NotFoundError
from lakehouse.gold.export import collect_exports, exported_rows
from lakehouse.ops.steps import Cursor, Report, StepContext
from lakehouse.settings import Settings
from lakehouse.silver.erased import last_erasure
from lakehouse.storage.lake import Lake
from lakehouse.storage.objects import ObjectStore


def spec_of(settings: Settings) -> IndexSpec:
    """What is built."""
    return IndexSpec(shard_max_rows=settings.index_shard_rows)


def newest_export(objects: ObjectStore) -> str:
    """Id of the newest complete export.

    Raises:
        NotFoundError: there is none yet.
    """
    export_id = ((objects.read_json(progress_key(EXPORT)) or {}).get("cursor") or {}).get("version")
    if export_id is None:
        raise NotFoundError("There is no export yet; run the pipeline first.")
    return str(export_id)


def build_snapshot(ctx: StepContext) -> Report:
    """Build, measure, verify and publish the snapshot of the newest export."""
    objects, settings = ctx.lake.objects, ctx.settings
    export_id, outdated = newest_export(objects), last_erasure(objects)
    rules = Rules(
        settings.snapshots_kept, outdated, timedelta(days=settings.index_full_days), is_apart=settings.index_apart
    )
    manifest = publish_export(
        objects, export_id, scratch=scratch_of(settings), spec=spec_of(settings), rules=rules, log=ctx.log
    )
    plan = read_plan(objects)
    collect_exports(objects, current=export_id, kept=None if plan is None else plan.export_id, outdated=outdated)
    rows = exported_rows(objects, export_id)
    if manifest is None:
        return Report(rows_in=rows, metadata={"waits_for": "runs that build its shards"})
    return Report(
        rows_in=rows,
        rows_out=manifest.creators_count,
        conserves=manifest.export_id == export_id,
        metadata={
            "snapshot_id": manifest.snapshot_id,
            "index_kind": manifest.shape.kind,
            "recall": manifest.recall.minimum,
            "shards": len(manifest.shards),
            "bytes": sum(file.size_bytes for file in manifest.files()),
        },
        cursor={"version": manifest.snapshot_id},
    )


def build_shard(
    objects: ObjectStore, settings: Settings, build_id: str, name: ShardName, log: Callable[[str], None]
) -> bool:
    """Build a shard of the full build that is under way; whether it is there then."""
    outdated = last_erasure(objects)
    scratch, spec = scratch_of(settings), spec_of(settings)
    return build_apart(objects, build_id, name, scratch=scratch, spec=spec, outdated=outdated, log=log)


def scratch_of(settings: Settings) -> Path:
    """Where builds work."""
    return settings.home / "index_build"


def is_snapshot_there(lake: Lake, cursor: Cursor) -> bool:
    """Whether CURRENT points at a whole snapshot, whichever it is, and this step waits for no shards and no shards wait for it.

    Shards wait after a rollback until there is a newer export: it is a decision, and what was served before it does not come back by itself.
    """
    current = read_current(lake.objects)
    if current is None or "version" not in cursor or not is_stored_whole(lake.objects, current.snapshot_id):
        return False
    plan = read_plan(lake.objects)
    return current.snapshot_id != cursor["version"] or plan is None or not is_built(lake.objects, plan)


def snapshot_fingerprint(_lake: Lake, settings: Settings) -> str:
    """What a snapshot depends on besides its export. A rollback is a decision and is not undone by the next run."""
    return fingerprint(spec_of(settings))
