"""Publishes snapshots into a lake: files first, read back, manifest, then the pointer by compare-and-swap.

Every step can be killed and repeated: objects are written once under an id derived from their content, a folder without
a manifest is no snapshot, and only the pointer decides what is served. Building and local checks live elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from index_build.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    Current,
    FileEntry,
    Manifest,
    created_at,
    parse_current,
    parse_manifest,
    vectors_at,
)
from index_build.verify import read_manifest, verify_folder
from lakehouse.contracts.layout import CURRENT, SNAPSHOTS, snapshot_key
from lakehouse.crash import AFTER_FILE, BEFORE_CURRENT, BEFORE_MANIFEST, MID_REMOVAL, crashpoint
from lakehouse.errors import (
    ContractError,
    CreatorlakeError,
    IntegrityError,
    NotFoundError,
    PermanentError,
    SchemaError,
    TransientError,
)
from lakehouse.storage.objects import ObjectStore

KEEP_SNAPSHOTS = 3
"""The served one, the one before, and one that a slow reader may still be loading."""

MIN_AGE = timedelta(hours=1)
"""No snapshot younger than this is removed: longer than any replica takes to load one."""

DAMAGED = (NotFoundError, IntegrityError, SchemaError)
"""What reading a snapshot raises that is incomplete or not what was written."""

SNAPSHOT_DEPTH = 2
"""Parts of a key before a snapshot's own files: the folder of all snapshots and the id."""


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One complete snapshot of a lake."""

    snapshot_id: str
    created_at: datetime
    vectors_at: datetime
    rows_count: int
    recall_minimum: float
    is_current: bool
    is_previous: bool


def publish(
    store: ObjectStore, folder: Path, *, base: Manifest | None = None, instead_of: str | None = None
) -> Current:
    """Publish the snapshot in `folder` and make it the current one; a no-op when it already is.

    Args:
        store: the lake's objects.
        folder: the snapshot.
        base: a stored snapshot that has those files that the folder lacks; they are copied inside the store.
        instead_of: the snapshot that has to be current until then; any where None.

    Raises:
        IntegrityError: the folder or what the store gives back is not what the manifest says.
        ContractError: its recall misses the target.
        TransientError: another publisher moved the pointer meanwhile; publishing again settles it.
    """
    seen = _read_pointer(store)
    if instead_of is not None:
        _require_current(seen, instead_of)
    return _move(store, upload(store, folder, base=base).snapshot_id, seen=seen)


def upload(store: ObjectStore, folder: Path, *, base: Manifest | None = None) -> Manifest:
    """Store the snapshot in `folder` without making it current; arguments and errors are those of `publish`."""
    copied = {} if base is None else _files_of(base, read_manifest(folder), folder)
    manifest = verify_folder(folder, elsewhere=copied)
    if not manifest.is_publishable:
        worst = min((part.recall for part in manifest.parts()), key=lambda recall: recall.minimum - recall.target)
        raise ContractError(
            f"Snapshot {manifest.snapshot_id} reaches recall {worst.minimum:.3f}, "
            f"below its target {worst.target:.3f}; it is not published."
        )
    _upload(store, folder, manifest, copied)
    return manifest


def publish_stored(store: ObjectStore, snapshot_id: str) -> Current:
    """Make a snapshot that the store already holds current, after reading all of it back.

    Raises:
        NotFoundError: there is no complete snapshot of that id.
        IntegrityError: it is damaged; the pointer stays.
        SchemaError: its manifest is.
        TransientError: another publisher moved the pointer meanwhile.
    """
    seen = _read_pointer(store)
    verify_stored(store, snapshot_id)
    moved = _move(store, snapshot_id, seen=seen)
    if not store.exists(snapshot_key(snapshot_id)):
        raise TransientError(f"Snapshot {snapshot_id} was removed while it became current; choose another one.")
    return moved


def rollback(store: ObjectStore, snapshot_id: str | None = None) -> Current:
    """Make the previous snapshot, or a named one, current again after checking all its files.

    Raises:
        PermanentError: there is nothing to roll back to.
        NotFoundError: the named snapshot does not exist.
        IntegrityError: it is damaged; the pointer stays.
        TransientError: another publisher moved the pointer meanwhile.
    """
    current = read_current(store)
    target = snapshot_id or (current.previous if current else None)
    if target is None:
        raise PermanentError("There is no previous snapshot to roll back to.")
    return publish_stored(store, target)


def read_current(store: ObjectStore) -> Current | None:
    """The pointer, None before the first publication.

    Raises:
        SchemaError: it is damaged.
    """
    data = _read_pointer(store)
    return None if data is None else parse_current(data)


def read_stored_manifest(store: ObjectStore, snapshot_id: str) -> Manifest:
    """Manifest of a stored snapshot.

    Raises:
        NotFoundError: there is no complete snapshot of that id.
        SchemaError: its manifest is not valid.
        IntegrityError: its manifest belongs to another snapshot.
    """
    manifest = parse_manifest(store.get(snapshot_key(snapshot_id)))
    if manifest.snapshot_id != snapshot_id:
        raise IntegrityError(f"The manifest in the folder of {snapshot_id} is that of {manifest.snapshot_id}.")
    return manifest


def is_stored_whole(store: ObjectStore, snapshot_id: str) -> bool:
    """Whether a snapshot's manifest can be read and all its files are there in their sizes; cheap, reads none of them."""
    try:
        manifest = read_stored_manifest(store, snapshot_id)
    except DAMAGED:
        return False
    sizes = {info.key: info.size for info in store.list(snapshot_key(snapshot_id, ""))}
    return all(sizes.get(snapshot_key(snapshot_id, file.path)) == file.size_bytes for file in manifest.files())


def verify_stored(store: ObjectStore, snapshot_id: str) -> Manifest:
    """Read every file of a stored snapshot back and compare checksums.

    Raises:
        NotFoundError: there is no complete snapshot of that id, or a file is missing.
        IntegrityError: a file has other bytes.
    """
    manifest = read_stored_manifest(store, snapshot_id)
    for entry in manifest.files():
        _verify_object(store, snapshot_id, entry)
    return manifest


def list_snapshots(store: ObjectStore) -> list[SnapshotInfo]:
    """Complete snapshots, newest first; one whose manifest is damaged is not complete."""
    current = read_current(store)
    found = [info for key in _manifest_keys(store) if (info := _info(store, key, current)) is not None]
    return sorted(found, key=lambda info: (info.created_at, info.snapshot_id), reverse=True)


def collect_garbage(
    store: ObjectStore,
    *,
    keep: int = KEEP_SNAPSHOTS,
    min_age: timedelta = MIN_AGE,
    now: datetime | None = None,
    outdated: datetime | None = None,
) -> list[str]:
    """Remove snapshots beyond the newest `keep` (at least 3), and remains without a manifest, older than `min_age`.

    The current and the previous snapshot stay; but of those with vectors from before `outdated` only the current one does: they name
    somebody who asked to be forgotten. The manifest goes first, so that a killed removal leaves no
    snapshot that looks complete; what it leaves is remains for the next call.

    Returns:
        Ids removed, sorted.
    """
    limit = (now or datetime.now(UTC)) - min_age
    complete = list_snapshots(store)
    spare = {info.snapshot_id for info in complete[max(keep, KEEP_SNAPSHOTS) :] if info.created_at < limit}
    forbidden = {
        info.snapshot_id for info in complete if outdated and info.vectors_at < outdated and info.created_at < limit
    }
    newest_write = _newest_writes(store)
    known = {info.snapshot_id for info in complete}
    spare |= {name for name, written_at in newest_write.items() if name not in known and written_at < limit}
    return [name for name in sorted(spare | forbidden) if _remove(store, name, even_previous=name in forbidden)]


def _require_current(seen: bytes | None, snapshot_id: str) -> None:
    if seen is None or parse_current(seen).snapshot_id != snapshot_id:
        raise TransientError(f"CURRENT does not name {snapshot_id} any more; run the command again.")


def _files_of(base: Manifest, manifest: Manifest, folder: Path) -> dict[str, str]:
    """Keys in the base of those files of a snapshot that its folder lacks, by path."""
    known = {file.sha256: snapshot_key(base.snapshot_id, file.path) for file in base.files()}
    lacking = [file for file in manifest.files() if not (folder / file.path).exists()]
    return {file.path: known[file.sha256] for file in lacking if file.sha256 in known}


def _upload(store: ObjectStore, folder: Path, manifest: Manifest, copied: Mapping[str, str]) -> None:
    """Write files, read them back, then the manifest; a sound snapshot of this id is left as it is, a damaged one mended."""
    snapshot_id = manifest.snapshot_id
    if _is_sound(store, snapshot_id):
        return
    store.delete(snapshot_key(snapshot_id))  # nobody takes it for complete while its files are replaced
    for entry in manifest.files():
        key = snapshot_key(snapshot_id, entry.path)
        if entry.path in copied:
            store.copy(copied[entry.path], key, scratch=folder.parent)
        else:
            _put(store, key, folder / entry.path)
        crashpoint(AFTER_FILE)
    for entry in manifest.files():
        _verify_object(store, snapshot_id, entry)
    crashpoint(BEFORE_MANIFEST)
    store.put_once(snapshot_key(snapshot_id), manifest.to_json())


def _is_sound(store: ObjectStore, snapshot_id: str) -> bool:
    try:
        verify_stored(store, snapshot_id)
    except DAMAGED:
        return False
    return True


def _put(store: ObjectStore, key: str, path: Path) -> None:
    """Write a verified file; other bytes under its key are damage, as the id is derived from all files of a snapshot."""
    try:
        store.put_once(key, path)
    except IntegrityError:
        store.delete(key)
        store.put_once(key, path)


def _verify_object(store: ObjectStore, snapshot_id: str, entry: FileEntry) -> None:
    key = snapshot_key(snapshot_id, entry.path)
    if store.sha256(key) != entry.sha256:
        raise IntegrityError(f"{store.layout.uri(key)} does not match its recorded sha256.")


def _read_pointer(store: ObjectStore) -> bytes | None:
    try:
        return store.get(CURRENT)
    except NotFoundError:
        return None


def _move(store: ObjectStore, snapshot_id: str, *, seen: bytes | None) -> Current:
    """Point CURRENT at a snapshot if it still holds what the caller saw before it began."""
    before = None if seen is None else parse_current(seen)
    if before is not None and before.snapshot_id == snapshot_id:
        return before
    after = Current(
        snapshot_id=snapshot_id,
        previous=None if before is None else before.snapshot_id,
        published_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    crashpoint(BEFORE_CURRENT)
    if not store.swap(CURRENT, after.to_json(), expected=seen):
        raise TransientError("Another publisher moved CURRENT meanwhile; run the command again.")
    return after


def _newest_writes(store: ObjectStore) -> dict[str, datetime]:
    """Time of the newest object in each snapshot folder, complete or not."""
    newest: dict[str, datetime] = {}
    for info in store.list(SNAPSHOTS):
        parts = info.key.split("/")
        if len(parts) > SNAPSHOT_DEPTH:
            newest[parts[SNAPSHOT_DEPTH - 1]] = max(
                info.modified_at, newest.get(parts[SNAPSHOT_DEPTH - 1], info.modified_at)
            )
    return newest


def _manifest_keys(store: ObjectStore) -> list[str]:
    listed = [info for info in store.list(SNAPSHOTS) if info.size <= MAX_MANIFEST_BYTES]
    return [info.key for info in listed if info.key.split("/")[SNAPSHOT_DEPTH:] == [MANIFEST_NAME]]


def _info(store: ObjectStore, key: str, current: Current | None) -> SnapshotInfo | None:
    snapshot_id = key.split("/")[-2]
    try:
        manifest = read_stored_manifest(store, snapshot_id)
    except CreatorlakeError:
        return None
    return SnapshotInfo(
        snapshot_id,
        created_at(manifest),
        vectors_at(manifest),
        manifest.rows_count,
        min(part.recall.minimum for part in manifest.parts()),
        is_current=current is not None and current.snapshot_id == snapshot_id,
        is_previous=current is not None and current.previous == snapshot_id,
    )


def _remove(store: ObjectStore, snapshot_id: str, *, even_previous: bool = False) -> bool:
    """Remove a snapshot unless the pointer names it now."""
    current = read_current(store)
    named = (current.snapshot_id, None if even_previous else current.previous) if current is not None else ()
    if snapshot_id in named:
        return False
    store.delete(snapshot_key(snapshot_id))
    crashpoint(MID_REMOVAL)
    for info in list(store.list(snapshot_key(snapshot_id, ""))):
        store.delete(info.key)
    return True
