"""How cost grows: accounts of a synthetic world from raw files to gold, each stage beside Spark reading and writing its rows.

`make bench-pipeline PART=scale SIZES=100000,1000000` measures each size in a process of its own, first whole and then
after a delivery that changes one account in a hundred, and fits how each stage grows. Embeddings and what needs them are
left out; identity runs, since gold needs it, and is told apart.

`python -m benchmarks.scale 10000000 FOLDER > STAGES/10000000.jsonl` writes a line as each stage ends, for sizes that take hours; what the
folder named by `STAGES` holds is not measured again, and a run that was ended early counts as far as it came.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assets.names import EXPORT, LANDING, SNAPSHOT
from assets.steps import STEPS
from benchmarks.plain_night import copies, nights
from benchmarks.report import Figure
from jobs.memory import PeakMemory
from lakehouse.contracts.tables import (
    ACCOUNTS,
    BRONZE_POSTS,
    EMBEDDINGS,
    GOLD_PROFILES,
    NICHES,
    POSTS,
    QUALITY_METRICS,
    SEARCH_DOCS,
    TABLES,
)
from lakehouse.ops.steps import Step, run_step
from lakehouse.settings import load_settings
from lakehouse.simulate.world import World
from lakehouse.simulate.write import write_delta, write_profiles
from lakehouse.storage.lake import Lake

SIZES = "100000,1000000"
ACCOUNTS_PER_CREATOR = 2.46
"""Of the synthetic world."""
CHANGED = 0.01
_OUTPUTS = {step.name: step.outputs for step in STEPS}
APART = frozenset({"identity", "simulate"})
"""Groups of stages that are no part of the sum from raw to gold."""
LEFT_OUT = frozenset(
    {
        EMBEDDINGS.name,
        NICHES.name,
        SEARCH_DOCS.name,
        POSTS.name,
        QUALITY_METRICS.name,
        EXPORT,
        SNAPSHOT,
        *(spec.name for spec in BRONZE_POSTS.values()),
    }
)
"""Steps that need an encoder, those of posts (this world holds profiles alone), and those after gold."""
WHOLE, LAST = "raw to gold", GOLD_PROFILES.name
"""All stages of a pass, and the last of them."""
FULL, NIGHTLY, PLAIN_NIGHT = "full", "nightly", "plain night"
SECONDS_PER_MILLION = round(1e6 / 15_000, 1)
"""Promise on 2 cores, raw to gold: 15,000 accounts a second."""
PEAK_GIB, NIGHTLY_SHARE, GROWTH, IDENTITY_GROWTH = 8, 0.05, 1.1, 1.25
"""Promises: memory of all processes, cost of a night with 1 % changed, cost per account from one size to ten times it."""
TIMEOUT_SECONDS = 6 * 3600


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of one pass. `plain_seconds` is Spark reading the rows that the step left and writing them as Parquet.

    A plain night has a stage for each table (`plain_night.py`); its `plain_seconds` are those of reading the table once.
    """

    kind: str
    name: str
    group: str
    rows_in: int
    rows_out: int
    seconds: float
    plain_seconds: float
    bytes_written: int
    shuffle_bytes: int
    peak_gib: float


def measure(sizes: list[int]) -> list[Figure]:
    """Figures of every size, and the exponents where there are two or more."""
    runs = {size: _apart(size) for size in sizes}
    figures = [figure for size, stages in runs.items() for figure in _of_size(size, stages)]
    return [*figures, *_growth(runs)]


def passes(accounts: int, folder: Path) -> Iterator[Stage]:
    """Write a world with about that many accounts into an empty folder, take it to gold, deliver a night's changes, again."""
    source = folder / "input"
    world = World(creators_count=max(1, round(accounts / ACCOUNTS_PER_CREATOR)))
    with PeakMemory() as peak:
        report = write_profiles(world, source)
    size = _bytes(source)
    yield Stage(FULL, "simulate", "simulate", 0, report.rows_count, report.seconds, 0.0, size, 0, round(peak.gib, 2))
    settings = load_settings(home=folder, lake=str(folder / "lake"), input=source, email_pepper="bench")
    lake = Lake(settings)
    lake.spark.range(1).count()
    chosen = [step for step in STEPS if step.name not in LEFT_OUT]
    for step in chosen:
        yield _stage(FULL, step, lake, folder)
    taken = copies(lake, [name for step in chosen for name in step.outputs], folder / "copies")
    write_delta(world, source, CHANGED, truth_folder=folder / "truth")
    for step in chosen:
        yield _stage(NIGHTLY, step, lake, folder)
    groups = {name: step.group for step in chosen for name in step.outputs}
    for spec, rows, seconds, read in nights(lake, taken, folder / "night"):
        at = (PLAIN_NIGHT, spec.name, groups[spec.name])
        yield Stage(*at, rows, rows, round(seconds, 2), round(read, 2), 0, 0, 0.0)


def _stage(kind: str, step: Step, lake: Lake, folder: Path) -> Stage:
    bytes_before, shuffle_before = _bytes(folder / "lake"), shuffled(lake)
    started = time.monotonic()
    with PeakMemory() as peak:
        report = run_step(step, lake, lake.settings, lambda _text: None)
    seconds = time.monotonic() - started
    written, moved = _bytes(folder / "lake") - bytes_before, shuffled(lake) - shuffle_before
    plain = _plain(step, lake, folder) if kind == FULL else 0.0
    return Stage(
        kind,
        step.name,
        step.group,
        report.rows_in,
        report.rows_out,
        round(seconds, 2),
        round(plain, 2),
        written,
        moved,
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


def shuffled(lake: Lake) -> int:
    """Bytes of shuffle written so far by all executors."""
    java: Any = lake.spark.sparkContext._jsc  # noqa: SLF001  (the only door to the status store without the page)
    executors = java.sc().statusStore().executorList(False)
    return sum(int(executors.apply(at).totalShuffleWrite()) for at in range(executors.length()))


def _apart(size: int) -> list[Stage]:
    """The stages of one size, measured by a process of its own, or in the folder `STAGES` what one wrote before."""
    lines = Path(os.environ.get("STAGES") or os.devnull) / f"{size}.jsonl"
    if lines.exists():
        return _read(lines.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scale", str(size), folder],
            stdout=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
    return _read(done.stdout)


def _read(lines: str) -> list[Stage]:
    return [Stage(**json.loads(line)) for line in lines.splitlines()]


def _of_size(size: int, stages: list[Stage]) -> Iterator[Figure]:
    name = f"scale {size:,}"
    full = [stage for stage in stages if stage.kind == FULL]
    counted = _accounts(full)
    seconds = _full_seconds(stages)
    simulated = next(stage for stage in full if stage.group == "simulate")
    yield Figure(f"{name}: accounts", counted, "accounts")
    yield Figure(f"{name}: simulated, per million accounts", _per_million(simulated.seconds, counted), "s", 60)
    yield Figure(f"{name}: {_span(full)}", round(seconds, 1), "s", peer=f"plain {_plain_seconds(full):.1f} s")
    if _span(full) == WHOLE:
        yield Figure(f"{name}: {WHOLE}, per million accounts", _per_million(seconds, counted), "s", SECONDS_PER_MILLION)
        yield Figure(f"{name}: accounts a second", round(counted / seconds), "accounts/s")
    yield Figure(f"{name}: peak memory of all processes", max(stage.peak_gib for stage in full), "GiB", PEAK_GIB)
    yield Figure(f"{name}: identity", round(_identity_seconds(stages), 1), "s")
    for what in ("bytes_written", "shuffle_bytes"):
        total = sum(getattr(stage, what) for stage in full if stage.group not in APART)
        yield Figure(f"{name}: {what.replace('_', ' ')} per account", round(total / counted), "bytes")
    if any(stage.kind == PLAIN_NIGHT for stage in stages):
        yield _night(name, stages)
    of_kind = {(stage.kind, stage.name): stage.seconds for stage in stages}
    for stage in full:
        if stage.group != "simulate":
            told = f"plain {stage.plain_seconds} s{_night_of(stage.name, of_kind)}"
            yield Figure(f"{name} {stage.name}: seconds", stage.seconds, "s", peer=told)


def _night(name: str, stages: list[Stage]) -> Figure:
    """Cost of a night, of the whole, beside what Delta and a reader alone take for it."""
    seconds = _full_seconds(stages)
    commits = _seconds(stages, PLAIN_NIGHT) / seconds
    read = _plain_seconds([stage for stage in stages if stage.kind == PLAIN_NIGHT]) / seconds
    return Figure(
        f"{name}: a night with 1 % changed, of the whole",
        round(_seconds(stages, NIGHTLY) / seconds, 3),
        "share",
        NIGHTLY_SHARE,
        peer=f"Delta's commits alone {commits:.3f}, reading the changed tables once {read:.3f}",
    )


def _night_of(step: str, seconds: dict[tuple[str, str], float]) -> str:
    """Words for a step's night, empty where none was run."""
    if (NIGHTLY, step) not in seconds:
        return ""
    commits = [seconds[at] for table in _OUTPUTS[step] if (at := (PLAIN_NIGHT, table)) in seconds]
    alone = f", its commits alone {sum(commits):.2f} s" if commits else ""
    return f", night {seconds[NIGHTLY, step]} s{alone}"


def _growth(runs: dict[int, list[Stage]]) -> Iterator[Figure]:
    """What an account costs at each size, in times of the smallest; slopes of log seconds over log accounts, 1 is linear.

    Hours differ, so the cost is told in times of Spark reading and writing the same rows in the same run as well.
    """
    if len(runs) < 2:
        return
    (least, first), *others = sorted(runs.items())
    for size, stages in others:
        before, after = _common(first, stages), _common(stages, first)
        plain = _cost(_plain_full, after) / _cost(_plain_full, before)
        for what, seconds, aim in (
            (_span(after), _full_seconds, GROWTH),
            ("identity", _identity_seconds, IDENTITY_GROWTH),
        ):
            cost = _cost(seconds, after) / _cost(seconds, before)
            name = f"scale {size:,}: {what}, cost per account in times of that at {least:,}"
            yield Figure(name, round(cost, 3), "", aim, peer=f"plain {plain:.3f}")
            yield Figure(f"{name}, over plain's", round(cost / plain, 3), "", aim)
    accounts = [_accounts(stages) for stages in runs.values()]
    full = [[stage for stage in stages if stage.kind == FULL] for stages in runs.values()]
    if all(_span(stages) == WHOLE for stages in full):
        yield Figure(f"scale exponent: {WHOLE}", _slope(accounts, [_full_seconds(stages) for stages in full]), "")
    for name in [stage.name for stage in full[0] if all(_has(stages, stage.name) for stages in full)]:
        seconds = [next(stage.seconds for stage in stages if stage.name == name) for stages in full]
        yield Figure(f"scale exponent: {name}", _slope(accounts, seconds), "")


def _span(full: list[Stage]) -> str:
    """Words for the stages of a pass, which may have been ended early."""
    last = [stage.name for stage in full if stage.group not in APART][-1]
    return WHOLE if last == LAST else f"raw to {last}"


def _common(stages: list[Stage], others: list[Stage]) -> list[Stage]:
    """Stages of a whole pass that other stages have as well."""
    return [stage for stage in stages if stage.kind == FULL and _has(others, stage.name)]


def _has(stages: list[Stage], name: str) -> bool:
    return any((stage.kind, stage.name) == (FULL, name) for stage in stages)


def _cost(seconds: Callable[[list[Stage]], float], stages: list[Stage]) -> float:
    return seconds(stages) / _accounts(stages)


def _slope(sizes: list[int], seconds: list[float]) -> float:
    logs = [[math.log(max(value, 1e-3)) for value in values] for values in (sizes, seconds)]
    return round(float(np.polyfit(logs[0], logs[1], 1)[0]), 2)


def _accounts(stages: list[Stage]) -> int:
    return next(stage.rows_out for stage in stages if (stage.kind, stage.name) == (FULL, ACCOUNTS.name))


def _seconds(stages: list[Stage], kind: str) -> float:
    return sum(stage.seconds for stage in stages if stage.kind == kind and stage.group not in APART)


def _full_seconds(stages: list[Stage]) -> float:
    return _seconds(stages, FULL)


def _identity_seconds(stages: list[Stage]) -> float:
    return sum(stage.seconds for stage in stages if (stage.kind, stage.group) == (FULL, "identity"))


def _plain_full(stages: list[Stage]) -> float:
    return _plain_seconds([stage for stage in stages if stage.kind == FULL])


def _plain_seconds(stages: list[Stage]) -> float:
    return sum(stage.plain_seconds for stage in stages if stage.group not in APART)


def _per_million(seconds: float, accounts: int) -> float:
    return round(seconds / accounts * 1e6, 1)


def sizes(default: str = SIZES) -> list[int]:
    """Numbers of accounts that `SIZES` names."""
    return [int(text) for text in (os.environ.get("SIZES") or default).split(",")]


if __name__ == "__main__":
    for found in passes(int(sys.argv[1]), Path(sys.argv[2])):
        sys.stdout.write(json.dumps(asdict(found)) + "\n")
        sys.stdout.flush()
