"""From an export in the lake to the current snapshot: fetch, build, publish, collect garbage. Every call is repeatable.

A full build is done in one call (`publish_export`), or each shard in a call of its own, on any machine (`build_apart`), and put together by
another (`publish_apart`). The order of the pipeline and its progress records live above; how a snapshot is built lives in `build.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from index_build.apart import Pieces, Plan, ShardName, begin, end, is_outdated, plan_of, read_plan
from index_build.build import build_from, build_shard, fingerprint
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
    upload,
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
    go once they are not current any more. A full build of the age `full_every` is followed by another one. Where it would have several
    shards and `is_apart`, it is only planned: runs of its own build it (`build_apart`, `publish_apart`).
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
        scratch: folder for temporary files; it needs the size of a shard's vectors once, and of an export that is fetched. A killed
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
    _drop_useless(store, spec, rules)
    with kept_folder(scratch, f"{export_id}-{fingerprint(spec)}") as folder:
        existing = find_snapshot(store, export_id, spec)
        if existing is not None and _is_published(store, existing.snapshot_id, log):
            return existing
        export = _opened(store, export_id, folder / "export")
        plan = plan_of(export, export_id, fingerprint(spec), spec) if _is_apart(export, spec, rules) else None
        is_mended = existing is not None  # a damaged snapshot is no base, least of all of itself
        manifest = None if is_mended else _renewed(store, export, folder, plan=plan, spec=spec, rules=rules, log=log)
        if manifest is None and plan is not None:
            _begin(store, plan, log=log)
            return None
        if manifest is None:
            manifest = _built_and_published(store, export, folder / "snapshot", spec=spec, log=log)
    _collect(store, manifest, rules, log)
    return manifest


def build_apart(
    store: ObjectStore,
    build_id: str,
    name: ShardName,
    *,
    scratch: Path,
    spec: IndexSpec,
    log: Callable[[str], None] = print,
) -> None:
    """Build a shard of the full build that is under way, unless it is finished. Any number of machines may do so at a time.

    Raises:
        NotFoundError: this build is not under way, or has no such shard.
        TransientError: another process builds the same in `scratch`.
        CreatorlakeError: as `build_snapshot` raises.
    """
    plan = read_plan(store)
    if (
        plan is None
        or plan.build_id != build_id
        or str(name) not in plan.shards
        or plan.fingerprint != fingerprint(spec)
    ):
        raise NotFoundError(f"There is no shard {name} of a build {build_id} to be built.")
    with kept_folder(scratch, f"{build_id}-{name}") as folder:
        pieces = Pieces(store, build_id)
        if pieces.has_shard(name):
            log(f"index: shard {name} is there")
            return
        build_shard(_opened(store, plan.export_id, folder / "export"), name, folder, spec=spec, pieces=pieces, log=log)


def publish_apart(
    store: ObjectStore,
    newest: str,
    *,
    scratch: Path,
    spec: IndexSpec,
    rules: Rules = DEFAULT_RULES,
    log: Callable[[str], None] = print,
) -> Manifest | None:
    """Put the full build that is under way together and make it the current snapshot, or what has changed since on it.

    Shards that are not finished are built here.

    Args:
        store: the lake's objects.
        newest: the newest complete export; the build may be of an older one.
        scratch: folder for temporary files; it needs the size of the snapshot.
        spec: as for `publish_export`.
        rules: as for `publish_export`.
        log: gets one line a stage.

    Returns:
        The new current snapshot; None where no build is under way that is of use, or what is current is newer than what came of it.

    Raises:
        TransientError: another process does the same in `scratch`, or has moved the pointer meanwhile.
        CreatorlakeError: as `build_snapshot` and `publish` raise.
    """
    plan = read_plan(store)
    if plan is None or not _is_of_use(store, plan, spec, rules):
        log("index: no full build is under way")
        return None
    with kept_folder(scratch, f"{plan.build_id}-whole") as folder:
        export, out = _opened(store, plan.export_id, folder / "export"), folder / "snapshot"
        pieces = Pieces(store, plan.build_id)
        manifest: Manifest | None
        if plan.export_id == newest:
            manifest = _built_and_published(store, export, out, spec=spec, pieces=pieces, log=log)
        else:
            base = _built_and_stored(store, export, out, spec=spec, pieces=pieces, log=log)
            later = _opened(store, newest, folder / "newest")
            manifest = _on_new_base(store, base, later, folder, spec=spec, rules=rules, log=log)
    end(store)
    if manifest is not None:
        _collect(store, manifest, rules, log)
    return manifest


def _is_apart(export: Export, spec: IndexSpec, rules: Rules) -> bool:
    return rules.is_apart and spec.shards_count(export.rows_count) > 1


def _is_of_use(store: ObjectStore, plan: Plan, spec: IndexSpec, rules: Rules) -> bool:
    return plan.fingerprint == fingerprint(spec) and not is_outdated(store, plan, rules.outdated)


def _drop_useless(store: ObjectStore, spec: IndexSpec, rules: Rules) -> None:
    """End a full build that is under way and that nobody will want."""
    plan = read_plan(store)
    if plan is not None and not (rules.is_apart and _is_of_use(store, plan, spec, rules)):
        end(store)


def _begin(store: ObjectStore, plan: Plan, *, log: Callable[[str], None]) -> None:
    """Have a full build begun, unless one is under way."""
    known = read_plan(store)
    if known is None:
        known = plan
        begin(store, plan)
    log(f"index: the full build {known.build_id} is left to runs of its own, {len(known.shards)} shards")


def _collect(store: ObjectStore, manifest: Manifest, rules: Rules, log: Callable[[str], None]) -> None:
    removed = collect_garbage(store, keep=rules.keep, outdated=rules.outdated)
    log(f"index: published {manifest.snapshot_id}, removed {len(removed)} old snapshot(s)")


def _built_and_published(
    store: ObjectStore,
    export: Export,
    out: Path,
    *,
    spec: IndexSpec,
    log: Callable[[str], None],
    pieces: Pieces | None = None,
) -> Manifest:
    """Build a snapshot in full and publish it."""
    with _built(export, out, spec=spec, pieces=pieces, log=log):
        publish(store, out)
        return read_manifest(out)


def _built_and_stored(
    store: ObjectStore, export: Export, out: Path, *, spec: IndexSpec, pieces: Pieces, log: Callable[[str], None]
) -> Manifest:
    """Build a snapshot in full and store it; what is current stays."""
    with _built(export, out, spec=spec, pieces=pieces, log=log):
        return upload(store, out)


@contextmanager
def _built(
    export: Export, out: Path, *, spec: IndexSpec, pieces: Pieces | None, log: Callable[[str], None]
) -> Iterator[None]:
    """A snapshot in `out`, which a call that was killed while it published may have left; removed when it turns out damaged."""
    if not (out / MANIFEST_NAME).is_file():
        build_from(export, out, spec, pieces=pieces, log=log)
    try:
        yield
    except DAMAGED:  # else the next call would find it again
        shutil.rmtree(out)
        raise


def _renewed(
    store: ObjectStore,
    export: Export,
    folder: Path,
    *,
    plan: Plan | None,
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
    except DAMAGED as error:
        log(f"index: a full build, as the snapshot in service cannot be built on: {error}")
        return None
    reason = _reason(base, export, spec, rules, every=rules.full_every)
    if reason is not None and plan is not None:
        _begin(store, plan, log=log)
        reason = _reason(base, export, spec, rules, every=timedelta.max)  # until it is there, the old one does
    if reason is not None:
        log(f"index: a full build, as {reason}")
        return None
    return _published_on(store, base, export, folder, instead_of=current.snapshot_id, log=log)


def _on_new_base(
    store: ObjectStore,
    base: Manifest,
    export: Export,
    folder: Path,
    *,
    spec: IndexSpec,
    rules: Rules,
    log: Callable[[str], None],
) -> Manifest | None:
    """Publish the newest export on a full build of an older one; where it cannot stand on it, that one if it is newer than the current."""
    current = read_current(store)
    reason = _reason(base, export, spec, rules, every=timedelta.max)
    if reason is None:
        instead_of = None if current is None else current.snapshot_id
        manifest = _published_on(store, base, export, folder, instead_of=instead_of, log=log)
        if manifest is not None:
            return manifest
    if current is not None and read_stored_manifest(store, current.snapshot_id).input_at >= base.input_at:
        log(f"index: the newest export cannot stand on {base.snapshot_id}, which is older than what is served")
        return None
    publish_stored(store, base.snapshot_id)
    return base


def _reason(base: Manifest, export: Export, spec: IndexSpec, rules: Rules, *, every: timedelta) -> str | None:
    return full_build_reason(base, export, spec, every=every, outdated=rules.outdated, now=datetime.now(UTC))


def _published_on(
    store: ObjectStore,
    base: Manifest,
    export: Export,
    folder: Path,
    *,
    instead_of: str | None,
    log: Callable[[str], None],
) -> Manifest | None:
    """Build an export's snapshot on a stored one and publish it; None where too much has changed, or that one is damaged."""
    out = folder / "renewed"
    shutil.rmtree(out, ignore_errors=True)
    try:
        held = _local_base(store, base, folder / "base")
    except DAMAGED as error:
        log(f"index: a full build, as the snapshot in service cannot be built on: {error}")
        return None
    manifest = renew(export, held, base, out, log=log)
    try:
        if manifest is not None:
            publish(store, out, base=base, instead_of=instead_of)
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
