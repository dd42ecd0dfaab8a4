"""Every registered crash point of every asset and of the publisher, and the way to kill the main job at each of them.

Points in Python are armed by `CREATORLAKE_CRASH_AT`. Inside a Delta write the S3 request is the place: at its first data
file, and at its commit, which the server then never sees.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from assets.names import ANSWERS, EXPORT, FETCH, LANDING, SNAPSHOT
from assets.steps import STEPS
from lakehouse import crash
from lakehouse.ops.steps import Step
from tests.faults.proxy import FaultProxy, Rule
from tests.support import Home

RUN_SECONDS = 600
QUICK_JAVA = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1"}
"""A run that is killed after some seconds takes a third of the time with the quick compiler alone; a whole run takes longer."""


@dataclass(frozen=True)
class Point:
    """A crash point and where it is struck: at the n-th pass in the process, or at the first request of a path."""

    name: str
    nth: int = 1
    path: str = ""


@dataclass
class Killed:
    """What came of the attempts."""

    hit: list[str] = field(default_factory=list)
    missed: str = ""
    seconds: list[float] = field(default_factory=list)


def points(order: Sequence[str] = ()) -> list[Point]:
    """All points, in the order of the steps that a run passed (`passed`), else in that of the pipeline's list."""
    known = list(order) or [step.name for step in STEPS]
    return [point for step in sorted(STEPS, key=lambda step: known.index(step.name)) for point in _of_step(step)]


def passed(output: str) -> list[str]:
    """Names of the steps in the order in which a run that told `output` passed them; Dagster chooses among those ready."""
    names = {step.name for step in STEPS}
    return [words[0] for line in output.splitlines() if (words := line.split()) and words[0] in names]


def _of_step(step: Step) -> Iterator[Point]:
    yield Point(crash.point(step.name, crash.BEFORE_DATA))
    if step.outputs:
        folder = f"/delta/{step.outputs[0]}/"
        yield Point(crash.point(step.name, crash.MID_DATA), path=rf"{folder}.*\.parquet$")
        yield Point(crash.point(step.name, crash.AFTER_DATA), path=rf"{folder}_delta_log/\d{{20}}\.json$")
    elif step.name == LANDING:
        yield Point(crash.point(step.name, crash.MID_DATA), nth=100)
        yield Point(crash.point(step.name, crash.AFTER_DATA), nth=3)
    elif step.name == EXPORT:
        yield Point(crash.point(step.name, crash.MID_DATA), nth=2)
        yield Point(crash.point(step.name, crash.AFTER_DATA))
    elif step.name == SNAPSHOT:
        yield Point(crash.AFTER_FILE, nth=2)
        yield Point(crash.BEFORE_MANIFEST)
        yield Point(crash.BEFORE_CURRENT)
    yield Point(crash.point(step.name, crash.AFTER_COMMIT))


def registered() -> set[str]:
    """Names that must be hit: every stage of every step, and the publisher's own."""
    stages = {crash.point(step.name, stage) for step in STEPS for stage in crash.STAGES}
    inner = (crash.MID_DATA, crash.AFTER_DATA)
    index = {crash.point(SNAPSHOT, stage) for stage in inner}  # the publisher's, by name
    live = {crash.point(step, stage) for step in (FETCH, ANSWERS) for stage in inner}  # tests of the worker strike them
    return (stages - index - live) | {crash.AFTER_FILE, crash.BEFORE_MANIFEST, crash.BEFORE_CURRENT}


def kill_at_each(home: Home, proxy: FaultProxy, chosen: list[Point]) -> Killed:
    """Start the main job again and again, each time to the next point; every run goes on from what the last one left."""
    killed = Killed()
    for point in chosen:
        started = time.monotonic()
        output = _kill_at(home, proxy, point)
        killed.seconds.append(round(time.monotonic() - started, 1))
        print(f"{point.name:<60} {'missed' if output else 'killed'} after {killed.seconds[-1]} s", flush=True)
        if output:  # that run went to its end, so no later point can be hit any more
            killed.missed = f"{point.name}: {output}"
            break
        killed.hit.append(point.name)
    return killed


def _kill_at(home: Home, proxy: FaultProxy, point: Point) -> str:
    """Nothing if the run was killed at the point; what a run said that never came there and ended by itself."""
    armed = {} if point.path else {"CREATORLAKE_CRASH_AT": f"{point.name}:{point.nth}"}
    process = Home(home.path, home.lake, home.env | QUICK_JAVA | armed).start("run", "--no-serve")
    if point.path:
        proxy.rules = [Rule("reset", "PUT", point.path, times=1, on_hit=partial(_kill_group, process))]
    try:
        output, _ = process.communicate(timeout=RUN_SECONDS)
    finally:
        proxy.rules = []
        _kill_group(process)  # Spark outlives its parent for a moment
    return "" if process.returncode == -signal.SIGKILL else f"exit {process.returncode}: {output[-3000:]}"


def _kill_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
