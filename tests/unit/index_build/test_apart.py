"""A full build in runs of its own: the same snapshot, whoever builds which shard, in which order, killed or twice."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_build import build, lake
from index_build.apart import Pieces, Plan, ShardName, begin, is_outdated, read_plan, shard_key
from index_build.build import fingerprint
from index_build.lake import Rules, build_apart, publish_apart, publish_export
from index_build.publish import read_current, read_stored_manifest, verify_stored
from lakehouse.contracts.layout import BUILD_PLAN, BUILDS, build_key, export_key
from lakehouse.errors import NotFoundError, SchemaError
from tests.unit.index_build.conftest import IVF_SPEC, Built, clustered
from tests.unit.index_build.test_renew import night

APART = Rules(is_apart=True)
AGED = Rules(is_apart=True, full_every=timedelta(0))
FIRST, SECOND = ShardName(0), ShardName(1)


def silent(_line: str) -> None:
    """Log nothing."""


def put_export(store, export: Path, export_id: str) -> str:
    for path in sorted(export.rglob("*")):
        if path.is_file():
            store.put_once(export_key(export_id, path.relative_to(export).as_posix()), path)
    return export_id


@pytest.fixture
def exported(store, ivf):
    """A lake with the export of a snapshot of two shards, and no snapshot."""
    put_export(store, ivf.export, "e1")
    return store


@pytest.fixture
def planned(exported, tmp_path) -> Plan:
    """The plan of its full build."""
    assert publish_export(exported, "e1", scratch=tmp_path / "step", spec=IVF_SPEC, rules=APART, log=silent) is None
    return read_plan(exported)


def shard(store, plan: Plan, name: ShardName, machine: Path) -> None:
    build_apart(store, plan.build_id, name, scratch=machine, spec=IVF_SPEC, log=silent)


def put_together(store, newest: str, machine: Path, rules: Rules = APART):
    return publish_apart(store, newest, scratch=machine, spec=IVF_SPEC, rules=rules, log=silent)


def is_clean(store, *machines: Path) -> bool:
    left = [info.key for info in store.list(BUILDS)]
    return not left and not any(machine.exists() for machine in machines)


def never(*_arguments, **_more):
    raise AssertionError("This is not to be done again.")


def test_what_machines_build_apart_is_what_one_builds(exported, planned, ivf, tmp_path, monkeypatch):
    assert planned.names() == [FIRST, SECOND]
    assert read_current(exported) is None
    shard(exported, planned, SECOND, tmp_path / "a")
    with monkeypatch.context() as patch:
        patch.setattr(build, "train", never)
        shard(exported, planned, FIRST, tmp_path / "b")
        patch.setattr(build, "encode", never)
        manifest = put_together(exported, "e1", tmp_path / "c")
    assert manifest.snapshot_id == ivf.manifest.snapshot_id == read_current(exported).snapshot_id
    assert verify_stored(exported, manifest.snapshot_id) == manifest
    assert is_clean(exported, *(tmp_path / name for name in ("step", "a", "b", "c")))


def test_a_finished_shard_is_not_built_again(exported, planned, tmp_path, monkeypatch):
    shard(exported, planned, FIRST, tmp_path / "a")
    monkeypatch.setattr(lake, "build_shard", never)
    shard(exported, planned, FIRST, tmp_path / "b")


def test_shards_that_nobody_built_are_built_when_they_are_put_together(exported, planned, ivf, tmp_path):
    shard(exported, planned, SECOND, tmp_path / "a")
    assert put_together(exported, "e1", tmp_path / "c").snapshot_id == ivf.manifest.snapshot_id


def test_of_two_that_train_at_a_time_the_first_counts(exported, planned, ivf, tmp_path, monkeypatch):
    """Another machine finishes its training while this one trains; what it trained differs, as rounding may."""
    train = build.train

    def late(sample, **arguments):
        with monkeypatch.context() as patch:
            patch.setattr(build, "train", train)
            shard(exported, planned, FIRST, tmp_path / "first")
        return train(sample[::-1].copy(), **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(build, "train", late)
        shard(exported, planned, SECOND, tmp_path / "second")
    assert put_together(exported, "e1", tmp_path / "c").snapshot_id == ivf.manifest.snapshot_id


def test_of_two_that_give_a_shard_the_first_counts_and_the_other_leaves_nothing(store, tmp_path, monkeypatch):
    pieces = Pieces(store, "b-1")
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "docs.parquet").write_text(str(number))
    has = Pieces.has

    def other_is_first(self, name):
        is_there = has(self, name)
        monkeypatch.setattr(Pieces, "has", has)
        assert Pieces(store, "b-1").give(name, {"docs.parquet": tmp_path / "0" / "docs.parquet"})
        return is_there

    monkeypatch.setattr(Pieces, "has", other_is_first)
    assert not pieces.give("0000", {"docs.parquet": tmp_path / "1" / "docs.parquet"})
    assert pieces.fetch("0000", tmp_path / "got")
    assert (tmp_path / "got" / "docs.parquet").read_text() == "0"
    assert len(list(store.list(build_key("b-1", "")))) == 2


def test_a_run_that_is_killed_before_its_record_counts_for_nothing(exported, planned, ivf, tmp_path, monkeypatch):
    shard(exported, planned, SECOND, tmp_path / "b")
    put_once, files = type(exported).put_once, []

    def deadly(self, key, data):
        files.append(key)
        if key.endswith("whole/0000.json"):
            raise KeyboardInterrupt
        return put_once(self, key, data)

    with monkeypatch.context() as patch:
        patch.setattr(type(exported), "put_once", deadly)
        with pytest.raises(KeyboardInterrupt):
            shard(exported, planned, FIRST, tmp_path / "a")
    assert any("/0000/" in key for key in files)
    assert not Pieces(exported, planned.build_id).has_shard(FIRST)
    shard(exported, planned, FIRST, tmp_path / "a")
    assert put_together(exported, "e1", tmp_path / "c").snapshot_id == ivf.manifest.snapshot_id
    assert is_clean(exported, tmp_path / "a")


def test_a_damaged_piece_is_built_again(exported, planned, ivf, tmp_path):
    for name in (FIRST, SECOND):
        shard(exported, planned, name, tmp_path / "a")
    key = next(info.key for info in exported.list(BUILDS) if info.key.endswith("refine.bin"))
    exported.replace(key, b"rotten")
    assert put_together(exported, "e1", tmp_path / "c").snapshot_id == ivf.manifest.snapshot_id


def test_the_newest_export_is_what_is_served_on_an_older_build(exported, planned, ivf, tmp_path):
    for name in (FIRST, SECOND):
        shard(exported, planned, name, tmp_path / "a")
    put_export(exported, night(tmp_path / "night", ivf).export, "night9")
    manifest = put_together(exported, "night9", tmp_path / "c")
    assert (manifest.export_id, manifest.built.snapshot_id) == ("night9", ivf.manifest.snapshot_id)
    assert read_current(exported).snapshot_id == manifest.snapshot_id
    assert verify_stored(exported, manifest.snapshot_id) == manifest
    assert is_clean(exported, tmp_path / "c")


def test_where_the_newest_cannot_stand_on_it_the_newer_one_is_served(exported, planned, ivf, tmp_path):
    put_export(exported, night(tmp_path / "night", ivf, share=0.3).export, "night9")
    assert put_together(exported, "night9", tmp_path / "c").snapshot_id == ivf.manifest.snapshot_id


def test_an_older_build_does_not_replace_what_is_newer(exported, planned, ivf, tmp_path):
    put_export(exported, night(tmp_path / "night", ivf, share=0.3).export, "night9")
    newer = publish_export(exported, "night9", scratch=tmp_path / "step", spec=IVF_SPEC, log=silent)
    assert put_together(exported, "night9", tmp_path / "c") is None
    assert read_current(exported).snapshot_id == newer.snapshot_id


def test_the_old_build_goes_on_until_the_new_one_is_there(exported, ivf, tmp_path):
    publish_export(exported, "e1", scratch=tmp_path / "step", spec=IVF_SPEC, log=silent)
    put_export(exported, night(tmp_path / "night", ivf).export, "night9")
    manifest = publish_export(exported, "night9", scratch=tmp_path / "step", spec=IVF_SPEC, rules=AGED, log=silent)
    assert manifest.built.snapshot_id == ivf.manifest.snapshot_id
    plan = read_plan(exported)
    assert plan.export_id == "night9"
    assert put_together(exported, "night9", tmp_path / "c", AGED).full_build is None
    assert read_stored_manifest(exported, read_current(exported).snapshot_id).export_id == "night9"


def test_a_build_that_is_under_way_is_not_begun_again(exported, planned, ivf, tmp_path):
    shard(exported, planned, FIRST, tmp_path / "a")
    put_export(exported, night(tmp_path / "night", ivf).export, "night9")
    assert publish_export(exported, "night9", scratch=tmp_path / "step", spec=IVF_SPEC, rules=APART, log=silent) is None
    assert read_plan(exported) == planned
    assert Pieces(exported, planned.build_id).has_shard(FIRST)


def test_a_build_with_somebody_who_is_to_be_forgotten_is_dropped(exported, planned, ivf, tmp_path):
    shard(exported, planned, FIRST, tmp_path / "a")
    erased = Rules(is_apart=True, outdated=datetime.now(UTC) + timedelta(seconds=1))
    assert put_together(exported, "e1", tmp_path / "c", erased) is None
    put_export(exported, night(tmp_path / "night", ivf).export, "night9")
    assert (
        publish_export(exported, "night9", scratch=tmp_path / "step", spec=IVF_SPEC, rules=erased, log=silent) is None
    )
    assert read_plan(exported).export_id == "night9"
    assert [info.key for info in exported.list(BUILDS)] == [BUILD_PLAN]
    with pytest.raises(NotFoundError):
        shard(exported, planned, SECOND, tmp_path / "a")


def test_a_build_that_is_not_wanted_apart_any_more_is_dropped(exported, planned, ivf, tmp_path):
    shard(exported, planned, FIRST, tmp_path / "a")
    manifest = publish_export(exported, "e1", scratch=tmp_path / "step", spec=IVF_SPEC, log=silent)
    assert manifest.snapshot_id == ivf.manifest.snapshot_id
    assert is_clean(exported)


def test_one_shard_is_built_by_the_step(exported, flat, tmp_path):
    spec = IVF_SPEC.model_copy(update={"shard_max_rows": 20_000})
    manifest = publish_export(exported, "e1", scratch=tmp_path / "step", spec=spec, rules=APART, log=silent)
    assert len(manifest.shards) == 1
    assert read_plan(exported) is None


def test_domains_have_shards_of_their_own(store, ivf, tmp_path):
    export = with_domain(ivf, tmp_path / "export")
    put_export(store, export, "e2")
    whole = build.build_snapshot(export, tmp_path / "whole", IVF_SPEC, log=silent)
    publish_export(store, "e2", scratch=tmp_path / "step", spec=IVF_SPEC, rules=APART, log=silent)
    plan = read_plan(store)
    assert plan.names() == [FIRST, SECOND, ShardName(0, "short")]
    for name in reversed(plan.names()):
        shard(store, plan, name, tmp_path / "a")
    assert put_together(store, "e2", tmp_path / "c").snapshot_id == whole.snapshot_id


def with_domain(built: Built, folder: Path) -> Path:
    """Its export, with a vector of short-form content for every third creator."""
    shutil.copytree(built.export, folder)
    for number, path in enumerate(sorted((folder / "docs").glob("*.parquet"))):
        table = pq.read_table(path)
        vectors = clustered(len(table), 32, seed=40 + number).tolist()
        own = [vector if row % 3 == 0 else None for row, vector in enumerate(vectors)]
        pq.write_table(table.append_column("short_vector", pa.array(own, pa.list_(pa.float32()))), path)
    return folder


def test_names_of_shards_are_read_back():
    for name in (ShardName(3), ShardName(12, "short")):
        assert ShardName.parse(str(name)) == name
    assert shard_key(3) == "0003"
    for text in ("", "short", "short-x"):
        with pytest.raises(SchemaError):
            ShardName.parse(text)


def test_a_plan_that_is_damaged_is_said(store):
    store.replace(BUILD_PLAN, json.dumps({"export_id": "e1"}).encode())
    with pytest.raises(SchemaError, match="no plan"):
        read_plan(store)


def test_a_plan_whose_export_is_gone_is_of_no_use(store):
    plan = Plan("gone", fingerprint(IVF_SPEC), ("0000",), "2026-01-01T00:00:00+00:00")
    begin(store, plan)
    assert is_outdated(store, plan, None)
    assert put_together(store, "gone", Path("unused")) is None
