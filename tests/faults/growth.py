"""Run after run on one table: some rows change, some come, each seventh run is followed by upkeep; the files that are there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from lakehouse.contracts.layout import table_key
from lakehouse.contracts.tables import CREATOR_ALIASES as SPEC
from lakehouse.ops.maintenance import maintain
from lakehouse.storage.lake import Lake

ROWS, CHANGED, NEW = 1_000, 10, 5
"""Rows at the start; rows that a run changes, and that it adds."""
MAINTAINED_EVERY = 7
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Files:
    """After a run, before upkeep: data files of the newest version, data objects of all versions, rows."""

    live: int
    stored: int
    rows: int


def grow(lake: Lake, runs: int) -> Iterator[Files]:
    """Write the table `runs` times, each time the rows that a night would; the table passes for a large one.

    Spark runs with `NO_RETENTION`: upkeep removes at once what only older versions name.
    """
    lake.settings = lake.settings.model_copy(update={"small_table_mib": 0, "vacuum_hours": 0})
    _write(lake, [f"a{at}" for at in range(ROWS)], told="start")
    for run in range(1, runs + 1):
        changed = [f"a{(run * CHANGED + at) % ROWS}" for at in range(CHANGED)]
        _write(lake, [*changed, *(f"r{run}-{at}" for at in range(NEW))], told=f"run {run}")
        yield Files(len(lake.files(SPEC)), _stored(lake), lake.count(SPEC))
        if run % MAINTAINED_EVERY == 0:
            maintain(lake, SPEC)


def _write(lake: Lake, aliases: list[str], *, told: str) -> None:
    rows = [(alias, told, "merge", NOW) for alias in aliases]
    lake.upsert(SPEC, lake.spark.createDataFrame(rows, lake.spark_schema(SPEC)))


def _stored(lake: Lake) -> int:
    return sum(
        info.key.endswith(".parquet") and "_delta_log" not in info.key for info in lake.objects.list(table_key(SPEC))
    )
