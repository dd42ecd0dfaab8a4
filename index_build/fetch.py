"""Files of a lake as local ones: an export, and what a renewal reads of a snapshot. In a lake that is a folder they are read where they lie."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from pathlib import Path

from index_build.export import Export, open_export
from index_build.manifest import Manifest
from index_build.renew import needed_files
from index_build.verify import verify_file
from lakehouse.contracts.layout import export_key, snapshot_key
from lakehouse.errors import NotFoundError
from lakehouse.storage.objects import ObjectStore


def opened_export(store: ObjectStore, export_id: str, target: Path) -> Export:
    """An export, with the time at which the lake got the last of it; `target` is for a copy.

    Raises:
        NotFoundError: there is no complete export of that id.
        SchemaError: a file is not what it should be.
    """
    export = open_export(_local_export(store, export_id, target))
    written = max(info.modified_at for info in store.list(export_key(export_id, "")))
    return replace(export, written_at=written.astimezone(UTC).isoformat())


def local_base(store: ObjectStore, base: Manifest, target: Path) -> Path:
    """Folder with the checked files of a snapshot that a renewal reads; `target` is for copies.

    Raises:
        NotFoundError: a file is gone.
        IntegrityError: a file is not what was written.
    """
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
