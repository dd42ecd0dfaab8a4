"""From an export in the lake to the current snapshot: fetch, build, publish, collect garbage. One call, repeatable.

A full build of several shards may be left to runs of its own (`runs.py`). The order of the pipeline and its progress records live above; how a
snapshot is built lives in `build.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from index_build.apart import Plan, begin, collect_pieces, end, is_built, is_current, is_of_use, plan_of, read_plan
from index_build.build import build_from, fingerprint
from index_build.export import Export
from index_build.fetch import local_base, opened_export
from index_build.manifest import MANIFEST_NAME, Current, Manifest
from index_build.publish import (
    DAMAGED,
    KEEP_SNAPSHOTS,
    collect_garbage,
    list_snapshots,
    publish,
    publish_stored,
    read_current,
    read_stored_manifest,
)
from index_build.renew import FULL_EVERY, full_build_reason, renew
from index_build.runs import put_together
from index_build.spec import IndexSpec
from index_build.verify import read_manifest
from lakehouse.storage.objects import ObjectStore
from lakehouse.storage.scratch import kept_folder


@dataclass(frozen=True, slots=True)
class Rules:
    """How snapshots of a lake follow each other.

    `keep` newest ones, at least `KEEP_SNAPSHOTS`, are never removed. Those made before `outdated`, and vectors from before it,
    go once they are not current any more. A full build of the age `full_every` is followed by another one. Where it would have several
    shards and `is_apart`, it is only planned: runs of its own build it (`runs.py`).
    """

    keep: int = KEEP_SNAPSHOTS
    outdated: datetime | None = None
    full_every: timedelta = FULL_EVERY
    is_apart: bool = False


DEFAULT_RULES = Rules()


def publish_export(
    store: ObjectStore,
    export_id: str,
    *,
    scratch: Path,
    spec: IndexSpec,
    rules: Rules = DEFAULT_RULES,
    log: Callable[[str], None] = print,
) -> Manifest | None:
    """Make the snapshot of an export the current one, building it unless the lake already holds it.

    It stands on the last full build where that is young enough and most vectors are those of it (`renew.py`).

    Args:
        store: the lake's objects.
        export_id: a complete export of the lake.
        scratch: folder for temporary files; it needs the size of a shard's vectors once, and of an export that is fetched, of the snapshot
            where shards that other runs have built are put together. A killed
            call leaves there what it had finished, and the next one for this export goes on with it.
        spec: what to build.
        rules: when to build in full, what to keep.
        log: gets one line a stage.

    Returns:
        None where a full build is due that is left to runs of its own; what is current stays.

    Raises:
        NotFoundError: there is no such export.
        TransientError: another process builds the same in `scratch`.
        CreatorlakeError: as `build_snapshot` and `publish` raise.
    """
    return _Publication(store, scratch, spec, rules, log).of(export_id)


@dataclass(frozen=True, slots=True)
class _Publication:
    """One call of `publish_export`."""

    store: ObjectStore
    scratch: Path
    spec: IndexSpec
    rules: Rules
    log: Callable[[str], None]

    def of(self, export_id: str) -> Manifest | None:
        """The new current snapshot; None where it is left to runs of its own."""
        plan = self._plan_of_use()
        ready = plan if plan is not None and is_built(self.store, plan) else None
        if plan is not None and ready is None and read_current(self.store) is None:
            self._begin(plan)
            return None
        fresh = None
        if ready is not None:
            fresh = put_together(self.store, ready, scratch=self.scratch, spec=self.spec, log=self.log)
        with kept_folder(self.scratch, f"{export_id}-{fingerprint(self.spec)}") as folder:
            manifest = self._made(export_id, folder, fresh)
        if ready is not None and read_plan(self.store) == ready:
            end(self.store)
        if manifest is not None:
            removed = collect_garbage(self.store, keep=self.rules.keep, outdated=self.rules.outdated)
            self.log(f"index: published {manifest.snapshot_id}, removed {len(removed)} old snapshot(s)")
        return manifest

    def _plan_of_use(self) -> Plan | None:
        """The full build that is under way; what was left of any other is removed."""
        plan = read_plan(self.store) if self.rules.is_apart else None
        if plan is not None and not is_of_use(self.store, plan, fingerprint(self.spec), outdated=self.rules.outdated):
            plan = None
        collect_pieces(self.store, keep=plan)
        return plan

    def _made(self, export_id: str, folder: Path, fresh: Manifest | None) -> Manifest | None:
        """Publish the export's snapshot; `fresh` is a stored full build, of it or of an older export, that was never current."""
        existing = self._existing(export_id, fresh)
        if existing is not None and _is_published(self.store, existing.snapshot_id, self.log):
            return existing
        export = opened_export(self.store, export_id, folder / "export")
        wanted = self._wanted_apart(export, export_id)
        current = read_current(self.store)
        manifest = None
        if existing is None:  # a damaged snapshot is no base, least of all of itself
            manifest = self._renewed(export, folder, current, fresh=fresh, wanted=wanted)
        if manifest is None and fresh is not None and self._is_newer(fresh, current):
            publish_stored(self.store, fresh.snapshot_id)
            manifest = fresh
        if manifest is None and wanted is not None:
            self._begin(wanted)
        elif manifest is None:
            manifest = self._built(export, folder / "snapshot")
        return manifest

    def _existing(self, export_id: str, fresh: Manifest | None) -> Manifest | None:
        """The export's snapshot, where the lake has it; one on an older full build than `fresh` does not count."""
        if fresh is not None and fresh.export_id == export_id:
            return fresh
        found = find_snapshot(self.store, export_id, self.spec)
        is_old = found is not None and fresh is not None and found.built.snapshot_id != fresh.snapshot_id
        return None if is_old else found

    def _wanted_apart(self, export: Export, export_id: str) -> Plan | None:
        """Plan of a full build of an export; None where it is built here: it is one shard, or would be outdated before it began."""
        is_large = self.spec.shards_count(export.rows_count) > 1
        if not (self.rules.is_apart and is_large and is_current(self.store, export_id, self.rules.outdated)):
            return None
        return plan_of(export, export_id, fingerprint(self.spec), self.spec)

    def _begin(self, wanted: Plan) -> None:
        """Have a full build begun, unless one is under way that is not finished."""
        plan = read_plan(self.store)
        if plan is None or is_built(self.store, plan):
            begin(self.store, wanted)
            plan = wanted
        self.log(
            f"index: {len(plan.shards)} shards of the full build {plan.build_id} are left to runs that Dagster's daemon starts"
        )

    def _renewed(
        self, export: Export, folder: Path, current: Current | None, *, fresh: Manifest | None, wanted: Plan | None
    ) -> Manifest | None:
        """Publish the snapshot on a full build; None where another one is due, or nothing can be built on."""
        instead_of = None if current is None else current.snapshot_id
        if fresh is not None:
            manifest = self._published_on(fresh, export, folder, instead_of, every=timedelta.max)
            if manifest is not None:
                return manifest
        base = self._stored(instead_of)
        if base is None:
            return None
        every = self.rules.full_every
        if wanted is not None and self._reason(base, export, every=every) is not None:
            self._begin(wanted)
            every = timedelta.max  # until it is there, the old one does
        return self._published_on(base, export, folder, instead_of, every=every)

    def _published_on(
        self, base: Manifest, export: Export, folder: Path, instead_of: str | None, *, every: timedelta
    ) -> Manifest | None:
        """Publish the snapshot on `base`; None where it cannot stand on that one."""
        reason = self._reason(base, export, every=every)
        if reason is not None:
            self.log(f"index: a full build, as {reason}")
            return None
        out = folder / "renewed"
        shutil.rmtree(out, ignore_errors=True)
        try:
            manifest = renew(export, local_base(self.store, base, folder / "base"), base, out, log=self.log)
            if manifest is not None:
                publish(self.store, out, base=base, instead_of=instead_of)
        except DAMAGED as error:
            self.log(f"index: a full build, as the snapshot {base.snapshot_id} cannot be built on: {error}")
            return None
        return manifest

    def _reason(self, base: Manifest, export: Export, *, every: timedelta) -> str | None:
        now = datetime.now(UTC)
        return full_build_reason(base, export, self.spec, every=every, outdated=self.rules.outdated, now=now)

    def _stored(self, snapshot_id: str | None) -> Manifest | None:
        """Manifest of a stored snapshot, None where it is damaged."""
        if snapshot_id is None:
            return None
        try:
            return read_stored_manifest(self.store, snapshot_id)
        except DAMAGED as error:
            self.log(f"index: the snapshot {snapshot_id} cannot be built on: {error}")
            return None

    def _is_newer(self, fresh: Manifest, current: Current | None) -> bool:
        served = self._stored(None if current is None else current.snapshot_id)
        return served is None or served.input_at < fresh.input_at

    def _built(self, export: Export, out: Path) -> Manifest:
        """Build a snapshot in full, unless a call that was killed while it published has done so, and publish it."""
        if not (out / MANIFEST_NAME).is_file():
            build_from(export, out, self.spec, log=self.log)
        try:
            publish(self.store, out)
            return read_manifest(out)
        except DAMAGED:  # else the next call would find it again
            shutil.rmtree(out)
            raise


def find_snapshot(store: ObjectStore, export_id: str, spec: IndexSpec) -> Manifest | None:
    """Complete snapshot of an export with an equal spec, None when there is none."""
    manifests = (read_stored_manifest(store, info.snapshot_id) for info in list_snapshots(store))
    return next((found for found in manifests if (found.export_id, found.spec) == (export_id, spec)), None)


def _is_published(store: ObjectStore, snapshot_id: str, log: Callable[[str], None]) -> bool:
    """Make a stored snapshot current, unless it is damaged."""
    try:
        publish_stored(store, snapshot_id)
    except DAMAGED as error:
        log(f"index: snapshot {snapshot_id} is damaged and built again: {error}")
        return False
    return True
