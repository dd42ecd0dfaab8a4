"""A full build in runs of its own: the same snapshot, whoever builds which shard, in which order, killed or twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_build import build, runs
from index_build.apart import MAX_AGE, Pieces, Plan, ShardName, begin, is_built, plan_of, read_plan, shard_key
from index_build.build import fingerprint
from index_build.export import open_export
from index_build.lake import Rules, publish_export
from index_build.publish import read_current, read_stored_manifest, verify_stored
from index_build.runs import build_apart
from lakehouse.contracts.layout import BUILD_PLAN, BUILDS, build_key, export_key, snapshot_key
from lakehouse.errors import IntegrityError, NotFoundError, PermanentError, SchemaError, TransientError
from tests.unit.index_build.conftest import IVF_SPEC, Built, clustered
from tests.unit.index_build.conftest import build as built_of
from tests.unit.index_build.test_renew import night

SPEC = IVF_SPEC.model_copy(update={"flat_max_rows": 500, "shard_max_rows": 2_000, "queries_per_cell": 8})
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


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Built:
    """Two IVF shards of about 1,500 rows."""
    return built_of(tmp_path_factory.mktemp("small"), SPEC, rows=3_000)


@pytest.fixture
def exported(store, small):
    """A lake with the export of a snapshot of two shards, and no snapshot."""
    put_export(store, small.export, "e1")
    return store


@pytest.fixture
def planned(exported, tmp_path) -> Plan:
    """The plan of its full build."""
    assert step(exported, "e1", tmp_path / "step") is None
    return read_plan(exported)


def shard(store, plan: Plan, name: ShardName, machine: Path, outdated: datetime | None = None) -> bool:
    return build_apart(store, plan.build_id, name, scratch=machine, spec=SPEC, outdated=outdated, log=silent)


def step(store, export_id: str, machine: Path, rules: Rules = APART):
    """What the step does in a run."""
    return publish_export(store, export_id, scratch=machine, spec=SPEC, rules=rules, log=silent)


def both(store, plan: Plan, machine: Path) -> None:
    for name in (FIRST, SECOND):
        assert shard(store, plan, name, machine)


def killed_at(deadly: str, store, plan: Plan, machine: Path, monkeypatch) -> None:
    """Build the first shard and die before an object is written."""
    put_once = type(store).put_once

    def killed(self, key, data):
        if key.endswith(deadly):
            raise KeyboardInterrupt
        return put_once(self, key, data)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "put_once", killed)
        with pytest.raises(KeyboardInterrupt):
            shard(store, plan, FIRST, machine)


def is_clean(store, *machines: Path) -> bool:
    left = [info.key for info in store.list(BUILDS)]
    return not left and not any(machine.exists() for machine in machines)


def never(*_arguments, **_more):
    raise AssertionError("This is not to be done again.")


def test_what_machines_build_apart_is_what_one_builds(exported, planned, small, tmp_path, monkeypatch):
    assert planned.names() == [FIRST, SECOND]
    assert read_current(exported) is None
    assert shard(exported, planned, SECOND, tmp_path / "a")
    assert not is_built(exported, planned)
    with monkeypatch.context() as patch:
        patch.setattr(build, "train", never)
        assert shard(exported, planned, FIRST, tmp_path / "b")
        patch.setattr(build, "encode", never)
        manifest = step(exported, "e1", tmp_path / "c")
    assert manifest.snapshot_id == small.manifest.snapshot_id == read_current(exported).snapshot_id
    assert verify_stored(exported, manifest.snapshot_id) == manifest
    assert is_clean(exported, *(tmp_path / name for name in ("step", "a", "b", "c")))


def test_a_finished_shard_is_not_built_again(exported, planned, tmp_path, monkeypatch):
    shard(exported, planned, FIRST, tmp_path / "a")
    monkeypatch.setattr(runs, "build_shard", never)
    assert shard(exported, planned, FIRST, tmp_path / "b")


def test_a_step_before_all_are_there_waits(exported, planned, tmp_path):
    shard(exported, planned, SECOND, tmp_path / "a")
    assert step(exported, "e1", tmp_path / "c") is None
    assert read_plan(exported) == planned
    assert Pieces(exported, planned.build_id).has_shard(SECOND)


def test_of_two_that_train_at_a_time_the_first_counts(exported, planned, small, tmp_path, monkeypatch):
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
    assert step(exported, "e1", tmp_path / "c").snapshot_id == small.manifest.snapshot_id


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


@pytest.mark.parametrize("deadly", ["whole/trained.json", "docs.parquet", "whole/0000.json"])
def test_a_run_that_is_killed_goes_on_and_gives_its_shard(exported, planned, small, tmp_path, monkeypatch, deadly):
    killed_at(deadly, exported, planned, tmp_path / "a", monkeypatch)
    assert not Pieces(exported, planned.build_id).has_shard(FIRST)
    both(exported, planned, tmp_path / "a")
    assert is_built(exported, planned)
    assert step(exported, "e1", tmp_path / "c").snapshot_id == small.manifest.snapshot_id
    assert is_clean(exported, tmp_path / "a", tmp_path / "c")


def test_a_store_that_stops_answering_costs_nothing_that_was_fetched(exported, planned, small, tmp_path, monkeypatch):
    both(exported, planned, tmp_path / "a")
    download, asked = type(exported).download, []

    def failing(self, key, target, *, sha256=None):
        asked.append(key)
        if "/0001/" in key and key.endswith("refine.bin") and len(asked) < 20:
            raise TransientError("The store does not answer.")
        return download(self, key, target, sha256=sha256)

    with monkeypatch.context() as patch:
        patch.setattr(type(exported), "download", failing)
        with pytest.raises(TransientError):
            step(exported, "e1", tmp_path / "c")
        asked.clear()
        asked += ["later"] * 20
        assert step(exported, "e1", tmp_path / "c").snapshot_id == small.manifest.snapshot_id
    assert not [key for key in asked if "/0000/" in key]


def test_a_damaged_shard_is_built_again(exported, planned, small, tmp_path):
    both(exported, planned, tmp_path / "a")
    key = next(info.key for info in exported.list(BUILDS) if info.key.endswith("refine.bin"))
    exported.replace(key, b"rotten")
    assert step(exported, "e1", tmp_path / "c").snapshot_id == small.manifest.snapshot_id


def test_a_build_whose_training_is_damaged_is_begun_again(exported, planned, small, tmp_path):
    both(exported, planned, tmp_path / "a")
    key = next(info.key for info in exported.list(BUILDS) if info.key.endswith("arrays.npz"))
    exported.replace(key, b"rotten")
    with pytest.raises(IntegrityError):
        step(exported, "e1", tmp_path / "c")
    assert is_clean(exported)
    assert step(exported, "e1", tmp_path / "c") is None
    again = read_plan(exported)
    assert again.build_id != planned.build_id
    both(exported, again, tmp_path / "a")
    assert step(exported, "e1", tmp_path / "c").snapshot_id == small.manifest.snapshot_id


def test_a_build_that_fails_for_good_does_not_stand_in_the_way_of_the_next(
    exported, planned, small, tmp_path, monkeypatch
):
    def bad(*_arguments, **_more):
        raise SchemaError("creator_id 'c' occurs more than once.")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "build_shard", bad)
        with pytest.raises(SchemaError):
            shard(exported, planned, FIRST, tmp_path / "a")
    assert read_plan(exported) is None
    put_export(exported, night(tmp_path / "night", small).export, "night9")
    assert step(exported, "night9", tmp_path / "step") is None
    assert read_plan(exported).export_id == "night9"
    assert not shard(exported, planned, SECOND, tmp_path / "a")


def test_a_build_that_nobody_finishes_is_given_up(exported, planned, small, tmp_path):
    old = (datetime.now(UTC) - MAX_AGE - timedelta(minutes=1)).isoformat(timespec="seconds")
    begin(exported, replace(planned, begun_at=old))
    put_export(exported, night(tmp_path / "night", small).export, "night9")
    assert step(exported, "night9", tmp_path / "step") is None
    assert read_plan(exported).export_id == "night9"


def test_the_newest_export_is_what_is_served_on_an_older_build(exported, planned, small, tmp_path):
    both(exported, planned, tmp_path / "a")
    put_export(exported, night(tmp_path / "night", small).export, "night9")
    manifest = step(exported, "night9", tmp_path / "c")
    assert (manifest.export_id, manifest.built.snapshot_id) == ("night9", small.manifest.snapshot_id)
    assert read_current(exported).snapshot_id == manifest.snapshot_id
    assert verify_stored(exported, manifest.snapshot_id) == manifest
    assert is_clean(exported, tmp_path / "c")


def test_where_the_newest_cannot_stand_on_it_the_newer_one_is_served(exported, planned, small, tmp_path):
    both(exported, planned, tmp_path / "a")
    put_export(exported, night(tmp_path / "night", small, share=0.3).export, "night9")
    assert step(exported, "night9", tmp_path / "c").snapshot_id == small.manifest.snapshot_id
    exported.delete(snapshot_key(small.manifest.snapshot_id))
    assert step(exported, "night9", tmp_path / "c") is None
    assert read_plan(exported).export_id == "night9"


def test_an_older_build_does_not_replace_what_is_newer(exported, planned, small, tmp_path):
    both(exported, planned, tmp_path / "a")
    put_export(exported, night(tmp_path / "night", small, share=0.3).export, "night9")
    newer = step(exported, "night9", tmp_path / "here", Rules())
    begin(exported, planned)
    for number in range(2):
        shard(exported, planned, ShardName(number), tmp_path / "a")
    put_export(exported, night(tmp_path / "third", small, seed=11, share=0.4).export, "night11")
    assert step(exported, "night11", tmp_path / "c") is None
    assert read_current(exported).snapshot_id == newer.snapshot_id
    assert read_plan(exported).export_id == "night11"


def test_the_old_build_goes_on_until_the_new_one_is_there(exported, small, tmp_path):
    step(exported, "e1", tmp_path / "step", Rules())
    put_export(exported, night(tmp_path / "night", small).export, "night9")
    manifest = step(exported, "night9", tmp_path / "step", AGED)
    assert manifest.built.snapshot_id == small.manifest.snapshot_id
    plan = read_plan(exported)
    assert plan.export_id == "night9"
    both(exported, plan, tmp_path / "a")
    assert step(exported, "night9", tmp_path / "c", AGED).full_build is None
    assert read_stored_manifest(exported, read_current(exported).snapshot_id).export_id == "night9"
    assert is_clean(exported)


def test_a_build_of_an_older_night_takes_effect_though_the_newest_is_served_already(exported, small, tmp_path):
    step(exported, "e1", tmp_path / "step", Rules())
    for seed in (9, 11):
        put_export(exported, night(tmp_path / f"night{seed}", small, seed=seed).export, f"night{seed}")
        step(exported, f"night{seed}", tmp_path / "step", AGED)
    plan = read_plan(exported)
    assert plan.export_id == "night9"
    both(exported, plan, tmp_path / "a")
    manifest = step(exported, "night11", tmp_path / "c", AGED)
    assert manifest.export_id == "night11"
    assert read_stored_manifest(exported, manifest.built.snapshot_id).export_id == "night9"
    assert read_current(exported).snapshot_id == manifest.snapshot_id
    assert is_clean(exported)


def test_a_build_that_is_under_way_is_not_begun_again(exported, planned, small, tmp_path):
    shard(exported, planned, FIRST, tmp_path / "a")
    put_export(exported, night(tmp_path / "night", small).export, "night9")
    assert step(exported, "night9", tmp_path / "step") is None
    assert read_plan(exported) == planned
    assert Pieces(exported, planned.build_id).has_shard(FIRST)


def test_of_somebody_who_is_to_be_forgotten_nothing_is_left(exported, planned, small, tmp_path):
    shard(exported, planned, FIRST, tmp_path / "a")
    now = datetime.now(UTC) + timedelta(seconds=1)
    assert not shard(exported, planned, SECOND, tmp_path / "a", now)
    manifest = step(exported, "e1", tmp_path / "c", Rules(is_apart=True, outdated=now))
    assert manifest.snapshot_id == small.manifest.snapshot_id  # nothing newer is there: it is built at once
    assert is_clean(exported, tmp_path / "c")


def test_a_shard_that_comes_too_late_is_removed(exported, planned, tmp_path, monkeypatch):
    build_shard = runs.build_shard

    def ended_meanwhile(*arguments, **more):
        built = build_shard(*arguments, **more)
        exported.delete(BUILD_PLAN)
        return built

    monkeypatch.setattr(runs, "build_shard", ended_meanwhile)
    assert not shard(exported, planned, FIRST, tmp_path / "a")
    assert is_clean(exported, tmp_path / "a")


def test_a_retry_after_the_end_of_its_build_removes_what_the_killed_run_left(exported, planned, tmp_path, monkeypatch):
    killed_at("whole/0000.json", exported, planned, tmp_path / "a", monkeypatch)
    assert [info.key for info in exported.list(BUILDS) if info.key.endswith("docs.parquet")]
    exported.delete(BUILD_PLAN)
    assert not shard(exported, planned, FIRST, tmp_path / "a")
    assert is_clean(exported, tmp_path / "a")


def test_a_machine_with_another_library_says_so_and_ends_nothing(exported, planned, tmp_path):
    begin(exported, replace(planned, fingerprint="another"))
    with pytest.raises(PermanentError, match="another format"):
        shard(exported, planned, FIRST, tmp_path / "a")
    assert read_plan(exported) is not None


def test_what_a_killed_end_left_goes_with_the_next_step(exported, planned, tmp_path):
    shard(exported, planned, FIRST, tmp_path / "a")
    exported.delete(BUILD_PLAN)
    step(exported, "e1", tmp_path / "step", Rules())
    assert is_clean(exported)


def test_a_build_that_is_not_wanted_apart_any_more_is_dropped(exported, planned, small, tmp_path):
    shard(exported, planned, FIRST, tmp_path / "a")
    assert step(exported, "e1", tmp_path / "step", Rules()).snapshot_id == small.manifest.snapshot_id
    assert is_clean(exported)


def test_one_shard_is_built_by_the_step(exported, flat, tmp_path):
    spec = SPEC.model_copy(update={"shard_max_rows": 4_000})
    manifest = publish_export(exported, "e1", scratch=tmp_path / "step", spec=spec, rules=APART, log=silent)
    assert len(manifest.shards) == 1
    assert read_plan(exported) is None


def test_domains_have_shards_of_their_own(store, small, tmp_path):
    export = with_domain(small, tmp_path / "export")
    put_export(store, export, "e1")
    whole = build.build_snapshot(export, tmp_path / "whole", SPEC, log=silent)
    step(store, "e1", tmp_path / "step")
    plan = read_plan(store)
    assert plan.names() == [FIRST, SECOND, ShardName(0, "short")]
    for name in reversed(plan.names()):
        shard(store, plan, name, tmp_path / "a")
    assert step(store, "e1", tmp_path / "c").snapshot_id == whole.snapshot_id


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


def test_a_shard_that_the_build_has_not_is_said(exported, planned, tmp_path):
    with pytest.raises(NotFoundError, match="no shard"):
        shard(exported, planned, ShardName(2), tmp_path / "a")


@pytest.mark.parametrize("body", [b"{", b"[]", json.dumps({"export_id": "e1"}).encode()])
def test_a_plan_that_cannot_be_read_is_none(exported, small, tmp_path, body):
    exported.replace(BUILD_PLAN, body)
    assert read_plan(exported) is None
    assert step(exported, "e1", tmp_path / "step", Rules()).snapshot_id == small.manifest.snapshot_id
    assert is_clean(exported)


def test_a_plan_whose_export_is_gone_is_of_no_use(exported, small, tmp_path):
    plan = plan_of(open_export(small.export), "gone", fingerprint(SPEC), SPEC)
    begin(exported, plan)
    assert not shard(exported, plan, FIRST, tmp_path / "a")
    step(exported, "e1", tmp_path / "step")
    assert read_plan(exported).export_id == "e1"
