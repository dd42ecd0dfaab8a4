"""What the lake keeps under faults: lost commits, storms, kills at every point, a killed worker, bad input.

`make bench-faults` measures all parts, over an hour; `make bench-faults PART=writers` one of them, and keeps the others'
last figures. The parts are the functions of `PARTS`.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import faults_page
from benchmarks.report import Figure, publish
from benchmarks.screens import take
from lakehouse.contracts.layout import PROGRESS, progress_key
from lakehouse.contracts.tables import OBSERVATIONS, TABLES
from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.ops.alerts import FETCH_TROUBLE
from lakehouse.settings import load_settings
from lakehouse.simulate.platforms.clock import VirtualClock
from lakehouse.simulate.platforms.faults import Faults
from lakehouse.simulate.platforms.server import app_of, build_emulator
from lakehouse.simulate.platforms.server import running as serving
from lakehouse.simulate.platforms.truth import accounts_of
from lakehouse.simulate.world import World
from lakehouse.storage.lake import Lake
from tests.browser import installed_browser
from tests.faults.content import COMPARED, differing, duplicate_keys
from tests.faults.corpus import corpus, fate
from tests.faults.dagster_home import FINISHED, operated, until
from tests.faults.drivers import append_together, outcome
from tests.faults.growth import MAINTAINED_EVERY, grow
from tests.faults.kills import kill_at_each, passed, points, registered
from tests.faults.nights import Night, live_through
from tests.faults.proxy import LOG_COMMIT, Rule, meetings, proxied
from tests.fetch_factory import urls_of
from tests.s3_backends import running
from tests.support import NO_RETENTION, WORLD, Home

SMALL = WORLD | {"CREATORLAKE_SIMULATE_CREATORS": "60"}
DRIVERS, APPENDS = 2, 50
STORMS = ("503", "500", "409", "reset", "lost", "lost500")
STORM = Faults(
    rate_limited=0.25,
    unavailable=0.1,
    lying_retry_after=0.5,
    platforms=("youtube", "x"),
    dead_platforms=("tiktok",),
)
"""What the platforms do while the pictures are taken."""
POISONED = "instagram"
METADATA_HEIGHT = 2_000
"""Pixels that show all of a step's metadata."""
CREDENTIALS = {"youtube_api": "yt-a", "x_api": "x-a", "licensed_instagram": "v-a", "tiktok_research": "tt-a:b"}
STORM_APPENDS, STORM_SHARE, STORM_SECONDS = 12, 0.4, 300
SLOT_SECONDS = 60
"""Promise: a killed run's pool slots are free again within this."""
RUN_SECONDS = 900
NIGHTS, MAX_DRIFT = 24, 1.1
WRITES = 98
"""Fourteen weeks of nightly runs."""


def writers(folder: Path) -> list[Figure]:
    """Two Spark drivers append to one table, with the fence on two servers and without it on one.

    The proxy holds each commit until the other driver's commit of the same version arrives, so that they meet.
    """
    figures = []
    for name in ("ministack", "seaweedfs"):
        with running(name, folder / name) as server, proxied(server.port) as proxy:
            proxy.rules = meetings("fenced", "unfenced")
            bucket = server.make_bucket("writers")
            tables = [f"s3a://{bucket}/fenced", *([f"s3://{bucket}/unfenced"] if name == "ministack" else [])]
            environment = server.lake_environment | {"CREATORLAKE_S3_ENDPOINT": proxy.endpoint}
            home = _home(folder / f"{name}-home", f"s3://{bucket}/lake", environment)
            plain = {"spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem"}
            started = time.monotonic()
            told = append_together(home, tables, appends=APPENDS, drivers=DRIVERS, **plain)
            seconds = time.monotonic() - started
            for table in tables:
                found = outcome(server, table, told[table])
                what = f"F5 {DRIVERS} drivers x {APPENDS} appends, {name}, {table.rsplit('/', 1)[1]}"
                is_fenced = table.endswith("/fenced")
                figures += [
                    Figure(f"{what}: acknowledged", len(found.acked), "appends"),
                    Figure(f"{what}: acknowledged and lost", found.lost, "rows", 0 if is_fenced else None),
                    Figure(f"{what}: versions beyond acknowledged", found.version - len(found.acked), "versions"),
                ]
            figures.append(Figure(f"F5 {name}: all appends", round(seconds, 1), "s"))
    return figures


def storms(folder: Path) -> list[Figure]:
    """One driver's commits meet each fault with a probability; rows and versions against what was acknowledged."""
    with running("ministack", folder / "ministack") as server, proxied(server.port) as proxy:
        bucket = server.make_bucket("storms")
        proxy.rules = [
            Rule(mode, "PUT", f"/at-{mode}{LOG_COMMIT}", skip=1, probability=STORM_SHARE, seed=seed)
            for seed, mode in enumerate(STORMS)
        ]
        environment = server.lake_environment | {"CREATORLAKE_S3_ENDPOINT": proxy.endpoint}
        home = _home(folder / "home", f"s3://{bucket}/lake", environment)
        tables = {mode: f"s3a://{bucket}/at-{mode}" for mode in STORMS}
        started = time.monotonic()
        told = append_together(home, list(tables.values()), appends=STORM_APPENDS, drivers=1)
        seconds = time.monotonic() - started
        figures = [Figure("F3 F4 F6 storms: all appends", round(seconds, 1), "s", STORM_SECONDS)]
        for mode, table in tables.items():
            found = outcome(server, table, told[table])
            hits = next(rule.hits for rule in proxy.rules if rule.mode == mode)
            wrong = len(set(found.rows) ^ set(found.acked)) + len(found.rows) - len(set(found.rows))
            figures += [
                Figure(f"F3 F4 F6 {mode} on {hits} commits: acknowledged", len(found.acked), "appends"),
                Figure(f"F3 F4 F6 {mode}: rows lost, doubled or unacknowledged", wrong, "rows", 0),
                Figure(
                    f"F3 F4 F6 {mode}: versions beyond acknowledged", found.version - len(found.acked), "versions", 0
                ),
            ]
        return figures


def kills(folder: Path) -> list[Figure]:
    """The main job on S3 killed at every registered point, then once more in peace, against an undisturbed run."""
    with running("ministack", folder / "ministack") as server, proxied(server.port) as proxy:
        bucket = server.make_bucket("kills")
        calm = _home(folder / "calm", f"s3://{bucket}/calm", server.lake_environment)
        order = passed(_done(calm))
        killed_home = _home(
            folder / "killed",
            f"s3://{bucket}/killed",
            server.lake_environment | {"CREATORLAKE_S3_ENDPOINT": proxy.endpoint},
        )
        killed = kill_at_each(killed_home, proxy, points(order))
        _done(killed_home)
        states = [server.settings(home.path, home.lake.removeprefix("s3://")) for home in (calm, killed_home)]
        return [
            Figure("F1 crash points registered", len(registered()), "points"),
            Figure("F1 crash points never hit", len(registered() - set(killed.hit)), "points", 0),
            Figure("F1 tables compared with an undisturbed run", len(COMPARED), "tables"),
            Figure("F1 tables with other content", len(differing(*states)), "tables", 0),
            Figure("F1 repeated keys", sum(duplicate_keys(states[1], name) for name in TABLES), "rows", 0),
            Figure("F1 time from start to kill, median", sorted(killed.seconds)[len(killed.seconds) // 2], "s"),
        ]


def dagster(folder: Path) -> list[Figure]:
    """A run's worker killed under the real daemon: until it is marked, until its slots are free, until it is told.

    With a browser at hand the pages of the failed run and of its retry are photographed for the documentation.
    """
    home = _home(folder / "home", str(folder / "lake"), {})
    with operated(home) as running_dagster:
        first = running_dagster.launch("nightly")
        worker = until(running_dagster.workers, 300)[0]
        until(running_dagster.taken_slots, 120)
        until(
            lambda: progress_key(OBSERVATIONS.name) in {info.key for info in home.objects.list(PROGRESS)}, RUN_SECONDS
        )
        started = time.monotonic()
        worker.send_signal(signal.SIGKILL)
        until(lambda: running_dagster.runs()[first]["status"] == "FAILURE", 2 * SLOT_SECONDS)
        failed = time.monotonic() - started
        until(lambda: first not in set().union(*running_dagster.taken_slots().values()), 4 * SLOT_SECONDS)
        free = time.monotonic() - started
        until(lambda: list(home.objects.list("alerts")), 4 * SLOT_SECONDS)
        told = time.monotonic() - started
        retry = until(lambda: [run for run in running_dagster.runs().values() if run["runId"] != first], 120)[0]
        until(lambda: running_dagster.runs()[retry["runId"]]["status"] in FINISHED, RUN_SECONDS, every=2)
        is_failed = running_dagster.runs()[retry["runId"]]["status"] != "SUCCESS"
        with installed_browser() as browser:
            base = running_dagster.base
            take(browser, f"{base}/asset-groups", "dagster")
            take(browser, f"{base}/runs/{first}", "dagster_failed")
            take(browser, f"{base}/runs/{retry['runId']}", "dagster_recovered")
            take(browser, f"{base}/runs", "dagster_runs")
        return [
            Figure("F2 killed worker: run marked failed", round(failed, 1), "s", SLOT_SECONDS),
            Figure("F2 killed worker: pool slots free", round(free, 1), "s", SLOT_SECONDS),
            Figure("F2 killed worker: alert raised", round(told, 1), "s", SLOT_SECONDS),
            Figure("F2 killed worker: retries that failed", int(is_failed), "runs", 0),
        ]


def platforms(folder: Path) -> list[Figure]:
    """The hourly job under the real daemon while platforms storm, one is away and one account is malformed.

    With a browser at hand the step's page and the run's are photographed for the documentation.
    """
    home = _home(folder / "home", str(folder / "lake"), {})
    _done(home)
    now = VirtualClock(dt.datetime.now(tz=dt.UTC))  # what is planned goes by the clock of this machine
    emulator = build_emulator(World(creators_count=int(SMALL["CREATORLAKE_SIMULATE_CREATORS"]), seed=7), clock=now)
    accounts = {name: accounts_of(emulator.registry, name, emulator.clock.seconds()) for name in PLATFORMS}
    poison = f"{POISONED}:{accounts[POISONED][0]['id']}"
    emulator.set_faults(replace(STORM, poison_accounts=(poison,)))
    with serving(app_of(emulator)) as address:
        home.env |= {
            "CREATORLAKE_FETCH_CREDENTIALS": json.dumps(CREDENTIALS),
            "CREATORLAKE_FETCH_ALLOWED": json.dumps(["tiktok_research"]),
            "CREATORLAKE_FETCH_URLS": json.dumps(urls_of(address)),
            "CREATORLAKE_FETCH_LIST": str(next(home.path.glob("world/*/accounts.csv"))),
            "CREATORLAKE_FETCH_MINUTES": "2",
        }
        with operated(home) as dagster_page, installed_browser() as browser:
            run = dagster_page.launch("hourly")
            until(lambda: dagster_page.runs()[run]["status"] in FINISHED, RUN_SECONDS, every=2)
            is_failed = dagster_page.runs()[run]["status"] != "SUCCESS"
            take(browser, f"{dagster_page.base}/assets/raw_fetch", "dagster_fetch", height=METADATA_HEIGHT)
            take(browser, f"{dagster_page.base}/assets/raw_answers", "dagster_poison", height=1_100)
    asked = home.progress("raw_fetch")["metadata"]
    alerts = [home.object(info.key)["kind"] for info in home.objects.list("alerts")]
    return [
        Figure("F12 storm in Dagster: hourly runs that failed", int(is_failed), "runs", 0),
        Figure("F12 storm in Dagster: requests", home.progress("raw_fetch")["rows_in"], "requests"),
        *(
            Figure(f"F12 storm in Dagster: {what}", sum(_numbers(asked, what)), "tasks")
            for what in ("answers", "retried", "parked", "dead")
        ),
        Figure("F12 storm in Dagster: tasks that wait", asked["queue_ready"] + asked["queue_delayed"], "tasks"),
        Figure("F12 storm in Dagster: alerts", alerts.count(FETCH_TROUBLE), "alerts"),
        Figure("F12 storm in Dagster: rows withheld", _withheld(home), "rows"),
    ]


def _numbers(metadata: dict[str, Any], what: str) -> Iterator[int]:
    """A number of each source."""
    return (int(value) for name, value in metadata.items() if name.endswith(f": {what}"))


def _withheld(home: Home) -> int:
    return sum(home.progress(name)["rows_quarantined"] for name in ("raw_answers", OBSERVATIONS.name))


def bad_input(folder: Path) -> list[Figure]:
    """The corpus: rows landed and withheld of each bad file, and the reasons."""
    figures = []
    for file in corpus():
        landed, withheld, reasons = fate(file, folder)
        said = ", ".join(sorted(reasons)) or "nothing to say"
        figures += [
            Figure(f"{file.number} {file.what}: rows landed ({said})", landed, "rows"),
            Figure(f"{file.number} {file.what}: rows withheld ({said})", withheld, "rows"),
        ]
    return figures


def nights(folder: Path) -> list[Figure]:
    """Nights in a row with random kills: what they cost as the lake grows older, and what is in it at the end."""
    home = _home(folder / "home", str(folder / "lake"), {})
    lived = live_through(home, World(creators_count=60, seed=7), NIGHTS, seed=24)
    kills = sum(night.kills for night in lived.nights)
    return [
        Figure(f"Nights {NIGHTS} in a row: runs killed", kills, "runs"),
        Figure(
            "Nights: tables with other content than one clean build",
            len(lived.differing),
            "tables",
            0,
            peer=", ".join(lived.differing) or None,
        ),
        Figure("Nights: seconds of a run, last quarter to first", round(lived.drift("seconds"), 2), "", MAX_DRIFT),
        Figure("Nights: files of all tables, last quarter to first", round(lived.drift("files"), 2), ""),
        Figure("Nights: bytes of all tables, last quarter to first", round(lived.drift("stored_bytes"), 2), ""),
        *(
            Figure(f"Nights {number:02d}: seconds", night.seconds, "s", peer=_told(night))
            for number, night in enumerate(lived.nights, 1)
        ),
    ]


def runs(folder: Path) -> list[Figure]:
    """Fourteen weeks of runs on one table with weekly upkeep: the files of the first week and of the last."""
    settings = load_settings(home=folder, lake=str(folder / "lake"), email_pepper="bench", spark_extra=NO_RETENTION)
    lake = Lake(settings)
    found = list(grow(lake, WRITES))
    lake.spark.stop()
    first, last = found[:MAINTAINED_EVERY], found[-MAINTAINED_EVERY:]
    return [
        Figure(
            f"Runs {WRITES}, upkeep every {MAINTAINED_EVERY}: most {name} data files, last week to first",
            max(getattr(files, name) for files in last),
            "files",
            max(getattr(files, name) for files in first),
        )
        for name in ("live", "stored")
    ]


def _told(night: Night) -> str:
    return f"{night.kills} kills, {night.files} files, {night.stored_bytes} bytes"


PARTS: dict[str, tuple[Callable[[Path], list[Figure]], tuple[str, ...]]] = {
    "writers": (writers, ("F5",)),
    "storms": (storms, ("F3",)),
    "dagster": (dagster, ("F2",)),
    "platforms": (platforms, ("F12",)),
    "bad_input": (bad_input, ("F9", "F10", "F11")),
    "kills": (kills, ("F1",)),
    "nights": (nights, ("Nights", "Nights:")),
    "runs": (runs, ("Runs",)),
}
"""Name -> what measures it, and the fault numbers that its figures begin with."""


def _home(path: Path, lake: str, environment: dict[str, str]) -> Home:
    path.mkdir(parents=True)
    return Home(path, lake, SMALL | environment)


def _done(home: Home) -> str:
    """What a run to its end told."""
    done = home.run("run", "--no-serve", timeout=RUN_SECONDS)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def main() -> None:
    """Measure the parts that `PART` names, all without it."""
    chosen = [os.environ["PART"]] if os.environ.get("PART") else list(PARTS)
    for name in chosen:
        measure, numbers = PARTS[name]
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(Path(folder))
        publish("faults", figures, command="make bench-faults", replaces=numbers)
        faults_page.write()
        sys.stdout.flush()


if __name__ == "__main__":
    main()
