"""Helpers of the tests that run the real command line and the real service as processes of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.steps import STEPS
from lakehouse.settings import load_settings
from lakehouse.storage.objects import ObjectStore

REPO = Path(__file__).resolve().parents[1]
PREFIX = "CREATORLAKE_"
RUN_TIMEOUT_SECONDS = 540
READY_TIMEOUT_SECONDS = 120
WORLD = {
    "CREATORLAKE_SIMULATE_CREATORS": "220",
    "CREATORLAKE_SIMULATE_SEED": "7",
    "CREATORLAKE_SIMULATE_PLATFORMS": "false",
    "CREATORLAKE_EMAIL_PEPPER": "pepper of the tests, no secret",
}
"""Settings of the small synthetic world; with equal secrets, and without platforms that move on, two lakes can be compared."""
SHORT_JVM = {
    "SPARK_SUBMIT_OPTS": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -Dspark.sql.codegen.wholeStage=false -Dspark.sql.codegen.factoryMode=NO_CODEGEN"
}
"""For a JVM that sees few rows: quick code instead of good, and no classes made for each query. They take more than they give there
(half of its processor time). Quick code has 48 MB, unless asked for more; when that is full, Java 17 compiles no more and was seen to end.
The main job that is killed and run again by `tests/e2e` has what users have."""
NO_RETENTION = {"spark.databricks.delta.retentionDurationCheck.enabled": "false"}
"""Spark's setting with which VACUUM may remove, at `vacuum_hours` 0, what only versions of a moment ago name."""


@dataclass
class Home:
    """A home folder with its lake, and the command line over it."""

    path: Path
    lake: str
    env: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The caller's environment without its own creatorlake settings, with ours."""
        base = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return base | {"CREATORLAKE_HOME": str(self.path), "CREATORLAKE_LAKE": self.lake, **self.env}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "jobs.cli", *arguments]

    def start(self, *arguments: str, output: IO[str] | int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start a command in a process group of its own.

        Give a file as `output` to a process that nobody reads from while it runs: it would stop at a full pipe.
        """
        return subprocess.Popen(
            self.command(*arguments),
            cwd=REPO,
            env=self.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, timeout: float = RUN_TIMEOUT_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; stdout and stderr together."""
        return subprocess.run(
            self.command(*arguments),
            cwd=REPO,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @cached_property
    def objects(self) -> ObjectStore:
        """The lake's objects."""
        own = {name: text for name, text in self.env.items() if name.startswith(PREFIX)}
        given = {name.removeprefix(PREFIX).lower(): _value(text) for name, text in own.items()}
        return ObjectStore.open(load_settings(home=self.path, lake=self.lake, **given))

    def object(self, key: str) -> Any:
        """A JSON object of the lake."""
        return json.loads(self.objects.get(key))

    def progress(self, step: str) -> dict[str, Any]:
        """Progress record of a step."""
        return self.object(f"progress/{step}.json")

    def rows(self, table: str) -> int:
        """Rows of a Delta table of a local lake, counted from its log alone."""
        active: dict[str, int] = {}
        for path in sorted((Path(self.lake) / "delta" / table / "_delta_log").glob("*.json")):
            for line in path.read_text(encoding="utf-8").splitlines():
                action = json.loads(line)
                if "add" in action:
                    active[action["add"]["path"]] = json.loads(action["add"]["stats"])["numRecords"]
                if "remove" in action:
                    active.pop(action["remove"]["path"], None)
        return sum(active.values())


def _value(text: str) -> Any:
    """A variable's value; objects and lists are written as JSON."""
    return json.loads(text) if text.startswith(("{", "[")) else text


def shown_creators(home: Home) -> dict[str, tuple[str, ...]]:
    """Creator id -> its profiles as platform:account, of the snapshot that is current."""
    folder = f"snapshots/{home.object('snapshots/CURRENT')['snapshot_id']}/shards"
    keys = [info.key for info in home.objects.list(folder) if info.key.endswith("/docs.parquet")]
    rows = [row for key in keys for row in pq.read_table(pa.BufferReader(home.objects.get(key))).to_pylist()]
    return {
        row["creator_id"]: tuple(sorted(f"{p['platform']}:{p['platform_account_id']}" for p in row["profiles"]))
        for row in rows
    }


def step_counts(home: Home) -> dict[str, int]:
    """Rows out of every step."""
    return {step.name: home.progress(step.name)["rows_out"] for step in STEPS}


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request(url: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Status and parsed JSON of a GET, or of a POST when there is a body."""
    data = None if body is None else json.dumps(body).encode()
    call = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(call, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


@contextmanager
def served(home: Home) -> Iterator[str]:
    """The service over a home's lake on a free port, ready; ended by its own pid."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile("w+") as output:
        process = home.start("serve", "--port", str(port), output=output)
        try:
            _wait_ready(process, base, output)
            yield base
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_ready(process: subprocess.Popen[str], base: str, output: IO[str]) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            output.seek(0)
            raise AssertionError(f"the service ended: {output.read()}")
        try:
            if request(f"{base}/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError("the service did not become ready")
