"""Ends Dagster runs whose process is gone, so that what they held (pool slots, the run queue) is free again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun

EMBEDDED = "creatorlake/embedded"
"""Tag of runs that live and die with `creatorlake run`, unlike those that Dagster's daemon launches."""
KILLED = "The process of this run was killed; the next run goes on from its progress."


def bury_dead_runs(instance: DagsterInstance, *, is_dagster_open: bool) -> int:
    """Report unfinished runs as failed and free their slots. The caller holds the run lock.

    Args:
        instance: Dagster's instance of the home.
        is_dagster_open: whether the web page and daemon run: then runs that they launched may be alive and are left alone.

    Returns:
        How many were buried.
    """
    from dagster import DagsterRunStatus, RunsFilter

    unfinished = [
        DagsterRunStatus.NOT_STARTED,
        DagsterRunStatus.STARTING,
        DagsterRunStatus.STARTED,
        DagsterRunStatus.CANCELING,
    ]
    dead = [
        run
        for run in instance.get_runs(filters=RunsFilter(statuses=unfinished))
        if _is_embedded(run) or not is_dagster_open
    ]
    for run in dead:
        instance.report_run_failed(run, message=KILLED)
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return len(dead)


def _is_embedded(run: DagsterRun) -> bool:
    """Runs of the command line; one that was launched again from the web page carries the tag too, but has an origin."""
    return EMBEDDED in run.tags and run.remote_job_origin is None
