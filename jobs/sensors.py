"""Sensors: an alert for every failed run, whether an exception or a killed process ended it; the heartbeat's metrics; runs of full builds."""

from dagster import (
    AddDynamicPartitionsRequest,
    DefaultSensorStatus,
    DeleteDynamicPartitionsRequest,
    RunFailureSensorContext,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    run_failure_sensor,
    sensor,
)
from dagster._core.execution.plan.objects import StepFailureData

from assets.names import SHARDS
from assets.resources import LakeResource
from assets.shards import PARTITIONS, due_partitions, partition_keys
from index_build.apart import is_built, read_plan
from jobs.metrics import write_metrics
from jobs.schedules import PUT_TOGETHER, SHARD_BUILD
from lakehouse.ops.alerts import RUN_FAILED, raise_alert

ALERT_SECONDS = 10
HEARTBEAT_SECONDS = 60
MAX_STEPS, MAX_REASON_CHARS = 3, 500
SILENT = "its process ended without a word (killed, or out of memory)"
"""A run that failed without a failed step."""


@run_failure_sensor(default_status=DefaultSensorStatus.RUNNING, minimum_interval_seconds=ALERT_SECONDS)
def alert_on_failure(context: RunFailureSensorContext, lake: LakeResource) -> None:
    """Raise an alert for a failed run: what failed and why, in one sentence each."""
    run = context.dagster_run
    raise_alert(
        lake.objects(),
        lake.settings,
        kind=RUN_FAILED,
        subject=run.job_name,
        text=f"{run.job_name} failed: {_reason(context)}",
        run_id=run.run_id,
    )


@sensor(default_status=DefaultSensorStatus.RUNNING, minimum_interval_seconds=HEARTBEAT_SECONDS)
def heartbeat(context: SensorEvaluationContext, lake: LakeResource) -> SkipReason:
    """Write the metrics file: a heartbeat that stops tells that the daemon is down."""
    path = write_metrics(context.instance, lake.objects(), lake.settings)
    return SkipReason(f"Metrics are in {path}.")


@sensor(
    jobs=[SHARD_BUILD, PUT_TOGETHER],
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=HEARTBEAT_SECONDS,
)
def shards_of_full_build(context: SensorEvaluationContext, lake: LakeResource) -> SensorResult:
    """Ask once for a run of each shard of the full build that is under way, then for the one that puts them together."""
    objects = lake.objects()
    plan = read_plan(objects)
    known, wanted = context.instance.get_dynamic_partitions(SHARDS), [] if plan is None else partition_keys(plan)
    gone, new = [key for key in known if key not in wanted], [key for key in wanted if key not in known]
    changes: list[AddDynamicPartitionsRequest | DeleteDynamicPartitionsRequest] = []
    if gone:
        changes.append(PARTITIONS.build_delete_request(gone))
    if new:
        changes.append(PARTITIONS.build_add_request(new))
    if plan is None:
        return SensorResult(skip_reason="No full build is under way.", dynamic_partitions_requests=changes)
    due = due_partitions(objects, plan)
    runs = [RunRequest(run_key=key, partition_key=key, job_name=SHARD_BUILD.name) for key in due]
    if not due and is_built(objects, plan):
        runs = [RunRequest(run_key=plan.build_id, job_name=PUT_TOGETHER.name)]
    return SensorResult(run_requests=runs, dynamic_partitions_requests=changes)


SENSORS = [alert_on_failure, heartbeat, shards_of_full_build]


def _reason(context: RunFailureSensorContext) -> str:
    """First line of each failed step's sentence, or what ended a run that has none."""
    events = context.get_step_failure_events()
    text = "; ".join(f"{event.step_key}: {_told(event.step_failure_data)}" for event in events[:MAX_STEPS])
    return (text or SILENT)[:MAX_REASON_CHARS]


def _told(data: StepFailureData) -> str:
    known = data.user_failure_data
    return _first_line(known.description if known and known.description else data.error_display_string)


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] if lines else "no reason given"
