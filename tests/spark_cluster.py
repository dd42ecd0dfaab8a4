"""A real Spark cluster on loopback: PySpark's own standalone master and workers, each a process, executors of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark

from tests.support import free_port

SPARK_HOME = Path(pyspark.__file__).parent
START_SECONDS = 90


@contextmanager
def standalone(folder: Path, *, workers: int = 2, memory: str = "2g") -> Iterator[str]:
    """Address of a master with one-core workers; all ended by their own pids."""
    port, page = free_port(), free_port()
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    address = f"spark://127.0.0.1:{port}"
    places = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)]
    started = [_start("master.Master", places, environment, folder / "master.log")]
    try:
        _wait(page, 0)
        for number in range(workers):
            work = folder / f"worker-{number}"
            options = [
                "--host",
                "127.0.0.1",
                "-c",
                "1",
                "-m",
                memory,
                "--webui-port",
                str(free_port()),
                "-d",
                str(work),
            ]
            log = folder / f"worker-{number}.log"
            started.append(_start("worker.Worker", [*options, address], environment, log))
        _wait(page, workers)
        yield address
    finally:
        for process in reversed(started):
            _end(process)


def _start(name: str, options: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *options]
    with log.open("wb") as out:
        return subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)


def _wait(page: int, workers: int) -> None:
    """Return when the master's page counts so many workers alive."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}/json/", timeout=2) as answer:
                if f'"aliveworkers" : {workers}' in answer.read().decode():
                    return
        except OSError:
            pass
        time.sleep(0.3)
    raise AssertionError(f"the Spark cluster did not get {workers} workers")


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
