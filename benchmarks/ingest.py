"""The live inlet measured: requests a second beside a bare client, and the planner beside its baselines.

`make bench-ingest` measures throughput; `PART=planner` the planner (some minutes of one core), `PART=week` two simulated weeks
under storms, one of them with workers killed (an hour), `PART=lag` how long a change takes to reach the search.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median

import aiohttp

from benchmarks import lag, planner
from benchmarks.report import Figure, publish
from benchmarks.week import KILLED, WEEK, week
from lakehouse.fetch.client import HttpClient
from lakehouse.fetch.clock import WallClock
from lakehouse.fetch.connector import ApiRequest
from lakehouse.fetch.runtime import tools_of
from lakehouse.fetch.source import Source, load_sources
from lakehouse.fetch.task import FetchTask
from lakehouse.fetch.worker import CONCURRENCY, Tools, work
from lakehouse.settings import load_settings
from lakehouse.simulate.platforms.quotas import Quotas
from lakehouse.storage.objects import ObjectStore

PLANNER, THROUGHPUT = "planner", "throughput"
CREATORS = 8_000
"""About 21,500 accounts."""
CREDENTIALS = {"youtube_api": "yt-a", "x_api": "x-a", "licensed_instagram": "v-a", "tiktok_research": "tt-a:b"}
PATHS = {"youtube_api": "/youtube/v3"}
ENDPOINTS = {
    "youtube_api": ("channels", 50, "youtube", "id"),
    "x_api": ("users", 100, "x", "id"),
    "licensed_instagram": ("profiles", 100, "instagram", "handle"),
    "tiktok_research": ("user_info", 1, "tiktok", "handle"),
}
ROUNDS = 3
SINGLES = 3_000
"""Accounts that are asked for one by one."""


def main() -> None:
    """Measure what `PART` says; the figures of the other part stay."""
    part = os.environ.get("PART") or THROUGHPUT
    if part == PLANNER:
        publish("ingest", planner.measure(), command=f"make bench-ingest PART={PLANNER}", replaces=(PLANNER,))
    elif part == lag.LAG:
        publish("ingest", lag.measure(), command=f"make bench-ingest PART={lag.LAG}", replaces=(lag.LAG,))
    elif part == WEEK:
        for name, are_killed in ((WEEK, False), (KILLED, True)):
            publish(
                "ingest", week(are_killed=are_killed), command=f"make bench-ingest PART={WEEK}", replaces=(f"{name}:",)
            )
    else:
        publish("ingest", throughput(), command="make bench-ingest", replaces=(THROUGHPUT,))


def throughput() -> list[Figure]:
    """Pages a second of the worker and of a bare client with the same requests at the same concurrency, in turns."""
    with tempfile.TemporaryDirectory() as folder, emulator(CREATORS) as address:
        tasks = asyncio.run(_tasks(address))
        pairs = [_pair(Path(folder) / str(number), address, tasks) for number in range(ROUNDS)]
    figures = []
    for name, requests in {
        **{name: [t for t in tasks if t.source == name] for name in ENDPOINTS},
        "all": tasks,
    }.items():
        ours, bare = (median(pair[side][name] for pair in pairs) for side in (0, 1))
        rate, peer = len(requests) / ours, len(requests) / bare
        text = f"bare client {peer:,.0f} pages/s; ratio {rate / peer:.2f}"
        figures.append(Figure(f"{THROUGHPUT} {name}: {len(requests):,} pages", round(rate, 1), "pages/s", peer=text))
    return figures


@contextmanager
def emulator(creators: int, *more: str) -> Iterator[str]:
    """The emulator without quotas as a process of its own."""
    quotas = json.dumps(asdict(Quotas.unlimited()))
    command = [sys.executable, "-m", "lakehouse.simulate.platforms", "--creators", str(creators), "--quotas", quotas]
    process = subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip().rsplit(" ", 1)[-1]
    finally:
        process.terminate()
        process.wait()


async def _tasks(address: str) -> list[FetchTask]:
    """Requests for every account, batched as each platform allows."""
    tasks: list[FetchTask] = []
    async with aiohttp.ClientSession(address) as session:
        for source, (endpoint, size, platform, kind) in ENDPOINTS.items():
            parameters = {"platform": platform, "limit": "10000"}
            async with session.get("/_emulator/truth/accounts", params=parameters) as answer:
                accounts = (await answer.json())["accounts"]
            keys = [one[kind] for one in accounts][: SINGLES if size == 1 else None]
            tasks += [FetchTask(source, endpoint, tuple(keys[at : at + size])) for at in range(0, len(keys), size)]
    return tasks


def _pair(home: Path, address: str, tasks: Sequence[FetchTask]) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of the worker and of the bare client, by source and for all at once."""
    settings = load_settings(
        home=home,
        lake=str(home / "lake"),
        email_pepper="bench",
        fetch_credentials=CREDENTIALS,
        fetch_allowed=("tiktok_research",),
        fetch_urls={name: f"{address}{PATHS.get(name, '')}" for name in CREDENTIALS},
    )
    sources = {
        name: _unbound(source, settings.fetch_urls[name])
        for name, source in load_sources().items()
        if name in CREDENTIALS
    }
    objects = ObjectStore.open(settings)
    with tools_of(settings, objects, sources, log=lambda _text: None, clock=WallClock()) as tools:
        groups = {**{name: [t for t in tasks if t.source == name] for name in ENDPOINTS}, "all": list(tasks)}
        ours = {name: _ours(tools, group) for name, group in groups.items()}
        bare = {name: asyncio.run(_bare(tools, group)) for name, group in groups.items()}
    return ours, bare


def _unbound(source: Source, url: str) -> Source:
    """A source whose quotas do not bind: what is measured is the machine."""
    buckets = tuple(bucket.model_copy(update={"units": 10**9}) for bucket in source.buckets)
    return source.model_copy(update={"base_url": url, "rates": (), "buckets": buckets, "spend": None})


def _ours(tools: Tools, tasks: Sequence[FetchTask]) -> float:
    tools.queue.put(tasks)
    started = time.monotonic()
    reports = asyncio.run(work(tools, sorted({task.source for task in tasks})))
    seconds = time.monotonic() - started
    answers = sum(report.answers for report in reports.values())
    assert answers == len(tasks), f"{answers} answers to {len(tasks)} requests: {reports}"
    return seconds


async def _bare(tools: Tools, tasks: Sequence[FetchTask]) -> float:
    """The same requests by aiohttp alone: no queue, no ledger, nothing read, nothing kept."""
    requests = [
        (task.source, tools.connectors[task.source].request(task), await _headers(tools, task)) for task in tasks
    ]
    async with aiohttp.ClientSession() as session:
        gates = {name: asyncio.Semaphore(CONCURRENCY) for name in ENDPOINTS}

        async def send(source: str, request: ApiRequest, headers: dict[str, str]) -> None:
            async with (
                gates[source],
                session.request(
                    request.method, request.url, params=request.params, json=request.body, headers=headers
                ) as answer,
            ):
                await answer.read()
                assert answer.status in (200, 400), answer.status  # 400: no such user

        started = time.monotonic()
        await asyncio.gather(*(send(*one) for one in requests))
        return time.monotonic() - started


async def _headers(tools: Tools, task: FetchTask) -> dict[str, str]:
    source = tools.connectors[task.source].source
    async with HttpClient(source.auth, connections=1) as client:
        secret = await tools.credentials.secret(source, task, client, WallClock().now())
    return {source.auth.header: source.auth.value.replace("{secret}", secret)}


if __name__ == "__main__":
    main()
