"""Several Spark drivers that append to the same tables at once, and what was acknowledged beside what is there."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from tests.faults.writer import GO, GO_SECONDS
from tests.s3_backends import S3Backend
from tests.support import REPO, Home

DRIVER_SECONDS = 900


@dataclass(frozen=True)
class Outcome:
    """What the drivers were told, and what the table holds."""

    acked: list[str]
    refused: list[str]
    rows: list[str]
    version: int

    @property
    def lost(self) -> int:
        """Rows that were acknowledged and are not there."""
        return len(set(self.acked) - set(self.rows))


def append_together(
    home: Home, tables: list[str], *, appends: int, drivers: int = 2, **spark: str
) -> dict[str, dict[str, list[str]]]:
    """Run the drivers to their end; per table the values that were acknowledged and those that were refused."""
    home.env["CREATORLAKE_SPARK_EXTRA"] = json.dumps({"spark.driver.memory": "1g", **spark})
    names = [f"w{number}" for number in range(drivers)]
    common = {"tables": tables, "appends": appends, "folder": str(home.path)}
    started = [_start(home, {"name": name, "creates": name == names[0], **common}) for name in names]
    _together(home.path, names, started)
    answers = [_answers(process) for process in started]
    return {
        table: {
            kind: [value for lines in answers for line in lines if line["table"] == table for value in line[kind]]
            for kind in ("acked", "refused")
        }
        for table in tables
    }


def outcome(backend: S3Backend, table: str, told: dict[str, list[str]]) -> Outcome:
    """Read a table with delta-rs, past any proxy, and compare."""
    storage = {
        "AWS_ENDPOINT_URL": backend.endpoint,
        "AWS_ACCESS_KEY_ID": backend.access_key,
        "AWS_SECRET_ACCESS_KEY": backend.secret_key,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
    }
    opened = DeltaTable(table.replace("s3a://", "s3://"), storage_options=storage)
    rows = opened.to_pyarrow_table()["value"].to_pylist()
    return Outcome(told["acked"], told["refused"], rows, opened.version())


def _start(home: Home, task: dict[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.writer", json.dumps(task)],
        cwd=REPO,
        env=home.environment(),
        stdout=subprocess.PIPE,
        stderr=(home.path / f"{task['name']}.log").open("w"),
        text=True,
    )


def _together(folder: Path, names: list[str], started: list[subprocess.Popen[str]]) -> None:
    """Let the drivers go when all are ready."""
    deadline = time.monotonic() + GO_SECONDS
    while not all((folder / f"ready-{name}").exists() for name in names):
        assert time.monotonic() < deadline and all(process.poll() is None for process in started), "no driver started"
        time.sleep(0.1)
    (folder / GO).touch()


def _answers(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    output, _ = process.communicate(timeout=DRIVER_SECONDS)
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]
