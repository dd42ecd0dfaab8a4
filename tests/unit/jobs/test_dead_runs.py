"""Runs whose process is gone give back what they held; runs that may be alive are left alone."""

from __future__ import annotations

import shutil

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.utils import make_new_run_id

from jobs.dead_runs import EMBEDDED, bury_dead_runs
from jobs.run import INSTANCE

POOL = "delta_silver_core__posts"


@pytest.fixture
def instance(tmp_path):
    shutil.copyfile(INSTANCE, tmp_path / "dagster.yaml")
    with DagsterInstance.from_config(str(tmp_path)) as opened:
        yield opened


def _started(instance: DagsterInstance, **tags: str) -> DagsterRun:
    """A run that holds the pool's only slot."""
    run = DagsterRun(job_name="nightly", run_id=make_new_run_id(), status=DagsterRunStatus.STARTED, tags=tags)
    instance.add_run(run)
    instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
    assert instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "step").is_claimed
    return run


def test_a_killed_embedded_run_is_ended_and_its_slot_is_free(instance):
    run = _started(instance, **{EMBEDDED: "true"})
    assert bury_dead_runs(instance, is_dagster_open=True) == 1
    assert instance.get_run_by_id(run.run_id).status is DagsterRunStatus.FAILURE
    assert instance.event_log_storage.claim_concurrency_slot(POOL, make_new_run_id(), "step").is_claimed
    assert bury_dead_runs(instance, is_dagster_open=True) == 0


def test_a_run_of_the_daemon_is_dead_only_when_dagster_is_closed(instance):
    run = _started(instance)
    assert bury_dead_runs(instance, is_dagster_open=True) == 0
    assert instance.get_run_by_id(run.run_id).status is DagsterRunStatus.STARTED
    assert bury_dead_runs(instance, is_dagster_open=False) == 1
    assert instance.get_run_by_id(run.run_id).status is DagsterRunStatus.FAILURE
