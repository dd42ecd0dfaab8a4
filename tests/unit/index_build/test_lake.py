"""From an export in the lake to the current snapshot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from index_build import lake
from index_build.build import fingerprint
from index_build.publish import is_stored_whole, publish, read_current, rollback, verify_stored
from index_build.train import faiss_distributions, require_one_faiss
from lakehouse.contracts.layout import export_key, snapshot_key
from lakehouse.errors import IntegrityError, NotFoundError, SettingsError
from tests.unit.index_build.conftest import FLAT_SPEC


@pytest.fixture
def exported(store, flat):
    shutil.copytree(flat.export, Path(store.layout.uri(export_key("e1", ""))))
    return store


def run(store, tmp_path):
    return lake.publish_export(store, "e1", scratch=tmp_path / "scratch", spec=FLAT_SPEC, log=lambda _line: None)


def test_export_becomes_current_and_leaves_no_scratch(exported, flat, tmp_path):
    manifest = run(exported, tmp_path)
    assert manifest.snapshot_id == flat.manifest.snapshot_id
    assert read_current(exported).snapshot_id == manifest.snapshot_id
    assert not (tmp_path / "scratch").exists()


def test_a_snapshot_that_exists_is_not_built_again(exported, make_snapshot, tmp_path, monkeypatch):
    first = run(exported, tmp_path)
    publish(exported, make_snapshot(5))
    monkeypatch.setattr(lake, "build_from", None)
    assert run(exported, tmp_path) == first
    assert read_current(exported).snapshot_id == first.snapshot_id
    assert rollback(exported).previous == first.snapshot_id


@pytest.mark.parametrize("name", ["shards/0000/refine.bin", "manifest.json"])
def test_a_damaged_snapshot_is_built_again(exported, tmp_path, name):
    first = run(exported, tmp_path)
    key = snapshot_key(first.snapshot_id, name)
    for damage in (lambda: exported.delete(key), lambda: exported.replace(key, b"rubbish")):
        damage()
        assert not is_stored_whole(exported, first.snapshot_id)
        assert run(exported, tmp_path).snapshot_id == first.snapshot_id
        assert is_stored_whole(exported, first.snapshot_id)
        verify_stored(exported, first.snapshot_id)
    assert read_current(exported).snapshot_id == first.snapshot_id


def test_what_a_killed_publication_had_built_is_not_built_again(exported, flat, tmp_path, monkeypatch):
    def killed(*_arguments, **_more):
        raise KeyboardInterrupt

    monkeypatch.setattr(lake, "publish", killed)
    with pytest.raises(KeyboardInterrupt):
        run(exported, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(lake, "build_from", None)
    assert run(exported, tmp_path).snapshot_id == flat.manifest.snapshot_id
    assert not (tmp_path / "scratch").exists()


def test_what_it_had_built_and_is_damaged_is_built_again(exported, flat, tmp_path, monkeypatch):
    publish_it = lake.publish

    def rotten(store, folder):
        (folder / "shards" / "0000" / "refine.bin").write_bytes(b"rotten")
        return publish_it(store, folder)

    monkeypatch.setattr(lake, "publish", rotten)
    with pytest.raises(IntegrityError):
        run(exported, tmp_path)
    monkeypatch.undo()
    assert run(exported, tmp_path).snapshot_id == flat.manifest.snapshot_id


def test_an_unknown_export_is_said(store, tmp_path):
    with pytest.raises(NotFoundError):
        run(store, tmp_path)


def test_fingerprint_follows_the_spec():
    assert fingerprint(FLAT_SPEC) == fingerprint(FLAT_SPEC.model_copy())
    assert fingerprint(FLAT_SPEC) != fingerprint(FLAT_SPEC.model_copy(update={"seed": 2}))


def test_two_faiss_distributions_are_refused(monkeypatch):
    class Dist:
        def __init__(self, name: str) -> None:
            self.metadata = {"Name": name}

    for names, is_fine in ((["numpy", "faiss-cpu"], True), (["faiss-cpu", "faiss-gpu"], False)):
        monkeypatch.setattr("importlib.metadata.distributions", lambda names=names: [Dist(name) for name in names])
        faiss_distributions.cache_clear()
        if is_fine:
            require_one_faiss()
        else:
            with pytest.raises(SettingsError, match="faiss-cpu and faiss-gpu"):
                require_one_faiss()
    faiss_distributions.cache_clear()
