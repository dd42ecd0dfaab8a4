"""A full build in runs of its own: one that builds a shard, on any machine, and what puts them together.

The plan and what runs leave to each other are in `apart.py`, the building in `build.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from index_build.apart import Pieces, Plan, ShardName, end, is_of_use, read_plan
from index_build.build import build_from, build_shard, fingerprint
from index_build.fetch import opened_export
from index_build.manifest import MANIFEST_NAME, Manifest
from index_build.publish import DAMAGED, upload
from index_build.spec import IndexSpec
from lakehouse.errors import ContractError, NotFoundError, PermanentError
from lakehouse.storage.objects import ObjectStore
from lakehouse.storage.scratch import kept_folder


def build_apart(
    store: ObjectStore,
    build_id: str,
    name: ShardName,
    *,
    scratch: Path,
    spec: IndexSpec,
    outdated: datetime | None = None,
    log: Callable[[str], None] = print,
) -> bool:
    """Build a shard of the full build that is under way. Any number of machines may do so at a time, also the same shard.

    Args:
        store: the lake's objects.
        build_id: the build that the caller was told of.
        name: the shard.
        scratch: folder for temporary files; a call that is killed leaves there what it had finished.
        spec: what to build.
        outdated: an export from before it names somebody who asked to be forgotten.
        log: gets one line a stage.

    Returns:
        Whether the shard is there now; not where the build was ended meanwhile, and nothing is to be done.

    Raises:
        NotFoundError: the build has no such shard.
        PermanentError: this machine has another FAISS or format than the one that began the build.
        TransientError: another process builds the same in `scratch`.
        CreatorlakeError: as `build_snapshot` raises. One over what is built ends the build: the next step begins another.
    """
    plan, pieces = read_plan(store), Pieces(store, build_id)
    if plan is not None and plan.build_id == build_id and plan.fingerprint != fingerprint(spec):
        raise PermanentError(f"The full build {build_id} is of another format or library than this machine has.")
    with kept_folder(scratch, f"{build_id}-{name}") as folder:
        if plan is None or plan.build_id != build_id or not is_of_use(store, plan, plan.fingerprint, outdated=outdated):
            log(f"index: the full build {build_id} is not wanted any more")
            pieces.remove()
            return False
        if str(name) not in plan.shards:
            raise NotFoundError(f"The full build {build_id} has no shard {name}.")
        with _ended_when_it_fails(store, plan):
            if not pieces.has_shard(name):
                export = opened_export(store, plan.export_id, folder / "export")
                build_shard(export, name, folder, spec=spec, pieces=pieces, log=log)
    return read_plan(store) == plan


def put_together(
    store: ObjectStore, plan: Plan, *, scratch: Path, spec: IndexSpec, log: Callable[[str], None]
) -> Manifest:
    """Store the snapshot that a plan's shards make; what is current stays. The plan stays too.

    Raises:
        TransientError: another process does the same in `scratch`.
        CreatorlakeError: as `build_snapshot` and `publish` raise. One over what is built ends the build.
    """
    with kept_folder(scratch, f"{plan.build_id}-whole") as folder, _ended_when_it_fails(store, plan):
        out = folder / "snapshot"
        if not (out / MANIFEST_NAME).is_file():
            export = opened_export(store, plan.export_id, folder / "export")
            build_from(export, out, spec, pieces=Pieces(store, plan.build_id), log=log)
        try:
            return upload(store, out)
        except DAMAGED:  # else the next call would find it again
            shutil.rmtree(out)
            raise


@contextmanager
def _ended_when_it_fails(store: ObjectStore, plan: Plan) -> Iterator[None]:
    """End a build whose input will fail again, so that the next step begins another one; nothing of a build that was ended meanwhile stays."""
    try:
        yield
    except (ContractError, NotFoundError):
        if read_plan(store) == plan:
            end(store)
        raise
    finally:
        if read_plan(store) != plan:
            Pieces(store, plan.build_id).remove()
