"""How cost grows: accounts of a synthetic world from raw files to gold, each stage beside Spark reading and writing its rows.

`python -m benchmarks.scale ACCOUNTS FOLDER` measures one size in a process of its own and prints JSON lines, one per
stage. `make bench-pipeline PART=scale` runs the sizes one after the other and fits the exponents.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assets.names import LANDING
from assets.steps import STEPS
from jobs.memory import PeakMemory
from lakehouse.contracts.tables import BRONZE_POSTS, EMBEDDINGS, NICHES, POSTS, SEARCH_DOCS, TABLES
from lakehouse.ops.steps import Step, run_step
from lakehouse.settings import load_settings
from lakehouse.simulate.world import World
from lakehouse.simulate.write import write_profiles
from lakehouse.storage.lake import Lake

APART = frozenset({"identity"})
"""Groups of steps that run, since gold needs them, and are told apart from the sum."""
LEFT_OUT = frozenset(
    {EMBEDDINGS.name, NICHES.name, SEARCH_DOCS.name, POSTS.name, *(spec.name for spec in BRONZE_POSTS.values())}
)
"""Steps that need an encoder, and those of posts: the world of this benchmark holds profiles alone."""
ENDS = frozenset({"gold_export", "index_snapshot"})
DRIVER_MEMORY = "4g"


@dataclass(frozen=True, slots=True)
class Stage:
    """One step at one size. `plain_seconds` is Spark reading the rows that the step wrote and writing them as Parquet."""

    name: str
    group: str
    rows_in: int
    rows_out: int
    seconds: float
    plain_seconds: float
    bytes_written: int
    shuffle_bytes: int
    peak_gib: float


def measure(accounts: int, folder: Path) -> Iterator[Stage]:
    """Write a world with about that many accounts, and take it from raw files to gold.

    Args:
        accounts: wanted; the world holds about 0.92 rows of profiles for each.
        folder: for everything; empty.
    """
    source = folder / "input"
    with PeakMemory() as peak:
        started = time.monotonic()
        report = write_profiles(World(creators_count=accounts), source)
        spent = time.monotonic() - started
        size = sum(file.stat().st_size for file in source.rglob("*") if file.is_file())
        yield Stage("simulate", "simulate", 0, report.rows_count, spent, 0.0, size, 0, peak.gib)
    settings = load_settings(
        home=folder, lake=str(folder / "lake"), input=source, email_pepper="bench", spark_driver_memory=DRIVER_MEMORY
    )
    lake = Lake(settings)
    lake.spark.range(1).count()
    for step in STEPS:
        if step.name not in LEFT_OUT | ENDS:
            yield _stage(step, lake, folder)


def _stage(step: Step, lake: Lake, folder: Path) -> Stage:
    bytes_before, shuffle_before = _bytes(folder / "lake"), _shuffled(lake)
    with PeakMemory() as peak:
        report = run_step(step, lake, lake.settings, lambda _text: None)
    written, shuffled = _bytes(folder / "lake") - bytes_before, _shuffled(lake) - shuffle_before
    plain = _plain(step, lake, folder)
    return Stage(
        step.name,
        step.group,
        report.rows_in,
        report.rows_out,
        report.seconds,
        round(plain, 3),
        written,
        shuffled,
        round(peak.gib, 2),
    )


def _plain(step: Step, lake: Lake, folder: Path) -> float:
    """Seconds that Spark takes to read what a step wrote and write it as Parquet; for landing, lines as gzip text."""
    target = str(folder / "plain")
    started = time.monotonic()
    if step.name == LANDING:
        lake.spark.read.text(str(folder / "input")).write.mode("overwrite").option("compression", "gzip").text(target)
        return time.monotonic() - started
    for name in step.outputs:
        if lake.version(name) is not None:
            lake.read(TABLES[name]).write.mode("overwrite").parquet(target)
    return time.monotonic() - started


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _shuffled(lake: Lake) -> int:
    """Bytes of shuffle written so far by all executors."""
    java: Any = lake.spark.sparkContext._jsc  # noqa: SLF001  (the only door to the status store without the page)
    executors = java.sc().statusStore().executorList(False)
    return sum(int(executors.apply(at).totalShuffleWrite()) for at in range(executors.length()))


if __name__ == "__main__":
    for stage in measure(int(sys.argv[1]), Path(sys.argv[2])):
        sys.stdout.write(json.dumps(asdict(stage)) + "\n")
        sys.stdout.flush()
