"""Night after night: a delivery, runs that are killed at random, one that completes, now and then maintenance."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from lakehouse.contracts.tables import TABLES
from lakehouse.ops.maintenance import maintain
from lakehouse.settings import load_settings
from lakehouse.simulate.world import World
from lakehouse.simulate.write import write_delta, write_world
from lakehouse.storage.lake import Lake
from tests.faults.content import differing
from tests.support import NO_RETENTION, REPO, Home

CHANGED = 0.05
"""Share of the accounts that a delivery changes."""
KILL_SHARE, MAX_KILLS = 0.6, 2
"""How likely each further attempt of a night is killed, and how many are at the most."""
MAINTAINED_EVERY = 6
RUN_SECONDS = 900
AT_ONCE = {"CREATORLAKE_VACUUM_HOURS": "0", "CREATORLAKE_SPARK_EXTRA": json.dumps(NO_RETENTION)}
"""Maintenance may remove at once what only old versions name: these nights are minutes apart, and nobody reads."""


@dataclass(frozen=True)
class Night:
    """One night: `seconds` of the run that completed, `kills` before it, and what the lake then held."""

    seconds: float
    kills: int
    files: int
    stored_bytes: int


@dataclass
class Nights:
    """All nights, and the tables that a rebuild from the same landing objects gives another content."""

    nights: list[Night] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)

    def drift(self, name: str) -> float:
        """Median of a measure over the last quarter of the nights, in medians of the first quarter."""
        values = [float(getattr(night, name)) for night in self.nights]
        quarter = max(1, len(values) // 4)
        return _median(values[-quarter:]) / _median(values[:quarter])


def live_through(home: Home, world: World, count: int, *, seed: int) -> Nights:
    """Let a lake live through nights; afterwards build it anew from its landing objects and compare.

    Args:
        home: empty, with a local lake; its settings name no input.
        world: what is delivered.
        count: nights.
        seed: of the kills.
    """
    chance = random.Random(seed)
    inbox = home.path / "inbox"
    write_world(world, inbox, truth_folder=home.path / "truth")
    seconds = _complete(home, inbox)
    lived = Nights()
    for day in range(1, count + 1):
        write_delta(world, inbox, CHANGED, day=day, truth_folder=home.path / "truth")
        kills = _kills(home, inbox, chance, longest=seconds)
        seconds = _complete(home, inbox)
        if day % MAINTAINED_EVERY == 0:
            _maintain(home)
        lived.nights.append(Night(seconds, kills, *_stored(home)))
        print(f"night {day}: {lived.nights[-1]}", flush=True)
    lived.differing = _compared(home, inbox)
    return lived


def maintain_all() -> None:
    """Maintain every table of the lake that the environment names."""
    lake = Lake(load_settings())
    for spec in TABLES.values():
        maintain(lake, spec)


def _complete(home: Home, inbox: Path) -> float:
    started = time.monotonic()
    done = home.run("run", "--no-serve", "--input", str(inbox), timeout=RUN_SECONDS)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return round(time.monotonic() - started, 1)


def _kills(home: Home, inbox: Path, chance: random.Random, *, longest: float) -> int:
    """Start runs and kill them, with all their children, after a random time; how many."""
    kills = 0
    while kills < MAX_KILLS and chance.random() < KILL_SHARE:
        process = home.start("run", "--no-serve", "--input", str(inbox))
        try:
            process.communicate(timeout=chance.uniform(2, longest))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
    return kills


def _maintain(home: Home) -> None:
    environment = replace(home, env=home.env | AT_ONCE).environment()
    subprocess.run([sys.executable, "-m", "tests.faults.nights"], cwd=REPO, env=environment, check=True)


def _stored(home: Home) -> tuple[int, int]:
    """Files and bytes of the tables and their logs."""
    sizes = [file.stat().st_size for file in (Path(home.lake) / "delta").rglob("*") if file.is_file()]
    return len(sizes), sum(sizes)


def _compared(home: Home, inbox: Path) -> list[str]:
    """Tables whose content a lake built at once from the same landing objects does not share."""
    anew = Home(home.path / "anew", str(home.path / "anew" / "lake"), home.env)
    shutil.copytree(Path(home.lake) / "landing", Path(anew.lake) / "landing")
    _complete(anew, inbox)
    settings = [load_settings(home=one.path, lake=one.lake, email_pepper="any") for one in (home, anew)]
    return differing(*settings)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    maintain_all()
