"""Runs of a full build: the sensor asks for each shard once, then for what puts them together, with Dagster's own jobs and partitions."""

from __future__ import annotations

import json

import pytest
from dagster import AddDynamicPartitionsRequest, DagsterInstance, build_sensor_context

from assets.names import EXPORT, SHARDS, SNAPSHOT
from assets.resources import LakeResource
from assets.shards import partition_keys
from assets.snapshot import spec_of
from index_build.apart import read_plan
from index_build.lake import Rules, publish_export
from index_build.publish import read_current
from jobs.definitions import build_defs
from jobs.sensors import shards_of_full_build
from lakehouse.contracts.layout import export_key, progress_key
from lakehouse.storage.objects import ObjectStore
from tests.unit.index_build.conftest import write_export

SHARD_ROWS = 200
"""Makes three flat shards of 500 rows."""


@pytest.fixture
def lake(tmp_path, monkeypatch) -> LakeResource:
    """A lake whose newest export has a plan, and no snapshot."""
    monkeypatch.setenv("CREATORLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CREATORLAKE_INDEX_APART", "1")
    monkeypatch.setenv("CREATORLAKE_INDEX_SHARD_ROWS", str(SHARD_ROWS))
    resource = LakeResource(lake=str(tmp_path / "lake"))
    store = resource.objects()
    export = write_export(tmp_path / "export", rows=500)
    info = json.loads((export / "export.json").read_text())
    (export / "export.json").write_text(json.dumps(info | {"rows": {"docs": 500}}))
    for path in sorted(path for path in export.rglob("*") if path.is_file()):
        store.put_once(export_key("e1", path.relative_to(export).as_posix()), path)
    store.replace(progress_key(EXPORT), json.dumps({"cursor": {"version": "e1"}}).encode())
    begun = publish_export(
        store, "e1", scratch=tmp_path / "step", spec=spec_of(resource.settings), rules=Rules(is_apart=True)
    )
    assert begun is None
    return resource


@pytest.fixture
def instance():
    with DagsterInstance.ephemeral() as opened:
        yield opened


class Daemon:
    """What the daemon does with a sensor: partitions first, then runs, none of a run key twice."""

    def __init__(self, lake: LakeResource, instance: DagsterInstance) -> None:
        self._lake, self._instance, self._asked = lake, instance, set()
        self._defs = build_defs({"lake": lake})

    def tick(self) -> list[str]:
        """One evaluation; names of the jobs that ran, with their partitions."""
        with build_sensor_context(instance=self._instance, resources={"lake": self._lake}) as context:
            result = shards_of_full_build(context)
        for change in result.dynamic_partitions_requests or ():
            if isinstance(change, AddDynamicPartitionsRequest):
                self._instance.add_dynamic_partitions(change.partitions_def_name, list(change.partition_keys))
            else:
                for key in change.partition_keys:
                    self._instance.delete_dynamic_partition(change.partitions_def_name, key)
        ran = []
        for request in result.run_requests or ():
            if request.run_key not in self._asked:
                self._asked.add(request.run_key)
                job = self._defs.resolve_job_def(request.job_name)
                done = job.execute_in_process(instance=self._instance, partition_key=request.partition_key)
                assert done.success
                ran.append(f"{request.job_name} {request.partition_key or ''}".strip())
        return ran


def test_shards_are_asked_for_once_then_put_together(lake, instance):
    objects: ObjectStore = lake.objects()
    plan = read_plan(objects)
    first, *others = partition_keys(plan)
    daemon = Daemon(lake, instance)
    assert daemon.tick() == [f"shards {first}"]
    assert set(instance.get_dynamic_partitions(SHARDS)) == {first, *others}
    assert daemon.tick() == [f"shards {key}" for key in others]
    assert daemon.tick() == ["snapshot"]
    assert read_current(objects) is not None
    assert read_plan(objects) is None
    assert daemon.tick() == []
    assert instance.get_dynamic_partitions(SHARDS) == []


def test_nothing_is_asked_for_without_a_plan(tmp_path, instance):
    daemon = Daemon(LakeResource(lake=str(tmp_path / "lake")), instance)
    assert daemon.tick() == []


def test_the_nightly_job_leaves_shards_to_the_sensor():
    nightly = build_defs().resolve_job_def("nightly")
    names = {key.to_user_string() for key in nightly.asset_layer.selected_asset_keys}
    assert {EXPORT, SNAPSHOT} <= names
    assert SHARDS not in names
