"""A simulated week of refreshing an emulated world: storms on, quotas as published, workers killed at random or not.

`make bench-ingest PART=week` runs it twice. Time runs `SPEED` times as fast, for the emulator, the workers and the ledger
alike. The planner knows what the dumps said at the start and what answers told since; nothing else.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assets.names import ANSWERS
from assets.steps import STEPS
from benchmarks.report import Figure
from lakehouse.contracts.tables import ACCOUNT_METRICS, ACCOUNTS, BRONZE_PROFILES, OBSERVATIONS, TableSpec
from lakehouse.fetch.capture import read_answers, read_manifests
from lakehouse.fetch.change_rate import Evidence, Priors, observe
from lakehouse.fetch.clock import FastClock
from lakehouse.fetch.queue_sql import TASKS
from lakehouse.fetch.refresh import Terms, plan_refresh
from lakehouse.fetch.refresh_budget import hour_budget
from lakehouse.fetch.refresh_policy import load_policy
from lakehouse.fetch.refresh_state import REFRESH_SCHEMA, RefreshState, hours_of
from lakehouse.fetch.runtime import active_sources, connectors_of, tools_of
from lakehouse.fetch.source import MICRO
from lakehouse.fetch.task import Fate, FetchTask
from lakehouse.fetch.worker import Tools, work
from lakehouse.ops.steps import Report, run_step
from lakehouse.settings import Settings, load_settings
from lakehouse.simulate.platforms.faults import Faults
from lakehouse.simulate.platforms.life import Life
from lakehouse.simulate.platforms.registry import registry_of
from lakehouse.simulate.platforms.truth import followers_of
from lakehouse.simulate.world import World
from lakehouse.storage.lake import Lake
from lakehouse.storage.objects import ObjectStore

WEEK, KILLED = "week", "killed-week"
"""First words of the figures of either week."""
CREATORS = 37_300
"""About 100,000 accounts."""
SPEED = 600.0
"""A week in 17 minutes."""
HOURS = 7 * 24
WORKERS = 2
KILL_EVERY_HOURS = 3.0
"""Mean time between two kills."""
LEASE_SECONDS = 900.0
"""Virtual; a killed worker's tasks come back within the hour."""
START = dt.datetime(2026, 7, 1, 0, 30, tzinfo=dt.UTC)
CREDENTIALS = {"youtube_api": "yt-a", "x_api": "x-a", "licensed_instagram": "v-a", "tiktok_research": "tt-a:b"}
PATHS = {"youtube_api": "/youtube/v3"}
KINDS = {"youtube_api": "id", "x_api": "id", "licensed_instagram": "handle", "tiktok_research": "handle"}
FOLLOWERS = {
    "youtube_api": "statistics.subscriberCount",
    "x_api": "public_metrics.followers_count",
    "licensed_instagram": "followers_count",
    "tiktok_research": "follower_count",
}
MEMORY_HOURS = 28 * 24.0
CHANGING = ("followers", "fetched_at", "changes", "flagged_hours", "counted_hours")
"""Columns that answers change."""
IN_SILVER = (
    ANSWERS,
    *(spec.name for spec in BRONZE_PROFILES.values()),
    OBSERVATIONS.name,
    ACCOUNTS.name,
    ACCOUNT_METRICS.name,
)
"""Steps from landed answers to silver."""
PART = 10_000
"""Accounts of one question to the emulator, whose bodies are bounded."""


@dataclass
class Known:
    """What the lake would know: the planner's columns, which row a key names, and which keys were ever planned."""

    state: RefreshState
    row_of: dict[tuple[str, str], int]
    planned: set[tuple[str, str]] = field(default_factory=set)
    answered: set[tuple[str, str]] = field(default_factory=set)
    newest: int = 0


def week(*, are_killed: bool) -> list[Figure]:
    """One week; figures begin with its name."""
    name = f"{KILLED if are_killed else WEEK}:"
    with tempfile.TemporaryDirectory() as folder, _emulator() as address:
        began = time.monotonic()
        settings = _settings(Path(folder), address)
        objects, known = ObjectStore.open(settings), _known(address)
        clock = FastClock(START, SPEED, began)
        stale = _fresh(address, known)
        kills = _run(settings, objects, known, clock, began=began, are_killed=are_killed)
        with tools_of(settings, objects, active_sources(settings), log=lambda _text: None, clock=clock) as tools:
            lost = _lost(tools, known)
            uses, depth = tools.ledger.uses(), tools.queue.depth()
        fresh, ledger = _fresh(address, known), _ask(address, "ledger")
        manifests = list(read_manifests(objects))
        figures = [
            Figure(f"{name} accounts", len(known.state), "accounts"),
            Figure(f"{name} answers landed", sum(one.answers_count for one in manifests), "answers"),
            Figure(f"{name} accounts lost", lost, "accounts", 0),
            Figure(f"{name} workers killed", kills, "kills"),
            Figure(f"{name} tasks dead at the end", depth.dead, "tasks"),
            *_silver(name, settings),
            *_spent(name, uses, settings),
            *(
                Figure(f"{name} {p} shown right", round(share, 3), "share", peer=f"at the start {stale[p]:.3f}")
                for p, share in fresh.items()
            ),
        ]
        return [*figures, *_refused(name, ledger)]


def _silver(name: str, settings: Settings) -> Iterator[Figure]:
    """Everything that was landed, read into silver: records, those that came twice, and rows that a key has too many of."""
    lake = Lake(settings)
    steps = [step for step in STEPS if step.name in IN_SILVER]
    reports = {step.name: run_step(step, lake, settings, lambda _text: None) for step in steps}
    observed: Report = reports[OBSERVATIONS.name]
    yield Figure(f"{name} records in answers", observed.rows_in, "records", peer=f"{observed.rows_out:,} observations")
    yield Figure(f"{name} records that came twice", observed.rows_duplicate, "records", peer="kept once")
    yield Figure(f"{name} records in quarantine", observed.rows_quarantined, "records")
    doubled = sum(_doubled(lake, spec) for spec in (OBSERVATIONS, ACCOUNTS, ACCOUNT_METRICS))
    lake.spark.stop()  # it lives in this week's folder
    yield Figure(f"{name} duplicates in silver", doubled, "rows", 0)


def _doubled(lake: Lake, spec: TableSpec) -> int:
    """Rows beyond the first of each key."""
    return int(lake.count(spec)) - lake.read(spec).select(*spec.key).distinct().count()


def _spent(name: str, uses: list[Any], settings: Settings) -> Iterator[Figure]:
    """Most that was used in one window of each budget, against its limit."""
    sources = active_sources(settings)
    most: Counter[tuple[str, str]] = Counter()
    for use in uses:
        most[use.account, use.bucket] = max(most[use.account, use.bucket], use.used)
    for (account, bucket), used in sorted(most.items()):
        source = sources[account]
        if bucket.startswith("usd_"):
            limit = source.spend.usd_per_day if bucket == "usd_day" else source.spend.usd_per_cycle
            yield Figure(f"{name} {account} {bucket}, most in a window", round(used / MICRO, 2), "USD", limit)
        else:
            yield Figure(f"{name} {account} {bucket}, most in a window", used, "units", source.bucket(bucket).units)


def _refused(name: str, ledger: dict[str, Any]) -> Iterator[Figure]:
    """Calls as the platforms counted them."""
    for platform, counts in sorted(_by_platform(ledger).items()):
        yield Figure(
            f"{name} {platform} calls as the platform counts",
            counts["calls"],
            "calls",
            peer=f"{counts['refused']} refused",
        )


def _by_platform(ledger: dict[str, Any]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for entry in ledger["entries"]:
        counts = found.setdefault(entry["platform"], Counter())
        counts["calls"] += entry["calls"]
        counts["refused"] += entry["refused"]
    return found


@contextmanager
def _emulator() -> Iterator[str]:
    command = [sys.executable, "-m", "lakehouse.simulate.platforms", "--creators", str(CREATORS), "--speed", str(SPEED)]
    command += ["--start", START.isoformat(), "--faults", json.dumps(asdict(Faults.storm()))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip().rsplit(" ", 1)[-1]
    finally:
        process.terminate()
        process.wait()


def _settings(home: Path, address: str) -> Settings:
    return load_settings(
        home=home,
        lake=str(home / "lake"),
        email_pepper="bench",
        fetch_credentials=CREDENTIALS,
        fetch_allowed=("tiktok_research",),
        fetch_urls={name: f"{address}{PATHS.get(name, '')}" for name in CREDENTIALS},
    )


def _ask(address: str, route: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    call = urllib.request.Request(
        f"{address}/_emulator/{route}", data=data, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(call, timeout=60) as answer:
        return dict(json.loads(answer.read()))


def _known(address: str) -> Known:
    """Everybody, as a dump of a month before the start had them."""
    rows: list[dict[str, Any]] = []
    dumped, registry = START - dt.timedelta(days=30), registry_of(World(creators_count=CREATORS), Life())
    for source in KINDS:
        platform = {"youtube_api": "youtube", "x_api": "x", "licensed_instagram": "instagram"}.get(source, "tiktok")
        offset, followers = 0, followers_of(registry, platform, dumped.timestamp())
        while page := _ask(address, f"truth/accounts?platform={platform}&offset={offset}&limit=10000")["accounts"]:
            rows += [_row(platform, source, one, dumped) | {"followers_count": followers[one["id"]]} for one in page]
            offset += len(page)
    table = pa.Table.from_pylist(rows, schema=REFRESH_SCHEMA)
    keys = [
        (row["source"], str(row["platform_account_id" if KINDS[row["source"]] == "id" else "handle"]).casefold())
        for row in rows
    ]
    state = RefreshState.from_arrow(table)
    own = {name: getattr(state, name).copy() for name in CHANGING}
    return Known(replace(state, **own), {key: place for place, key in enumerate(keys)})


def _row(platform: str, source: str, one: dict[str, Any], at: dt.datetime) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(REFRESH_SCHEMA.names)
    row |= {"platform": platform, "source": source, "platform_account_id": one["id"], "handle": one["handle"]}
    row |= {"known_at": at, "last_fetched_at": at, "state": "active", "is_requested": False}
    return (
        row
        | {"changes": 0.0, "flagged_hours": 0.0, "counted_hours": 0.0, "tenants_count": 0, "impressions": 0.0}
        | {
            "referrers_count": 0,
        }
    )


def _run(
    settings: Settings, objects: ObjectStore, known: Known, clock: FastClock, *, began: float, are_killed: bool
) -> int:
    """Every hour: plan, let the workers work, read what they landed. How many workers were killed."""
    workers = [_worker(settings, began) for _ in range(WORKERS)]
    try:
        kills = _hours(settings, objects, known, clock, workers, began=began, are_killed=are_killed)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    _learn(objects, known, connectors_of(active_sources(settings)))
    return kills


def _hours(
    settings: Settings,
    objects: ObjectStore,
    known: Known,
    clock: FastClock,
    workers: list[subprocess.Popen[bytes]],
    *,
    began: float,
    are_killed: bool,
) -> int:
    policy, sources = load_policy(), active_sources(settings)
    draws, kills = random.Random(1), 0
    with tools_of(settings, objects, sources, log=lambda _text: None, clock=clock) as tools:
        for hour in range(HOURS):
            budgets = {
                name: hour_budget(source, clock.now(), tools.ledger.remaining(source))
                for name, source in sources.items()
            }
            priors = Priors.default(policy.prior)
            plan = plan_refresh([known.state], Terms(sources, budgets, policy, priors, clock.now()))
            tools.queue.put(plan.tasks)
            known.planned |= {(task.source, key.casefold()) for task in plan.tasks for key in task.keys}
            end = START + dt.timedelta(hours=hour + 1)
            while clock.now() < end:
                time.sleep(0.5)
                if are_killed and draws.random() < 0.5 * SPEED / 3600 / KILL_EVERY_HOURS:
                    place = draws.randrange(WORKERS)
                    workers[place].send_signal(signal.SIGKILL)
                    workers[place].wait()
                    workers[place], kills = _worker(settings, began), kills + 1
            _learn(objects, known, connectors_of(sources))
    return kills


def _worker(settings: Settings, began: float) -> subprocess.Popen[bytes]:
    given = {
        "home": str(settings.home),
        "lake": settings.lake,
        "email_pepper": "bench",
        "fetch_credentials": CREDENTIALS,
        "fetch_allowed": ["tiktok_research"],
        "fetch_urls": settings.fetch_urls,
    }
    return subprocess.Popen([sys.executable, "-m", "benchmarks.week", json.dumps(given), str(began)])


def _learn(objects: ObjectStore, known: Known, connectors: dict[str, Any]) -> None:
    """Take in what was landed since the last time."""
    for manifest in read_manifests(objects, known.newest):
        known.newest = manifest.number
        connector = connectors[manifest.source]
        for answer in read_answers(objects.get(manifest.path)):
            reading = connector.read(answer.task, answer.response)
            if reading.fate is not Fate.DONE:
                continue
            known.answered |= {(manifest.source, key.casefold()) for key in answer.task.keys}
            _take_in(known, manifest.source, answer, connector)


def _take_in(known: Known, source: str, answer: Any, connector: Any) -> None:
    state, at = known.state, hours_of(dt.datetime.fromisoformat(answer.fetched_at))
    evidence = Evidence(state.changes, state.flagged_hours, state.counted_hours)
    rows = [known.row_of[key] for key in ((source, k.casefold()) for k in answer.task.keys) if key in known.row_of]
    for row in rows:
        state.fetched_at[row] = at
    for _, record in connector.rows(answer.task, answer.response.document):
        key = str(record.get("id") if KINDS[source] == "id" else record.get("username") or answer.task.keys[0])
        place, value = known.row_of.get((source, key.casefold())), _at(record, FOLLOWERS[source])
        if place is None or value is None:
            continue
        before, now = float(state.followers[place]), float(value)
        if before > 0:
            moved = np.array([abs(now - before) / before / 0.01])
            observe(evidence, np.array([place]), np.array([1.0]), moved, MEMORY_HOURS)
        state.followers[place] = now


def _at(record: dict[str, Any], path: str) -> Any:
    value: Any = record
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _lost(tools: Tools, known: Known) -> int:
    """Keys that were planned and are neither answered, nor waiting, nor dead with a reason."""
    waiting: set[tuple[str, str]] = set()
    for task in _all_tasks(tools):
        waiting |= {(task.source, key.casefold()) for key in task.keys}
    return len(known.planned - known.answered - waiting)


def _all_tasks(tools: Tools) -> Iterator[FetchTask]:
    """Everything in the queue: what waits, whatever its time, and what is dead."""
    engine = tools.queue._engine  # noqa: SLF001  (a look at all tasks is no business of a queue's users)
    with engine.connect() as connection:
        for row in connection.execute(TASKS.select()):
            yield FetchTask.from_json(row.body)
    yield from (one.task for one in tools.queue.dead(10**6))


def _fresh(address: str, known: Known) -> dict[str, float]:
    shown: dict[str, dict[str, int]] = {}
    names = {"youtube_api": "youtube", "x_api": "x", "licensed_instagram": "instagram", "tiktok_research": "tiktok"}
    ids = known.state.ids.to_pylist()
    for row, (source, followers) in enumerate(zip(known.state.source, known.state.followers, strict=True)):
        shown.setdefault(names[known.state.sources[source]], {})[ids[row]] = int(followers)
    return {name: sum(_fresh_part(address, name, part) for part in _parts(one)) for name, one in sorted(shown.items())}


def _parts(shown: dict[str, int]) -> Iterator[dict[str, int]]:
    items = list(shown.items())
    return (dict(items[at : at + PART]) for at in range(0, len(items), PART))


def _fresh_part(address: str, platform: str, shown: dict[str, int]) -> float:
    """Share of all accounts of a platform that a part shows right; the parts add up."""
    return float(_ask(address, "truth/fresh", {"platform": platform, "shown": shown})["fresh_ratio"])


def _serve(given: dict[str, Any], began: float) -> None:
    """A worker: works until it is ended."""
    settings = load_settings(**given)
    sources, clock = active_sources(settings), FastClock(START, SPEED, began)
    with tools_of(settings, ObjectStore.open(settings), sources, log=lambda _text: None, clock=clock) as tools:
        quick = replace(tools, speed=SPEED, lease_seconds=LEASE_SECONDS)
        while True:
            asyncio.run(work(quick, sorted(sources), seconds=5))
            time.sleep(0.3)


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]), float(sys.argv[2]))
