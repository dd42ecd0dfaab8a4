"""Jobs and when they run: `nightly` brings what changed up to the index and measures it, `hourly` does so without measuring.

`shards` and `snapshot` are asked for by a sensor (`sensors.py`). What publishes carries one tag whose limit in `instance.yaml` lets one of them run at a time; a schedule whose job, or the wider one, is
still under way skips its tick instead of queueing behind it. Backfills have a limit of their own.
"""

from dagster import (
    AssetSelection,
    DagsterInstance,
    DagsterRunStatus,
    DefaultScheduleStatus,
    RunRequest,
    RunsFilter,
    ScheduleEvaluationContext,
    SkipReason,
    define_asset_job,
    schedule,
)

from assets.names import SHARDS, SNAPSHOT
from lakehouse.contracts.tables import QUALITY_METRICS

MAINTENANCE_GROUP = "maintenance"
LANE = "creatorlake/lane"
LIVE = "live"
SHARD = "shard"
PRIORITY = "dagster/priority"
UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]

DAILY = AssetSelection.all() - AssetSelection.groups(MAINTENANCE_GROUP) - AssetSelection.assets(SHARDS)

NIGHTLY = define_asset_job(
    "nightly",
    selection=DAILY,
    tags={LANE: LIVE, PRIORITY: "10"},
    description="Everything from landing to the published index; steps whose inputs did not change are skipped",
)
HOURLY = define_asset_job(
    "hourly",
    selection=DAILY - AssetSelection.assets(QUALITY_METRICS.name),
    tags={LANE: LIVE, PRIORITY: "5"},
    description="What platforms and new files say, up to the published index; steps whose inputs did not change are skipped",
)
MAINTENANCE = define_asset_job(
    "maintenance",
    selection=AssetSelection.groups(MAINTENANCE_GROUP),
    tags={LANE: LIVE, PRIORITY: "1"},
    description="OPTIMIZE, VACUUM and health of every table",
)
SHARD_BUILD = define_asset_job(
    "shards",
    selection=AssetSelection.assets(SHARDS),
    tags={LANE: SHARD},
    description="One shard of a full build of the index",
)
PUT_TOGETHER = define_asset_job(
    "snapshot",
    selection=AssetSelection.assets(SNAPSHOT),
    tags={LANE: LIVE, PRIORITY: "5"},
    description="The index alone: shards that runs of their own have built are put together and published",
)
JOBS = [NIGHTLY, HOURLY, MAINTENANCE, SHARD_BUILD, PUT_TOGETHER]


@schedule(job=NIGHTLY, cron_schedule="0 2 * * *", default_status=DefaultScheduleStatus.STOPPED)
def nightly_schedule(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
    """Every night at two, UTC."""
    return _unless_busy(context.instance, NIGHTLY.name)


@schedule(job=HOURLY, cron_schedule="15 * * * *", default_status=DefaultScheduleStatus.STOPPED)
def hourly_schedule(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
    """A quarter past every hour; the nightly run does the same work, so beside it there is nothing to do."""
    return _unless_busy(context.instance, HOURLY.name, NIGHTLY.name)


@schedule(job=MAINTENANCE, cron_schedule="0 6 * * 0", default_status=DefaultScheduleStatus.STOPPED)
def maintenance_schedule(context: ScheduleEvaluationContext) -> RunRequest | SkipReason:
    """Sundays at six, UTC."""
    return _unless_busy(context.instance, MAINTENANCE.name)


SCHEDULES = [nightly_schedule, hourly_schedule, maintenance_schedule]


def _unless_busy(instance: DagsterInstance, *jobs: str) -> RunRequest | SkipReason:
    for job in jobs:
        found = instance.get_runs(RunsFilter(job_name=job, statuses=UNFINISHED), limit=1)
        if found:
            return SkipReason(f"The run {found[0].run_id} of {job} has not ended.")
    return RunRequest()
