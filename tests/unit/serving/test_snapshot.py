"""What is refused, and how a holder lives with it: damage, hot swap under load, drain, start with a damaged newest."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest
from obstore.store import LocalStore
from serving_factories import document, make_snapshot, serving_settings, word_encoder, write_export

import serving.tables as tables_module
from index_build.bitmaps import pack_mask
from index_build.probe import CODE_COST, LIST_COST, ROW_COST
from index_build.publish import publish, rollback
from index_build.spec import ROWS_PER_LIST
from index_build.verify import read_manifest
from lakehouse.contracts.layout import Layout, snapshot_key
from lakehouse.errors import ContractError, CreatorlakeError, NotFoundError
from lakehouse.storage.objects import ObjectStore
from serving.cache import Cache
from serving.catalog import Catalog
from serving.encoder import encoder_for
from serving.errors import NotReadyError
from serving.holder import SnapshotHolder
from serving.lexical import WordIndex
from serving.search import Searcher
from serving.settings import ServingSettings
from serving.shards import LISTED_SHARE, Matches
from serving.snapshot import LakeSource, Snapshot, open_source

REQUEST = {"query": "football", "limit": 3}


@pytest.fixture
def settings(tmp_path: Path) -> ServingSettings:
    return serving_settings(tmp_path / "home")


@pytest.fixture(scope="session")
def other_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second snapshot, of other creators."""
    folder = tmp_path_factory.mktemp("other")
    documents = [document(f"n{number}", doc_text="football news") for number in range(4)]
    make_snapshot(write_export(folder / "export", documents), folder / "snapshot")
    return folder / "snapshot"


def _open(settings: ServingSettings) -> tuple[SnapshotHolder, ObjectStore]:
    source = open_source(settings.lake.lake_root, settings)

    def open_searcher(snapshot_id: str) -> Searcher:
        return Searcher(Snapshot.open(source.fetch(snapshot_id), settings, encoder=word_encoder()))

    return SnapshotHolder(source, open_searcher), ObjectStore.open(settings.lake)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [_flip, _cut, Path.unlink])
@pytest.mark.parametrize("name", ["shards/0000/index.faiss", "shards/0000/docs.parquet", "shards/0000/refine.bin"])
def test_a_damaged_file_is_refused(
    people_folder: Path, tmp_path: Path, settings: ServingSettings, name: str, damage: Callable[[Path], None]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(people_folder, copy)
    damage(copy / name)
    with pytest.raises(ContractError, match=name.rsplit("/", 1)[-1]):
        Snapshot.open(copy, settings, encoder=word_encoder())


def test_swapped_shards_are_refused(ivf_folder: Path, tmp_path: Path, settings: ServingSettings) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ivf_folder, copy)
    first, second = copy / "shards/0000/index.faiss", copy / "shards/0001/index.faiss"
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    with pytest.raises(ContractError):
        Snapshot.open(copy, settings, encoder=word_encoder())


def test_a_snapshot_of_an_unknown_encoder_is_refused(people_folder: Path) -> None:
    with pytest.raises(ContractError, match=r"words/1.*not installed"):
        encoder_for(read_manifest(people_folder), preferred="use-multilingual", device="cpu")


def test_a_missing_lake_and_an_empty_one(tmp_path: Path, settings: ServingSettings) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        open_source(tmp_path / "nowhere", settings)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="no published snapshot"):
        Searcher.open(tmp_path / "empty", settings=settings)


def test_a_folder_opens_by_its_path(people_folder: Path, settings: ServingSettings) -> None:
    searcher = Searcher.open(people_folder, settings=settings, encoder=word_encoder())
    assert searcher.search(REQUEST).hits[0].creator_id in ("c_messi", "c_cr7")
    searcher.close()


def test_tables_are_made_once_and_map_to_the_same_answers(people_folder: Path, tmp_path: Path) -> None:
    settings = serving_settings(tmp_path)
    answers = []
    for _ in range(2):
        searcher = Searcher(Snapshot.open(people_folder, settings, encoder=word_encoder()))
        answers.append(searcher.search(REQUEST).model_dump(exclude={"plan", "next_cursor"}))
        searcher.close()
        (tables,) = (tmp_path / "cache/tables").iterdir()
        made = (tables / "catalog.duckdb").stat().st_mtime_ns
        answers.append(made)
    assert answers[0] == answers[2]
    assert answers[1] == answers[3]


def test_checked_files_are_hashed_again_when_they_were_touched(
    people_folder: Path, tmp_path: Path, settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(people_folder, copy)
    hashed: list[Path] = []
    verify = tables_module.verify_folder
    monkeypatch.setattr(tables_module, "verify_folder", lambda folder: (hashed.append(folder), verify(folder))[1])
    for _ in range(2):
        Snapshot.open(copy, settings, encoder=word_encoder()).close()
    assert len(hashed) == 1
    (copy / "shards/0000/refine.bin").touch()
    Snapshot.open(copy, settings, encoder=word_encoder()).close()
    assert len(hashed) == 2
    _flip(copy / "shards/0000/refine.bin")
    with pytest.raises(ContractError, match=r"refine\.bin"):
        Snapshot.open(copy, settings, encoder=word_encoder())


@pytest.mark.parametrize("name", ["columns/quality.npy", "words/keys.npy", "documents.arrow", "made.json"])
@pytest.mark.parametrize("damage", [_cut, Path.unlink])
def test_tables_that_are_not_whole_are_made_again(
    people_folder: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    settings = serving_settings(tmp_path)
    Snapshot.open(people_folder, settings, encoder=word_encoder()).close()
    (tables,) = (tmp_path / "cache/tables").iterdir()
    damage(tables / name)
    searcher = Searcher(Snapshot.open(people_folder, settings, encoder=word_encoder()))
    assert searcher.snapshot.columns.quality is not None
    assert searcher.search(REQUEST).hits[0].creator_id in ("c_messi", "c_cr7")
    searcher.close()


def test_a_killed_making_leaves_nothing_and_old_tables_go(
    tmp_path: Path, settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = settings.lake.cache_dir / "tables"
    folders = [
        make_snapshot(write_export(tmp_path / f"e{n}", [document(f"c{n}")]), tmp_path / f"s{n}") for n in range(5)
    ]
    with monkeypatch.context() as broken:
        broken.setattr(WordIndex, "load", lambda _: (_ for _ in ()).throw(ValueError("odd")))
        with pytest.raises(ContractError, match="odd"):
            Snapshot.open(tmp_path / "s0", settings, encoder=word_encoder())
    assert list(home.iterdir()) == []
    (home / ".draft-old").mkdir()
    os.utime(home / ".draft-old", (0, 0))
    for number in range(5):
        Snapshot.open(tmp_path / f"s{number}", settings, encoder=word_encoder()).close()
    assert len(folders) == 5
    assert len(list(home.iterdir())) == tables_module.KEPT


def test_nothing_published_yet(settings: ServingSettings) -> None:
    Path(settings.lake.lake_root).mkdir(parents=True)
    holder, _ = _open(settings)
    assert not holder.refresh()
    with pytest.raises(NotReadyError), holder.searcher():
        pass


def test_a_damaged_newer_snapshot_is_refused_and_the_old_one_serves(
    people_folder: Path, other_folder: Path, settings: ServingSettings
) -> None:
    Path(settings.lake.lake_root).mkdir(parents=True)
    holder, store = _open(settings)
    publish(store, people_folder)
    assert holder.refresh()
    old = holder.served_id
    newer = publish(store, other_folder).snapshot_id
    _flip(Path(settings.lake.lake_root) / snapshot_key(newer, "shards/0000/index.faiss"))
    assert not holder.refresh()
    assert holder.served_id == old
    assert holder.refusal is not None
    assert (holder.refusal.snapshot_id, "sha256" in holder.refusal.reason) == (newer, True)
    with holder.searcher() as searcher:
        assert searcher.search(REQUEST).hits
    rollback(store)
    holder.refresh()
    assert holder.refusal is None
    holder.close()


def test_a_start_with_a_damaged_newest_serves_the_one_before(
    people_folder: Path, other_folder: Path, settings: ServingSettings
) -> None:
    Path(settings.lake.lake_root).mkdir(parents=True)
    holder, store = _open(settings)
    old = publish(store, people_folder).snapshot_id
    newer = publish(store, other_folder).snapshot_id
    _flip(Path(settings.lake.lake_root) / snapshot_key(newer, "shards/0000/docs.parquet"))
    assert holder.refresh()
    assert holder.served_id == old
    assert holder.refusal is not None
    holder.close()


def test_a_damaged_pointer_changes_nothing_but_the_readiness(people_folder: Path, settings: ServingSettings) -> None:
    Path(settings.lake.lake_root).mkdir(parents=True)
    holder, store = _open(settings)
    publish(store, people_folder)
    holder.refresh()
    (Path(settings.lake.lake_root) / "snapshots/CURRENT").write_bytes(b"{")
    assert not holder.refresh()
    assert holder.refusal is not None
    assert holder.served_id is not None
    holder.close()


@pytest.mark.parametrize("problem", [duckdb.InvalidInputException, KeyError])
def test_an_odd_snapshot_does_not_end_the_watch(
    people_folder: Path,
    other_folder: Path,
    tmp_path: Path,
    settings: ServingSettings,
    monkeypatch: pytest.MonkeyPatch,
    problem: type[Exception],
) -> None:
    Path(settings.lake.lake_root).mkdir(parents=True)
    holder, store = _open(settings)
    ids = [publish(store, people_folder).snapshot_id]
    stop, closed, load = threading.Event(), [], WordIndex.load
    watcher = threading.Thread(target=holder.watch, args=(stop, 0.01))
    watcher.start()
    assert _soon(lambda: holder.served_id == ids[0])

    def broken(_: Catalog) -> WordIndex:
        raise problem("odd column")

    close = Catalog.close
    monkeypatch.setattr(Catalog, "close", lambda self: (closed.append(self.rows), close(self)))
    monkeypatch.setattr(WordIndex, "load", broken)
    ids.append(publish(store, other_folder).snapshot_id)
    assert _soon(lambda: holder.refusal is not None)
    assert holder.refusal is not None
    assert (holder.refusal.snapshot_id, holder.served_id, closed) == (ids[1], ids[0], [4])
    assert watcher.is_alive()
    monkeypatch.setattr(WordIndex, "load", load)
    make_snapshot(write_export(tmp_path / "export", [document("only")]), tmp_path / "third")
    third = publish(store, tmp_path / "third").snapshot_id
    assert _soon(lambda: holder.served_id == third and holder.refusal is None)
    stop.set()
    watcher.join()
    holder.close()


def test_a_cache_keeps_what_fits_and_the_newest() -> None:
    made: list[int] = []
    cache: Cache[int] = Cache(3, max_bytes=10, bytes_of=lambda value: value)

    def ask(value: int) -> int:
        return cache.get(value, lambda: (made.append(value), value)[1])

    for value in (4, 5, 4, 3, 4, 5, 20, 20, 1, 20):
        assert ask(value) == value
    assert made == [4, 5, 3, 5, 20, 1, 20]


def test_rows_of_large_matches_are_not_kept(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    words = pack_mask(np.array([True, False, True, True, False, False]))
    few = Matches(words, searcher.snapshot.shards)
    assert few.gids is few.gids
    assert few.max_bytes == 16 + 24
    monkeypatch.setattr("serving.shards.GIDS_KEPT", 2)
    many = Matches(words, searcher.snapshot.shards)
    assert many.gids is not many.gids
    assert many.gids.tolist() == [0, 2, 3]
    assert many.max_bytes == 16


def test_rows_of_most_matches_are_never_listed() -> None:
    """What `Matches.max_bytes` leaves out must not be kept: beyond the share, codes of a list cost less than its matching rows."""
    assert LISTED_SHARE * ROW_COST > CODE_COST + LIST_COST / ROWS_PER_LIST


def _soon(is_true: Callable[[], bool]) -> bool:
    """Whether something becomes true within the patience of a slow machine."""
    until = time.monotonic() + 60
    while not is_true() and time.monotonic() < until:
        time.sleep(0.01)
    return is_true()


def test_swaps_under_load_fail_no_request_and_free_the_old(
    people_folder: Path, other_folder: Path, settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(settings.lake.lake_root).mkdir(parents=True)
    holder, store = _open(settings)
    ids = [publish(store, folder).snapshot_id for folder in (other_folder, people_folder)]
    holder.refresh()
    closed: list[str] = []
    close = Searcher.close

    def counting(self: Searcher) -> None:
        closed.append(self.snapshot.id)
        close(self)

    monkeypatch.setattr(Searcher, "close", counting)
    stop, failures, answered = threading.Event(), [], set()

    def ask() -> None:
        while not stop.is_set():
            try:
                with holder.searcher() as searcher:
                    answered.add(searcher.search(REQUEST).index_version)
            except (CreatorlakeError, RuntimeError) as error:
                failures.append(error)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for thread in askers:
        thread.start()
    for snapshot_id in (*ids, *ids):
        rollback(store, snapshot_id)
        assert holder.refresh()
    stop.set()
    for thread in askers:
        thread.join()
    assert failures == []
    assert answered == set(ids)
    assert closed == [ids[1], ids[0], ids[1], ids[0]]
    holder.close()
    assert closed[-1] == ids[1]


def test_a_remote_snapshot_is_copied_once_and_a_damaged_copy_anew(
    people_folder: Path, other_folder: Path, settings: ServingSettings, tmp_path: Path
) -> None:
    root = tmp_path / "bucket"
    root.mkdir()
    local = ObjectStore(Layout(str(root)), LocalStore(str(root)))
    remote = ObjectStore(Layout("s3://bucket"), LocalStore(str(root)))
    source = LakeSource(remote, tmp_path / "cache")
    first = publish(local, people_folder).snapshot_id
    copy = source.fetch(first)
    Snapshot.open(copy, settings, encoder=word_encoder()).close()
    written = (copy / "manifest.json").stat().st_mtime_ns
    assert source.fetch(first) == copy
    assert (copy / "manifest.json").stat().st_mtime_ns == written
    _flip(copy / "shards/0000/refine.bin")
    with pytest.raises(ContractError):
        Snapshot.open(copy, settings, encoder=word_encoder())
    source.forget(first)
    Snapshot.open(source.fetch(first), settings, encoder=word_encoder()).close()
    second = publish(local, other_folder).snapshot_id
    third = publish(local, people_folder).snapshot_id
    source.forget(third)
    source.fetch(second)
    source.fetch(third)
    assert {path.name for path in (tmp_path / "cache/snapshots").iterdir()} == {second, third}
