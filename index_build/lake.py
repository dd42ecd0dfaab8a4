"""From an export in the lake to the current snapshot: fetch, build, publish, collect garbage. One call, repeatable.

The order of the pipeline and its progress records live above; how a snapshot is built lives in `build.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from index_build.build import build_from, fingerprint
from index_build.export import Export, open_export
from index_build.manifest import MANIFEST_NAME, Manifest
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
from index_build.renew import FULL_EVERY, full_build_reason, needed_files, renew
from index_build.spec import IndexSpec
from index_build.verify import read_manifest, verify_file
from lakehouse.contracts.layout import export_key, snapshot_key
from lakehouse.errors import NotFoundError
from lakehouse.storage.objects import ObjectStore
from lakehouse.storage.scratch import kept_folder


@dataclass(frozen=True, slots=True)
class Rules:
    """How snapshots of a lake follow each other.

    `keep` newest ones, at least `KEEP_SNAPSHOTS`, are never removed. Those made before `outdated`, and vectors from before it,
    go once they are not current any more. A full build of the age `full_every` is followed by another one.
    """

    keep: int = KEEP_SNAPSHOTS
    outdated: datetime | None = None
    full_every: timedelta = FULL_EVERY


DEFAULT_RULES = Rules()


def publish_export(
    store: ObjectStore,
    export_id: str,
    *,
    scratch: Path,
    spec: IndexSpec,
    rules: Rules = DEFAULT_RULES,
    log: Callable[[str], None] = print,
) -> Manifest:
    """Make the snapshot of an export the current one, building it unless the lake already holds it.

    It stands on the last full build where that is young enough and most vectors are those of it (`renew.py`).

    Args:
        store: the lake's objects.
        export_id: a complete export of the lake.
        scratch: folder for temporary files; it needs the size of a shard's vectors once, and of an export that is fetched. A killed
            call leaves there what it had finished, and the next one for this export goes on with it.
        spec: what to build.
        rules: when to build in full, what to keep.
        log: gets one line a stage.

    Raises:
        NotFoundError: there is no such export.
        TransientError: another process builds the same in `scratch`.
        CreatorlakeError: as `build_snapshot` and `publish` raise.
    """
    with kept_folder(scratch, f"{export_id}-{fingerprint(spec)}") as folder:
        existing = find_snapshot(store, export_id, spec)
        if existing is not None and _is_published(store, existing.snapshot_id, log):
            return existing
        export = _opened(store, export_id, folder / "export")
        is_mended = existing is not None  # a damaged snapshot is no base, least of all of itself
        manifest = None if is_mended else _renewed(store, export, folder, spec=spec, rules=rules, log=log)
        if manifest is None:
            manifest = _built_and_published(store, export, folder / "snapshot", spec=spec, log=log)
    removed = collect_garbage(store, keep=rules.keep, outdated=rules.outdated)
    log(f"index: published {manifest.snapshot_id}, removed {len(removed)} old snapshot(s)")
    return manifest


def _built_and_published(
    store: ObjectStore, export: Export, out: Path, *, spec: IndexSpec, log: Callable[[str], None]
) -> Manifest:
    """Build a snapshot in full, unless a call that was killed while it published has done so, and publish it."""
    if not (out / MANIFEST_NAME).is_file():
        build_from(export, out, spec, log=log)
    try:
        publish(store, out)
        return read_manifest(out)
    except DAMAGED:  # else the next call would find it again
        shutil.rmtree(out)
        raise


def _renewed(
    store: ObjectStore,
    export: Export,
    folder: Path,
    *,
    spec: IndexSpec,
    rules: Rules,
    log: Callable[[str], None],
) -> Manifest | None:
    """Build and publish the snapshot on the one in service; None where a full build is due, or that one is damaged."""
    current = read_current(store)
    if current is None:
        return None
    try:
        base = read_stored_manifest(store, current.snapshot_id)
        now = datetime.now(UTC)
        reason = full_build_reason(base, export, spec, every=rules.full_every, outdated=rules.outdated, now=now)
        if reason is not None:
            log(f"index: a full build, as {reason}")
            return None
        held = _local_base(store, base, folder / "base")
    except DAMAGED as error:
        log(f"index: a full build, as the snapshot in service cannot be built on: {error}")
        return None
    out = folder / "renewed"
    shutil.rmtree(out, ignore_errors=True)
    manifest = renew(export, held, base, out, log=log)
    try:
        if manifest is not None:
            publish(store, out, base=base)
    except DAMAGED as error:
        log(f"index: a full build, as the snapshot in service cannot be copied: {error}")
        return None
    return manifest


def _opened(store: ObjectStore, export_id: str, target: Path) -> Export:
    """The export, with the time at which the lake got the last of it."""
    export = open_export(_local_export(store, export_id, target))
    written = max(info.modified_at for info in store.list(export_key(export_id, "")))
    return replace(export, written_at=written.astimezone(UTC).isoformat())


def _local_base(store: ObjectStore, base: Manifest, target: Path) -> Path:
    """Folder with the checked files of a snapshot that a renewal reads."""
    needed = set(needed_files(base))
    entries = [entry for entry in base.files() if entry.path in needed]
    if not store.layout.is_s3:
        folder = Path(store.layout.root) / snapshot_key(base.snapshot_id, "")
        for entry in entries:
            verify_file(folder, entry)
        return folder
    for entry in entries:
        store.download(snapshot_key(base.snapshot_id, entry.path), target / entry.path, sha256=entry.sha256)
    return target


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


def _local_export(store: ObjectStore, export_id: str, target: Path) -> Path:
    """Folder of the export: as it is in a local lake, downloaded from an object store."""
    if not store.exists(export_key(export_id, "export.json")):
        raise NotFoundError(f"There is no complete export {export_id} in the lake.")
    prefix = export_key(export_id, "")
    if not store.layout.is_s3:
        return Path(store.layout.uri(prefix))
    for info in list(store.list(prefix)):
        path = target / info.key.removeprefix(prefix)
        if not path.is_file() or path.stat().st_size != info.size:  # an export never changes
            store.download(info.key, path)
    return target
