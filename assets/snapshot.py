"""The step that turns the newest export into the current snapshot. Thin: the work is `index_build.lake`."""

from __future__ import annotations

from index_build.lake import fingerprint, publish_export
from index_build.spec import IndexSpec
from lakehouse.contracts.layout import progress_key
from lakehouse.errors import NotFoundError
from lakehouse.ops.steps import Report, StepContext
from lakehouse.settings import Settings
from lakehouse.storage.lake import Lake

EXPORT_STEP = "gold_export"


def build_snapshot_step(ctx: StepContext) -> Report:
    """Build and publish the snapshot of the newest export.

    Raises:
        NotFoundError: nothing was exported yet.
    """
    record = ctx.lake.objects.read_json(progress_key(EXPORT_STEP)) or {}
    export_id = record.get("cursor", {}).get("version")
    if not export_id:
        raise NotFoundError("There is no export to index yet; run the export first.")
    scratch = ctx.settings.home / "scratch"
    manifest = publish_export(ctx.lake.objects, export_id, scratch=scratch, spec=IndexSpec(), log=ctx.log)
    return Report(
        rows_in=manifest.rows_count,
        rows_out=manifest.rows_count,
        conserves=True,
        metadata={
            "snapshot_id": manifest.snapshot_id,
            "index_kind": manifest.shape.kind,
            "shards_count": len(manifest.shards),
            "dimensions": manifest.shape.dimensions,
            "recall_unfiltered": manifest.recall.unfiltered,
            "recall_minimum": manifest.recall.minimum,
            "size_bytes": sum(entry.size_bytes for entry in manifest.files()),
        },
        cursor={"version": manifest.snapshot_id},
    )


def snapshot_fingerprint(_lake: Lake, _settings: Settings) -> str:
    """Fingerprint of the step: it changes with the spec, the format and the library."""
    return fingerprint(IndexSpec())
