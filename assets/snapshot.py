"""The last step: the newest export becomes the current snapshot. The one place where steps and assets meet the index build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from assets.names import EXPORT
from index_build.apart import ShardName, read_plan
from index_build.build import fingerprint
from index_build.lake import Rules, build_apart, publish_apart, publish_export
from index_build.manifest import Manifest
from index_build.publish import is_stored_whole, read_current
from index_build.spec import IndexSpec
from lakehouse.contracts.layout import progress_key
from lakehouse.errors import NotFoundError
from lakehouse.gold.export import collect_exports, exported_rows
from lakehouse.ops.steps import Cursor, Report, StepContext
from lakehouse.settings import Settings
from lakehouse.silver.erased import last_erasure
from lakehouse.storage.lake import Lake
from lakehouse.storage.objects import ObjectStore

SPEC = IndexSpec()


@dataclass(frozen=True, slots=True)
class IndexWork:
    """What is done of the index in a lake: the same folders and rules for the step and for the runs of a build apart."""

    objects: ObjectStore
    settings: Settings
    log: Callable[[str], None]

    def publish_export(self, export_id: str) -> Manifest | None:
        """Make the snapshot of an export current; None where that is left to runs of its own."""
        return publish_export(
            self.objects, export_id, scratch=self._scratch, spec=SPEC, rules=self._rules(), log=self.log
        )

    def build_shard(self, build_id: str, name: ShardName) -> None:
        """Build a shard of the build that is under way."""
        build_apart(self.objects, build_id, name, scratch=self._scratch, spec=SPEC, log=self.log)

    def publish_built(self) -> Manifest | None:
        """Make what the runs have built the current snapshot; None where there is nothing of use."""
        newest = newest_export(self.objects)
        return publish_apart(self.objects, newest, scratch=self._scratch, spec=SPEC, rules=self._rules(), log=self.log)

    def collect(self, current: str) -> None:
        """Remove exports that nobody needs any more."""
        plan = read_plan(self.objects)
        kept = None if plan is None else plan.export_id
        collect_exports(self.objects, current=current, kept=kept, outdated=last_erasure(self.objects))

    @property
    def _scratch(self) -> Path:
        return self.settings.home / "index_build"

    def _rules(self) -> Rules:
        settings = self.settings
        return Rules(
            settings.snapshots_kept,
            last_erasure(self.objects),
            timedelta(days=settings.index_full_days),
            is_apart=settings.index_apart,
        )


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
    work = IndexWork(ctx.lake.objects, ctx.settings, ctx.log)
    export_id = newest_export(ctx.lake.objects)
    manifest = work.publish_export(export_id)
    work.collect(export_id)
    rows = exported_rows(ctx.lake.objects, export_id)
    if manifest is None:
        return Report(rows_in=rows, metadata={"waits_for": "shards that runs of their own build"})
    return Report(
        rows_in=rows,
        rows_out=manifest.creators_count,
        conserves=True,
        metadata=told_of(manifest),
        cursor={"version": manifest.snapshot_id},
    )


def told_of(manifest: Manifest) -> dict[str, str | int | float]:
    """What is shown of a snapshot."""
    return {
        "snapshot_id": manifest.snapshot_id,
        "index_kind": manifest.shape.kind,
        "recall": manifest.recall.minimum,
        "shards": len(manifest.shards),
        "bytes": sum(file.size_bytes for file in manifest.files()),
    }


def is_snapshot_there(lake: Lake, _cursor: Cursor) -> bool:
    """Whether CURRENT points at a whole snapshot, whichever it is."""
    current = read_current(lake.objects)
    return current is not None and is_stored_whole(lake.objects, current.snapshot_id)


def snapshot_fingerprint(_lake: Lake, _settings: Settings) -> str:
    """What a snapshot depends on besides its export. A rollback is a decision and is not undone by the next run."""
    return fingerprint(SPEC)
