"""The last step: the newest export becomes the current snapshot. The one place where a step meets the index build."""

from __future__ import annotations

from datetime import timedelta

from assets.names import EXPORT
from index_build.build import fingerprint
from index_build.lake import Rules, publish_export
from index_build.publish import is_stored_whole, read_current
from index_build.spec import IndexSpec
from lakehouse.contracts.layout import progress_key
from lakehouse.errors import NotFoundError
from lakehouse.gold.export import collect_exports, exported_rows
from lakehouse.ops.steps import Cursor, Report, StepContext
from lakehouse.settings import Settings
from lakehouse.silver.erased import last_erasure
from lakehouse.storage.lake import Lake

SPEC = IndexSpec()


def build_snapshot(ctx: StepContext) -> Report:
    """Build, measure, verify and publish the snapshot of the newest export."""
    export_id = ((ctx.lake.objects.read_json(progress_key(EXPORT)) or {}).get("cursor") or {}).get("version")
    if export_id is None:
        raise NotFoundError("There is no export yet; run the pipeline first.")
    scratch = ctx.settings.home / "index_build"
    outdated = last_erasure(ctx.lake.objects)
    manifest = publish_export(
        ctx.lake.objects,
        export_id,
        scratch=scratch,
        spec=SPEC,
        rules=Rules(ctx.settings.snapshots_kept, outdated, timedelta(days=ctx.settings.index_full_days)),
        log=ctx.log,
    )
    collect_exports(ctx.lake.objects, current=export_id, outdated=outdated)
    return Report(
        rows_in=exported_rows(ctx.lake.objects, export_id),
        rows_out=manifest.creators_count,
        conserves=True,
        metadata={
            "snapshot_id": manifest.snapshot_id,
            "index_kind": manifest.shape.kind,
            "recall": manifest.recall.minimum,
            "shards": len(manifest.shards),
            "bytes": sum(file.size_bytes for file in manifest.files()),
        },
        cursor={"version": manifest.snapshot_id},
    )


def is_snapshot_there(lake: Lake, _cursor: Cursor) -> bool:
    """Whether CURRENT points at a whole snapshot, whichever it is."""
    current = read_current(lake.objects)
    return current is not None and is_stored_whole(lake.objects, current.snapshot_id)


def snapshot_fingerprint(_lake: Lake, _settings: Settings) -> str:
    """What a snapshot depends on besides its export. A rollback is a decision and is not undone by the next run."""
    return fingerprint(SPEC)
