"""Publication: files before manifest before pointer, idempotent, safe against crashes, races and collectors."""

from __future__ import annotations

import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest

from index_build.manifest import MANIFEST_NAME, parse_current, seal
from index_build.publish import (
    collect_garbage,
    list_snapshots,
    publish,
    read_current,
    read_stored_manifest,
    rollback,
    verify_stored,
)
from index_build.verify import read_manifest
from lakehouse.contracts.layout import CURRENT, snapshot_key
from lakehouse.errors import (
    ContractError,
    IntegrityError,
    NotFoundError,
    PermanentError,
    SchemaError,
    TransientError,
)
from lakehouse.settings import load_settings
from lakehouse.storage.objects import ObjectStore

NEXT_DAY = datetime.now(UTC) + timedelta(days=1)


class CrashingStore(ObjectStore):
    """A local store that dies at the n-th write."""

    def __init__(self, store: ObjectStore, writes_left: int) -> None:
        super().__init__(store.layout, store._store)
        self.writes_left = writes_left

    def _count(self) -> None:
        if self.writes_left == 0:
            raise KeyboardInterrupt
        self.writes_left -= 1

    def put_once(self, key, data):
        self._count()
        return super().put_once(key, data)

    def swap(self, key, data, *, expected):
        self._count()
        return super().swap(key, data, expected=expected)


def keys(store: ObjectStore) -> set[str]:
    return {info.key for info in store.list("snapshots") if not info.key.endswith(".lock")}


def test_first_publication(store, flat):
    pointer = publish(store, flat.folder)
    assert pointer == read_current(store)
    assert (pointer.snapshot_id, pointer.previous) == (flat.manifest.snapshot_id, None)
    assert verify_stored(store, pointer.snapshot_id) == flat.manifest
    expected = {snapshot_key(pointer.snapshot_id, entry.path) for entry in flat.manifest.files()}
    assert keys(store) == expected | {snapshot_key(pointer.snapshot_id), CURRENT}


def test_publishing_again_changes_nothing(store, flat):
    first = publish(store, flat.folder)
    pointer, written = store.get(CURRENT), {info.key: info.modified_at for info in store.list("snapshots")}
    assert publish(store, flat.folder) == first
    assert store.get(CURRENT) == pointer
    assert {info.key: info.modified_at for info in store.list("snapshots")} == written


def test_a_rebuild_of_the_same_content_is_the_same_snapshot(store, flat, tmp_path):
    publish(store, flat.folder)
    shutil.copytree(flat.folder, tmp_path / "again")
    later = seal(flat.manifest.model_copy(update={"created_at": "2031-01-01T00:00:00+00:00"}))
    (tmp_path / "again" / MANIFEST_NAME).write_bytes(later.to_json())
    assert publish(store, tmp_path / "again").previous is None
    assert read_stored_manifest(store, later.snapshot_id) == flat.manifest


def test_a_snapshot_below_its_target_is_not_published(store, flat, tmp_path):
    shutil.copytree(flat.folder, tmp_path / "weak")
    weak = flat.manifest.model_copy(update={"recall": flat.manifest.recall.model_copy(update={"minimum": 0.5})})
    (tmp_path / "weak" / MANIFEST_NAME).write_bytes(seal(weak).to_json())
    with pytest.raises(ContractError, match="not published"):
        publish(store, tmp_path / "weak")
    assert keys(store) == set()


def test_a_crash_at_any_write_leaves_the_old_snapshot_and_a_rerun_completes(store, make_snapshot):
    old, new = make_snapshot(1), make_snapshot(2)
    before = publish(store, old)
    writes = len(read_manifest(new).files()) + 2
    for count in range(writes):
        with pytest.raises(KeyboardInterrupt):
            publish(CrashingStore(store, count), new)
        assert read_current(store) == before
        assert len(list_snapshots(store)) == (1 if count < writes - 1 else 2)
    after = publish(store, new)
    assert (after.snapshot_id, after.previous) == (read_manifest(new).snapshot_id, before.snapshot_id)
    verify_stored(store, after.snapshot_id)


def test_what_the_store_damaged_is_not_made_current(store, flat):
    class Lossy(ObjectStore):
        """Loses the last byte of documents."""

        def put_once(self, key, data):
            data = data.read_bytes()[:-1] if key.endswith("docs.parquet") else data
            return super().put_once(key, data)

    with pytest.raises(IntegrityError):
        publish(Lossy(store.layout, store._store), flat.folder)
    assert read_current(store) is None
    assert list_snapshots(store) == []


def test_one_of_two_racing_publishers_wins_and_the_other_is_told(store, make_snapshot):
    first, left, right = make_snapshot(1), make_snapshot(2), make_snapshot(3)
    publish(store, first)
    barrier = Barrier(2)

    class Waiting(ObjectStore):
        """Meets the other publisher just before the pointer moves."""

        def swap(self, key, data, *, expected):
            barrier.wait(timeout=20)
            return super().swap(key, data, expected=expected)

    def run(folder: Path) -> str:
        try:
            return publish(Waiting(store.layout, store._store), folder).snapshot_id
        except TransientError:
            return "told"

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, (left, right)))
    assert results.count("told") == 1
    pointer = read_current(store)
    assert pointer is not None
    assert pointer.snapshot_id in results
    assert pointer.previous == read_manifest(first).snapshot_id


def _publish_in_process(root: str, home: str, folder: str) -> str:
    store = ObjectStore.open(load_settings(home=Path(home), lake=root))
    while True:
        try:
            return publish(store, Path(folder)).snapshot_id
        except TransientError:
            continue


def test_publishers_of_several_processes_end_with_one_intact_chain(store, tmp_path, make_snapshot):
    folders = [str(make_snapshot(seed)) for seed in range(3)]
    jobs = [(store.layout.root, str(tmp_path / "home"), folder) for folder in folders]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        published = list(pool.map(_publish_in_process, *zip(*jobs, strict=True)))
    pointer = read_current(store)
    assert pointer is not None
    assert {pointer.snapshot_id, pointer.previous} <= set(published)
    assert pointer.snapshot_id != pointer.previous
    assert len(list_snapshots(store)) == 3


def test_rollback_and_forward(store, make_snapshot):
    with pytest.raises(PermanentError):
        rollback(store)
    old = publish(store, make_snapshot(1))
    with pytest.raises(PermanentError):
        rollback(store)
    new = publish(store, make_snapshot(2))
    back = rollback(store)
    assert (back.snapshot_id, back.previous) == (old.snapshot_id, new.snapshot_id)
    assert rollback(store).snapshot_id == new.snapshot_id
    assert rollback(store, old.snapshot_id).snapshot_id == old.snapshot_id
    with pytest.raises(NotFoundError):
        rollback(store, "0" * 16)
    assert read_current(store).snapshot_id == old.snapshot_id


def test_rollback_to_a_damaged_snapshot_is_refused(store, make_snapshot):
    old = publish(store, make_snapshot(1))
    new = publish(store, make_snapshot(2))
    store.replace(snapshot_key(old.snapshot_id, "shards/0000/refine.bin"), b"rubbish")
    with pytest.raises(IntegrityError):
        rollback(store)
    assert read_current(store).snapshot_id == new.snapshot_id


def test_a_damaged_pointer_is_an_error_not_an_empty_lake(store, flat):
    store.replace(CURRENT, b"rubbish")
    with pytest.raises(SchemaError):
        publish(store, flat.folder)
    assert store.get(CURRENT) == b"rubbish"


def test_snapshots_are_listed_newest_first(store, make_snapshot):
    ids = [publish(store, make_snapshot(seed)).snapshot_id for seed in range(3)]
    listed = list_snapshots(store)
    assert {info.snapshot_id for info in listed} == set(ids)
    assert [info.created_at for info in listed] == sorted((info.created_at for info in listed), reverse=True)
    assert [info.snapshot_id for info in listed if info.is_current] == [ids[2]]
    assert [info.snapshot_id for info in listed if info.is_previous] == [ids[1]]


def test_garbage_is_old_spare_and_never_served(store, make_snapshot):
    ids = [publish(store, make_snapshot(seed)).snapshot_id for seed in range(6)]
    rollback(store, ids[0])
    assert collect_garbage(store) == []
    removed = collect_garbage(store, keep=0, now=NEXT_DAY)
    left = {info.snapshot_id for info in list_snapshots(store)}
    assert {ids[0], ids[5]} <= left
    assert len(left) >= 3
    assert left | set(removed) == set(ids)
    assert {key.split("/")[1] for key in keys(store)} == left | {"CURRENT"}
    for snapshot_id in left:
        verify_stored(store, snapshot_id)
    assert collect_garbage(store, keep=0, now=NEXT_DAY) == []


def test_of_snapshots_that_name_an_erased_account_only_the_current_one_stays(store, make_snapshot):
    ids = [publish(store, make_snapshot(seed)).snapshot_id for seed in range(3)]
    made = {info.snapshot_id: info.created_at for info in list_snapshots(store)}
    assert collect_garbage(store, now=NEXT_DAY, outdated=min(made.values())) == []
    assert collect_garbage(store, outdated=NEXT_DAY) == []  # somebody may still be loading them
    assert collect_garbage(store, now=NEXT_DAY, outdated=NEXT_DAY) == sorted(ids[:2])
    assert [info.snapshot_id for info in list_snapshots(store)] == ids[2:]
    with pytest.raises(NotFoundError):
        rollback(store)


def test_remains_of_a_crash_go_only_when_old(store, make_snapshot):
    with pytest.raises(KeyboardInterrupt):
        publish(CrashingStore(store, 2), make_snapshot(1))
    current = publish(store, make_snapshot(2))
    remains = {key.split("/")[1] for key in keys(store)} - {current.snapshot_id, "CURRENT"}
    assert len(remains) == 1
    assert collect_garbage(store) == []
    assert collect_garbage(store, now=NEXT_DAY) == sorted(remains)
    assert {key.split("/")[1] for key in keys(store)} == {current.snapshot_id, "CURRENT"}


def test_pointer_is_plain_json_for_others(store, flat):
    publish(store, flat.folder)
    assert parse_current(store.get("snapshots/CURRENT")).snapshot_id == flat.manifest.snapshot_id
