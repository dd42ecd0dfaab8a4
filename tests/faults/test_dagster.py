"""F2: a run's worker killed under the real daemon: marked failed, told, retried, its slots free again, one writer at a time."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from index_build.apart import read_plan
from index_build.publish import read_current, read_stored_manifest
from tests.faults.dagster_home import FINISHED, Operated, operated, until
from tests.support import WORLD, Home, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(1500)]
SMALL = WORLD | {"CREATORLAKE_SIMULATE_CREATORS": "60"}
SHARD_ROWS = 25
"""Makes several shards of 60 creators."""
SLOT_SECONDS = 60
RUN_SECONDS = 900
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def dagster(request, tmp_path_factory) -> Iterator[tuple[Operated, Home]]:
    path = tmp_path_factory.mktemp(request.param)
    home = Home(path, str(path / "lake"), dict(SMALL))
    if request.param == "sqlite":
        with operated(home) as running:
            yield running, home
        return
    with TemporaryDirectory(dir="/tmp") as folder, Postgres(Path(folder)) as address:  # where another user may look
        home.env["CREATORLAKE_DAGSTER_POSTGRES"] = address
        with operated(home) as running:
            yield running, home
        assert address not in (path / "dagster" / "dagster.yaml").read_text()


def test_f2_a_killed_worker_is_told_retried_and_never_writes_beside_its_successor(dagster):
    running, home = dagster
    first = running.launch("nightly")
    worker = until(running.workers, 300)[0]
    until(running.taken_slots, 120)
    java = [child for child in worker.children() if "java" in child.name()]
    killed_at = time.monotonic()
    worker.send_signal(signal.SIGKILL)
    until(lambda: running.runs()[first]["status"] == "FAILURE", SLOT_SECONDS)
    until(lambda: first not in set().union(*running.taken_slots().values()), SLOT_SECONDS)
    assert time.monotonic() - killed_at <= SLOT_SECONDS
    until(running.workers, 120)
    assert [process for process in java if _is_alive(process)] == []
    retry = until(lambda: [run for run in running.runs().values() if run["runId"] != first], 60)[0]
    assert retry["tags"]["dagster/parent_run_id"] == first
    (alert,) = until(lambda: [home.object(info.key) for info in home.objects.list("alerts")], SLOT_SECONDS)
    assert (alert["kind"], alert["subject"], alert["run_id"]) == ("run_failed", "nightly", first)
    assert "its process ended" in alert["text"]
    until(lambda: running.runs()[retry["runId"]]["status"] in FINISHED, RUN_SECONDS, every=2)
    assert running.runs()[retry["runId"]]["status"] == "SUCCESS"
    assert home.object("snapshots/CURRENT")["snapshot_id"]
    metrics = (home.path / "metrics" / "creatorlake.prom").read_text()
    assert 'creatorlake_alerts{kind="run_failed"} ' in metrics


def test_a_backfill_never_takes_the_live_runs_slot_and_live_runs_never_overlap(dagster):
    running, _ = dagster
    fills = [running.launch("hourly", dagster__backfill=f"fill-{at}", creatorlake__lane="backfill") for at in range(3)]
    live = [running.launch("nightly"), running.launch("hourly")]
    until(lambda: all(running.runs()[run]["status"] in FINISHED for run in [*fills, *live]), RUN_SECONDS, every=2)
    runs = running.runs()
    assert {runs[run]["status"] for run in [*fills, *live]} == {"SUCCESS"}
    assert _overlaps([runs[run] for run in fills]) == 0
    assert _overlaps([runs[run] for run in live]) == 0
    assert runs[live[0]]["startTime"] < max(runs[run]["startTime"] for run in fills)


def test_shards_of_an_index_are_runs_of_their_own_and_one_more_publishes_them(tmp_path):
    apart = {"CREATORLAKE_INDEX_APART": "1", "CREATORLAKE_INDEX_SHARD_ROWS": str(SHARD_ROWS)}
    home = Home(tmp_path, str(tmp_path / "lake"), SMALL | apart)
    with operated(home) as running:
        night = running.launch("nightly")
        until(lambda: running.runs()[night]["status"] in FINISHED, RUN_SECONDS, every=2)
        assert running.runs()[night]["status"] == "SUCCESS"
        assert read_current(home.objects) is None
        until(lambda: read_current(home.objects), RUN_SECONDS, every=2)
        until(lambda: all(run["status"] in FINISHED for run in running.runs().values()), RUN_SECONDS, every=2)
        runs = list(running.runs().values())
    manifest = read_stored_manifest(home.objects, read_current(home.objects).snapshot_id)
    assert {run["status"] for run in runs} == {"SUCCESS"}
    shards = [run for run in runs if run["jobName"] == "shards"]
    assert len(manifest.shards) > 1
    assert len(shards) == len({run["tags"]["dagster/partition"] for run in shards}) >= len(manifest.shards)
    assert [run["jobName"] for run in runs if run["jobName"] not in {"shards", "nightly"}] == ["snapshot"]
    assert _overlaps(shards) == 0
    assert read_plan(home.objects) is None


def _overlaps(runs: list[dict[str, Any]]) -> int:
    spans = sorted((run["startTime"], run["endTime"]) for run in runs)
    return sum(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans))


def _is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


class Postgres:
    """A PostgreSQL cluster of its own on loopback, as another user where this one is root; ended by its own pid."""

    def __init__(self, folder: Path) -> None:
        if not POSTGRES:
            pytest.skip("no PostgreSQL server is installed")
        self.bin, self.folder, self.port = POSTGRES[-1], folder, free_port()
        self.user = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}

    def __enter__(self) -> str:
        self.folder.chmod(0o755)
        data = self.folder / "data"
        data.mkdir()
        if self.user:
            shutil.chown(data, "nobody", "nogroup")
        self._run("initdb", "-D", str(data), "-U", "lake", "-A", "trust", "--no-sync")
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        command = [str(self.bin / "postgres"), "-D", str(data), "-p", str(self.port), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.user)
        until(self._is_ready, 60)
        return f"postgresql://lake@127.0.0.1:{self.port}/postgres"

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([str(self.bin / program), *arguments], check=True, capture_output=True, **self.user)

    def _is_ready(self) -> bool:
        probe = [str(self.bin / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run(probe, check=False).returncode == 0
