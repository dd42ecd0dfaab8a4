"""Assembles everything Dagster serves: one overridable function, and the `defs` that `workspace.yaml` loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster import Definitions, in_process_executor

from assets.checks import checks_for
from assets.maintenance import erasure, maintenance_of, retention
from assets.materialization import asset_for
from assets.resources import LakeResource
from assets.shards import index_shards
from assets.steps import STEPS
from jobs.schedules import JOBS, SCHEDULES
from jobs.sensors import SENSORS


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> Definitions:
    """Definitions of the pipeline.

    Embedded runs use the in-process executor: one Spark session for the whole run instead of a JVM per asset.
    """
    return Definitions(
        assets=[
            *(asset_for(step) for step in STEPS),
            *(maintenance_of(step) for step in STEPS if step.outputs),
            erasure,
            retention,
            index_shards,
        ],
        asset_checks=[checks_for(step) for step in STEPS],
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=SENSORS,
        resources={"lake": LakeResource(), **(resource_overrides or {})},
        executor=in_process_executor,
    )


defs = build_defs()
