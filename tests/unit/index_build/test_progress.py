"""A build that was killed goes on where it was, and ends at the bytes of one that was not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from index_build import build as building
from index_build.build import build_snapshot
from index_build.encode import shard_files
from index_build.progress import Progress
from index_build.queries import Best, Truth
from index_build.verify import verify_folder
from lakehouse.errors import SchemaError, TransientError
from lakehouse.storage.scratch import held
from tests.unit.index_build.conftest import FEW_LISTS, FLAT_SPEC
from tests.unit.index_build.test_build import contents
from tests.unit.index_build.test_domains import SPEC, world
from tests.unit.index_build.test_renew import silent

STAGES = ("train", "encode", "calibrate")


class Kills:
    """Counts stages of a build, and ends it before the one of a number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, before: int | None) -> None:
        self.done: list[str] = []
        self._before = before
        for name in STAGES:
            monkeypatch.setattr(building, name, self._watched(name, getattr(building, name)))

    def _watched(self, name, stage):
        def watched(*arguments, **more):
            if len(self.done) == self._before:
                raise KeyboardInterrupt
            self.done.append(name)
            return stage(*arguments, **more)

        return watched


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Path:
    return world().write(tmp_path_factory.mktemp("export") / "export")


@pytest.fixture(scope="module")
def whole(export, tmp_path_factory):
    """Bytes, id and stages of an undisturbed build."""
    out = tmp_path_factory.mktemp("whole") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("index_build.coarse.GROUPED_LISTS", FEW_LISTS)
        stages = Kills(patch, before=None)
        manifest = build_snapshot(export, out, SPEC, log=silent)
    return contents(out), manifest.snapshot_id, stages.done


def test_killed_before_any_stage_and_started_again(export, whole, tmp_path, monkeypatch):
    files, snapshot_id, expected = whole
    # of the whole two shards; of the flat domain one, of the other two
    assert expected == [
        *("train", "encode", "encode", "calibrate"),
        *("train", "encode", "calibrate"),
        *("train", "encode", "encode", "calibrate"),
    ]
    out = tmp_path / "out"
    done: list[str] = []
    for before in range(1, len(expected)):
        with monkeypatch.context() as patch:
            stages = Kills(patch, before=1)
            with pytest.raises(KeyboardInterrupt):
                build_snapshot(export, out, SPEC, log=silent)
            done += stages.done
        assert not out.exists()
        assert done == expected[:before], "each stage once"
    said: list[str] = []
    with monkeypatch.context() as patch:
        stages = Kills(patch, before=None)
        manifest = build_snapshot(export, out, SPEC, log=said.append)
    assert done + stages.done == expected
    assert said[0] == "index: going on with a build that was ended"
    assert (contents(out), manifest.snapshot_id) == (files, snapshot_id)
    assert verify_folder(out) == manifest
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == ["out"]


def test_half_a_shard_is_written_anew(export, whole, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:

        def killed(*_arguments):
            raise KeyboardInterrupt

        patch.setattr("index_build.encode._require_unique", killed)
        with pytest.raises(KeyboardInterrupt):
            build_snapshot(export, out, SPEC, log=silent)
    assert list((tmp_path / "out.draft" / "shards" / "0000").iterdir())
    assert (tmp_path / "out.work" / "spill").exists()
    build_snapshot(export, out, SPEC, log=silent)
    assert contents(out) == whole[0]


def _killed(export: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *, before: int) -> None:
    with monkeypatch.context() as patch:
        Kills(patch, before=before)
        with pytest.raises(KeyboardInterrupt):
            build_snapshot(export, out, SPEC, log=silent)


def test_killed_while_training_is_recorded(export, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("index_build.progress._save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_snapshot(export, tmp_path / "out", SPEC, log=silent)
    assert (tmp_path / "out.work" / "trained.draft").exists()
    build_snapshot(export, tmp_path / "out", SPEC, log=silent)
    assert contents(tmp_path / "out") == whole[0]


@pytest.mark.parametrize("stage", [3, 5], ids=["a shard", "all but the domains"])
@pytest.mark.parametrize("name", ["docs.parquet", "index.faiss"])
def test_a_file_that_was_cut_short_is_written_anew(export, whole, tmp_path, monkeypatch, name, stage):
    out = tmp_path / "out"
    _killed(export, out, monkeypatch, before=stage)
    path = tmp_path / "out.draft" / "shards" / "0001" / name
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 2)
    build_snapshot(export, out, SPEC, log=silent)
    assert contents(out) == whole[0]


def test_killed_while_another_build_takes_its_place(export, whole, tmp_path, monkeypatch):
    """The files of the first build may be gone then: it must not take itself for finished."""
    out = tmp_path / "out"
    _killed(export, out, monkeypatch, before=5)
    with monkeypatch.context() as patch:
        patch.setattr(building.shutil, "rmtree", _once_then_killed(building.shutil.rmtree))
        with pytest.raises(KeyboardInterrupt):
            build_snapshot(export, out, SPEC.model_copy(update={"seed": 5}), log=silent)
    assert not (tmp_path / "out.draft").exists()
    build_snapshot(export, out, SPEC, log=silent)
    assert contents(out) == whole[0]


def _once_then_killed(remove):
    calls: list[object] = []

    def once(path, **more):
        if calls:
            raise KeyboardInterrupt
        calls.append(path)
        remove(path, **more)

    return once


def test_two_builds_of_one_folder_do_not_meet(export, tmp_path):
    with held(tmp_path / "out.work"), pytest.raises(TransientError, match="Another process works in"):
        build_snapshot(export, tmp_path / "out", SPEC, log=silent)


@pytest.mark.parametrize("change", ["spec", "input"])
def test_another_build_begins_anew(export, tmp_path, monkeypatch, change):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        Kills(patch, before=2)
        with pytest.raises(KeyboardInterrupt):
            build_snapshot(export, out, SPEC, log=silent)
    spec = SPEC.model_copy(update={"seed": 5}) if change == "spec" else SPEC
    if change == "input":
        os.utime(next((export / "docs").glob("*.parquet")))
    with monkeypatch.context() as patch:
        stages = Kills(patch, before=2)
        with pytest.raises(KeyboardInterrupt):
            build_snapshot(export, out, spec, log=silent)
    assert stages.done == ["train", "encode"]


def test_wrong_input_leaves_nothing_to_go_on_with(tmp_path):
    made = world()
    made.ids[7] = made.ids[8]
    export = made.write(tmp_path / "export")
    with pytest.raises(SchemaError, match="more than once"):
        build_snapshot(export, tmp_path / "out", FLAT_SPEC, log=silent)
    assert not list(tmp_path.glob("out*"))


def test_exact_answers_are_read_as_they_were_written(tmp_path):
    rows, scores = np.array([5, 2], np.int64), np.array([0.9, 0.3], np.float32)
    none = Best(np.empty(0, np.int64), np.empty(0, np.float32))
    truths = (
        Truth(None, 7, (Best(rows, scores), none)),
        Truth(np.array([3, 1], np.uint64), 3, (none, Best(rows[:1], scores[:1]))),
        Truth(np.zeros(2, np.uint64), 0, (none, none)),
    )
    progress = Progress(tmp_path, tmp_path / "draft")
    assert progress.shard(3) is None
    shard = shard_files(tmp_path / "draft", 3, rows=99, truths=truths, stored_similarity=0.75)
    shard.docs.parent.mkdir(parents=True)
    for path in shard.paths:
        path.write_bytes(b"rows")
    progress.put_shard(shard)
    found = progress.shard(3)
    assert found is not None
    assert (found.rows, found.stored_similarity, found.docs) == (99, 0.75, tmp_path / "draft/shards/0003/docs.parquet")
    for truth, expected in zip(found.truths, truths, strict=True):
        assert truth.matches == expected.matches
        assert (truth.words is None) == (expected.words is None)
        assert truth.words is None or np.array_equal(truth.words, expected.words)
        for best, wanted in zip(truth.best, expected.best, strict=True):
            assert np.array_equal(best.row_ids, wanted.row_ids)
            assert np.array_equal(best.scores, wanted.scores)
            assert best.scores.dtype == np.float32
