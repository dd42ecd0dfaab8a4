"""Jobs and when they run: `nightly` rebuilds what changed up to the index, `hourly` brings new input into silver."""

from __future__ import annotations

from dagster import AssetSelection, DefaultScheduleStatus, ScheduleDefinition, define_asset_job

HOURLY_GROUPS = ("raw", "bronze", "silver", "ops")

NIGHTLY = define_asset_job(
    "nightly",
    selection=AssetSelection.all(),
    description="Everything from landing to the published index; steps whose inputs did not change are skipped",
)
HOURLY = define_asset_job(
    "hourly",
    selection=AssetSelection.groups(*HOURLY_GROUPS),
    description="New raw files into bronze and silver",
)
JOBS = [NIGHTLY, HOURLY]
SCHEDULES = [
    ScheduleDefinition(job=NIGHTLY, cron_schedule="0 2 * * *", default_status=DefaultScheduleStatus.STOPPED),
    ScheduleDefinition(job=HOURLY, cron_schedule="15 * * * *", default_status=DefaultScheduleStatus.STOPPED),
]
