"""Dagster as it is operated: web page and daemon over a home, asked through GraphQL, with the power to kill a run's worker."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psutil

from tests.support import REPO, Home, free_port, request

T = TypeVar("T")
START_SECONDS = 120
LAUNCH = """
mutation($job: String!, $tags: [ExecutionTag!]) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "jobs.definitions", repositoryName: "__repository__", jobName: $job},
    executionMetadata: {tags: $tags}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}"""
RUNS = """
query { runsOrError(limit: 100) { ... on Runs { results {
  runId jobName status startTime endTime tags { key value } } } } }"""
POOLS = """
query { instance { concurrencyLimits { concurrencyKey activeSlotCount claimedSlots { runId } } } }"""
FINISHED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})


@dataclass
class Operated:
    """A running webserver with its daemon."""

    process: subprocess.Popen[str]
    base: str

    def ask(self, query: str, **variables: Any) -> Any:
        status, answer = request(f"{self.base}/graphql", {"query": query, "variables": variables})
        assert status == 200 and not answer.get("errors"), answer
        return answer["data"]

    def launch(self, job: str, **tags: str) -> str:
        """Put a run into the queue; its id."""
        pairs = [{"key": key.replace("__", "/"), "value": value} for key, value in tags.items()]
        launched = self.ask(LAUNCH, job=job, tags=pairs)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def runs(self) -> dict[str, dict[str, Any]]:
        """Runs by id; tags as a dictionary."""
        results = self.ask(RUNS)["runsOrError"]["results"]
        return {run["runId"]: run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in results}

    def taken_slots(self) -> dict[str, set[str]]:
        """Pool -> runs that hold a slot of it."""
        limits = self.ask(POOLS)["instance"]["concurrencyLimits"]
        held = {limit["concurrencyKey"]: {slot["runId"] for slot in limit["claimedSlots"]} for limit in limits}
        return {pool: runs for pool, runs in held.items() if runs}

    def workers(self) -> list[psutil.Process]:
        """Processes that have a Java child: the run workers with a Spark session."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if process.name().startswith("python") and any("java" in c.name() for c in process.children()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found


@contextmanager
def operated(home: Home) -> Iterator[Operated]:
    """`creatorlake dev` over a home on a free port, ended with all its children."""
    port = free_port()
    log = (home.path / "dev.log").open("w")
    process = subprocess.Popen(
        home.command("dev", "--port", str(port)),
        cwd=REPO,
        env=home.environment(),
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        dagster = Operated(process, f"http://127.0.0.1:{port}")
        until(lambda: _answers(dagster), START_SECONDS)
        yield dagster
    finally:
        _end(process)
        log.close()


def until(asked: Callable[[], T], seconds: float, *, every: float = 0.5) -> T:
    """The first true answer.

    Raises:
        AssertionError: there was none in time.
    """
    deadline = time.monotonic() + seconds
    while not (answer := asked()):
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(every)
    return answer


def _answers(dagster: Operated) -> bool:
    assert dagster.process.poll() is None, "Dagster ended"
    try:
        return bool(dagster.ask("query { version }"))
    except (OSError, AssertionError):
        return False


def _end(process: subprocess.Popen[str]) -> None:
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
