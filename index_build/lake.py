"""From an export in the lake to the current snapshot: fetch, build, publish, collect garbage. One call, repeatable.

The order of the pipeline and its progress records live above; how a snapshot is built lives in `build.py`.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import faiss

from index_build.build import build_snapshot
from index_build.manifest import FORMAT_VERSION, Manifest
from index_build.publish import (
    DAMAGED,
    KEEP_SNAPSHOTS,
    collect_garbage,
    list_snapshots,
    publish,
    publish_stored,
    read_stored_manifest,
)
from index_build.spec import IndexSpec
from lakehouse.contracts.layout import export_key
from lakehouse.errors import NotFoundError
from lakehouse.storage.objects import ObjectStore


def publish_export(
    store: ObjectStore,
    export_id: str,
    *,
    scratch: Path,
    spec: IndexSpec,
    keep: int = KEEP_SNAPSHOTS,
    outdated: datetime | None = None,
    log: Callable[[str], None] = print,
) -> Manifest:
    """Make the snapshot of an export the current one, building it unless the lake already holds it.

    Args:
        store: the lake's objects.
        export_id: a complete export of the lake.
        scratch: folder for temporary files; it needs about twice the size of the vectors.
        spec: what to build.
        keep: newest snapshots that are never removed, at least `KEEP_SNAPSHOTS`.
        outdated: snapshots made before it are removed once they are not current any more.
        log: gets one line a stage.

    Raises:
        NotFoundError: there is no such export.
        CreatorlakeError: as `build_snapshot` and `publish` raise.
    """
    existing = find_snapshot(store, export_id, spec)
    if existing is not None and _is_published(store, existing.snapshot_id, log):
        return existing
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="snapshot-") as folder:
        export = _local_export(store, export_id, Path(folder) / "export")
        out = Path(folder) / "snapshot"
        manifest = build_snapshot(export, out, spec, log=log)
        publish(store, out)
    removed = collect_garbage(store, keep=keep, outdated=outdated)
    log(f"index: published {manifest.snapshot_id}, removed {len(removed)} old snapshot(s)")
    return manifest


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


def fingerprint(spec: IndexSpec) -> str:
    """What a snapshot depends on besides its export: spec, format and library version."""
    text = f"{FORMAT_VERSION} {faiss.__version__} {spec.model_dump_json()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _local_export(store: ObjectStore, export_id: str, target: Path) -> Path:
    """Folder of the export: as it is in a local lake, downloaded from an object store."""
    if not store.exists(export_key(export_id, "export.json")):
        raise NotFoundError(f"There is no complete export {export_id} in the lake.")
    prefix = export_key(export_id, "")
    if not store.layout.is_s3:
        return Path(store.layout.uri(prefix))
    for info in list(store.list(prefix)):
        store.download(info.key, target / info.key.removeprefix(prefix))
    return target
