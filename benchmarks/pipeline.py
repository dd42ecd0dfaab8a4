"""The main job: seconds from raw files to a service that answers, rows and seconds per step, memory.

`make bench-pipeline` measures the default input; `make bench-pipeline INPUT=folder` a folder of real files, whose result
is `pipeline_input.json`; `make bench-pipeline PART=scale SIZES=100000,1000000` how cost grows (`scale.py`), and `PART=rows`
what a row costs where the work is Python (`rows.py`).
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from assets.steps import STEPS
from benchmarks import rows, scale
from benchmarks.plot import draw
from benchmarks.report import Figure, publish
from jobs.memory import PeakMemory
from tests.support import Home, served

FIRST_RUN_SECONDS = 240
"""Promise for the default input on 2 cores, set-up not counted."""
READY_AGAIN_SECONDS = 20
"""Promise for a second run with nothing changed, from the command to the first ready answer."""
RUN_TIMEOUT_SECONDS = 3_600
SCALE, ROWS = "scale", "rows"
"""Parts that measure sizes, and single rows; how the names of their figures begin."""
COUNTS = ("rows_in", "rows_out", "rows_quarantined", "rows_duplicate")


def measure(folder: str) -> list[Figure]:
    """Figures of a first run over a folder (the synthetic world when empty) and of a second one that serves."""
    with tempfile.TemporaryDirectory() as path:
        home = Home(Path(path), str(Path(path) / "lake"))
        arguments = ["run", "--no-serve", *(["--input", folder] if folder else [])]
        with PeakMemory() as peak:
            first = _timed(home, *arguments)
        again = _timed(home, *arguments)
        started = time.monotonic()
        with served(home):
            ready = time.monotonic() - started
        is_default = not folder
        return [
            Figure("first run", round(first, 1), "s", FIRST_RUN_SECONDS if is_default else None),
            Figure("second run, nothing changed", round(again, 1), "s"),
            Figure("second run to a ready service", round(again + ready, 1), "s", READY_AGAIN_SECONDS),
            Figure("peak memory of all processes", round(peak.gib, 1), "GiB"),
            *_steps(home),
        ]


def _timed(home: Home, *arguments: str) -> float:
    started = time.monotonic()
    done = home.run(*arguments, timeout=RUN_TIMEOUT_SECONDS)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return time.monotonic() - started


def _steps(home: Home) -> list[Figure]:
    return [figure for step in STEPS for figure in _step(step.name, home.progress(step.name))]


def _step(name: str, record: dict[str, Any]) -> list[Figure]:
    """Seconds and rows of one step; counts that are zero are left out but for rows in and out."""
    counts = [count for count in COUNTS if record[count] or count in ("rows_in", "rows_out")]
    rows = [Figure(f"{name}: {count}", record[count], "rows") for count in counts]
    return [Figure(f"{name}: seconds", round(record["seconds"], 1), "s"), *rows]


def main() -> None:
    """Measure what `INPUT` and `PART` say; the figures of the other part stay."""
    given = os.environ.get("INPUT", "")
    if given:
        publish("pipeline_input", measure(given), command="make bench-pipeline INPUT=folder")
    elif os.environ.get("PART") == SCALE:
        _measure_scale(scale.sizes())
    elif os.environ.get("PART") == ROWS:
        publish("pipeline", rows.measure(), command=f"make bench-pipeline PART={ROWS}", replaces=(ROWS,))
    else:
        publish("pipeline", measure(""), command="make bench-pipeline", keeps=(SCALE, ROWS))


def _measure_scale(sizes: list[int]) -> None:
    """How cost grows; of a single size its own figures alone, which stand beside those that others had in their hours."""
    is_growth = len(sizes) > 1
    replaces = (SCALE,) if is_growth else (f"{SCALE} {sizes[0]:,}",)
    command = f"make bench-pipeline PART={SCALE} SIZES={','.join(map(str, sizes))}"
    publish("pipeline", scale.measure(sizes), command=command, replaces=replaces)
    if is_growth:
        draw()


if __name__ == "__main__":
    main()
