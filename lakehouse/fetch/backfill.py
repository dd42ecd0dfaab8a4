"""Backfills: lists of posts over past date windows, newest window first, for many accounts, beside the live work.

A backfill is an immutable plan and work list in the lake and one small record of how far it was queued. Tasks enter the
queue a portion at a time at the lowest priority; the ledger lets them have a share of each budget, and only what live work
does not need. Killed anywhere it goes on at its record; a portion that was queued twice is one portion (equal task keys),
and what was fetched twice is one observation.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from lakehouse.contracts.layout import BACKFILLS, backfill_key
from lakehouse.errors import NotFoundError, PermanentError
from lakehouse.fetch.queue import FetchQueue
from lakehouse.fetch.source import Source
from lakehouse.fetch.task import FetchTask, Priority
from lakehouse.storage.objects import ObjectStore

SHARD_KEYS = 100_000
"""Keys of one object of the work list: some 3 MB."""
PORTION = 500
"""Tasks queued between two records of progress."""
WAITING = 2_000
"""Tasks of backfills in the queue at the most: enough for hours of a share, few enough to be withdrawn."""
PLAN, PROGRESS = "plan.json", "progress.json"
ID_CHARS = 12


@dataclass(frozen=True, slots=True)
class Backfill:
    """What is to be fetched. Windows are counted back from `until` (exclusive) to `since`, `window_days` each."""

    backfill_id: str
    source: str
    endpoint: str
    since: str
    until: str
    window_days: int
    keys_count: int
    shards: tuple[str, ...]

    @property
    def windows(self) -> list[tuple[dt.date, dt.date]]:
        """First day and day after the last of each window, newest first."""
        since, until = dt.date.fromisoformat(self.since), dt.date.fromisoformat(self.until)
        found = []
        while until > since:
            start = max(since, until - dt.timedelta(days=self.window_days))
            found.append((start, until))
            until = start
        return found

    @property
    def tasks_count(self) -> int:
        """First requests; further pages come on top."""
        return self.keys_count * len(self.windows)


@dataclass(frozen=True, slots=True)
class Progress:
    """The next task to queue: window, shard, place in the shard."""

    window: int = 0
    shard: int = 0
    offset: int = 0
    queued: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a backfill costs at least, a page an account and window; `days` at the share that backfills may have."""

    requests: int
    units: int
    usd: float
    days: float


def estimate(source: Source, endpoint: str, *, keys: int, windows: int, share: float) -> Estimate:
    """Requests, units, money and days of a backfill, without further pages."""
    one = source.endpoints[endpoint]
    requests = keys * windows
    each = one.units + (source.endpoints[one.then].units if one.then else 0)
    bucket = next((bucket for bucket in source.buckets if bucket.name == one.bucket), None)
    per_day = bucket.units * share / max(1, each) if bucket is not None and bucket.day is not None else 0.0
    rates = [rate for rate in source.rates if rate.family == one.family]
    by_rate = min((rate.requests / rate.seconds * 86_400 * share for rate in rates), default=0.0)
    pace = min((value for value in (per_day, by_rate) if value), default=0.0)
    return Estimate(requests, requests * each, requests * one.worst_usd, requests / pace if pace else 0.0)


def create(
    objects: ObjectStore,
    source: Source,
    endpoint: str,
    keys: Iterable[str],
    *,
    span: tuple[dt.date, dt.date],
    days: int,
) -> Backfill:
    """Write the plan and the work list of a backfill; the same one again is the same one.

    Args:
        objects: the lake's objects.
        source: to ask.
        endpoint: one that lists posts.
        keys: accounts, as the endpoint names them; streamed.
        span: first day, and the day after the last.
        days: of one window.

    Raises:
        PermanentError: the endpoint lists no posts, the span is empty, there are no keys, or another one of the source runs.
    """
    since, until = span
    if endpoint not in source.endpoints or source.endpoints[endpoint].record != "post":
        raise PermanentError(f"{source.source} has no endpoint {endpoint!r} that lists posts.")
    if since >= until or days < 1:
        raise PermanentError("A backfill needs a first day before its last, and windows of a day at least.")
    shards, digest, count = _write_shards(objects, keys)
    if not count:
        raise PermanentError("There are no accounts to fetch.")
    digest.update(json.dumps([source.source, endpoint, since.isoformat(), until.isoformat(), days]).encode())
    backfill_id = f"{source.source}-{digest.hexdigest()[:ID_CHARS]}"
    others = [one.backfill_id for one in running(objects) if one.source == source.source]
    if others and backfill_id not in others:
        raise PermanentError(f"{others[0]} of {source.source} has not ended; there is one at a time for each source.")
    backfill = Backfill(backfill_id, source.source, endpoint, since.isoformat(), until.isoformat(), days, count, shards)
    objects.put_once(backfill_key(backfill_id, PLAN), json.dumps(asdict(backfill), sort_keys=True).encode())
    return backfill


def load(objects: ObjectStore, backfill_id: str) -> Backfill:
    """Read a plan.

    Raises:
        NotFoundError: there is none of that id.
    """
    body: dict[str, Any] | None = objects.read_json(backfill_key(backfill_id, PLAN))
    if body is None:
        raise NotFoundError(f"There is no backfill {backfill_id}.")
    return Backfill(**body | {"shards": tuple(body["shards"])})


def progress_of(objects: ObjectStore, backfill: Backfill) -> Progress:
    """How far a backfill was queued."""
    return Progress(**(objects.read_json(backfill_key(backfill.backfill_id, PROGRESS)) or {}))


def running(objects: ObjectStore) -> list[Backfill]:
    """Backfills that are not queued to their end."""
    plans = [info.key for info in objects.list(BACKFILLS) if info.key.endswith(f"/{PLAN}")]
    found = [load(objects, key.split("/")[-2]) for key in sorted(plans)]
    return [one for one in found if not is_queued(one, progress_of(objects, one))]


def is_queued(backfill: Backfill, progress: Progress) -> bool:
    """Whether every task was handed to the queue."""
    return progress.window >= len(backfill.windows)


def advance(objects: ObjectStore, queue: FetchQueue, backfill: Backfill) -> Progress:
    """Queue further tasks as long as few of the source wait; called again and again until all are queued."""
    progress = progress_of(objects, backfill)
    held = _record(progress) if progress != Progress() else None
    depth = queue.depth(backfill.source)
    room = WAITING - depth.ready - depth.delayed - depth.in_flight
    tasks = _tasks(objects, backfill, progress)
    while room > 0 and not is_queued(backfill, progress):
        portion = list(islice(tasks, min(PORTION, room)))
        if not portion:
            progress = Progress(len(backfill.windows), 0, 0, progress.queued)
        else:
            queue.put(task for task, _ in portion)
            progress = portion[-1][1]
        if not objects.swap(backfill_key(backfill.backfill_id, PROGRESS), _record(progress), expected=held):
            return progress_of(objects, backfill)  # another one advances it; equal portions are queued once
        held = _record(progress)
        room -= len(portion)
    return progress


def _record(progress: Progress) -> bytes:
    return json.dumps(asdict(progress)).encode()


def _write_shards(objects: ObjectStore, keys: Iterable[str]) -> tuple[tuple[str, ...], hashlib._Hash, int]:
    """The work list as objects named by their content; their names, a digest over all, the number of keys."""
    digest, names, count = hashlib.sha256(), [], 0
    remaining = iter(keys)
    while shard := list(islice(remaining, SHARD_KEYS)):
        data = gzip.compress("\n".join(shard).encode("utf-8"), mtime=0)
        name = f"work-{hashlib.sha256(data).hexdigest()[:ID_CHARS]}.txt.gz"
        objects.put_once(backfill_key("work", name), data)
        digest.update(data)
        names.append(name)
        count += len(shard)
    return tuple(names), digest, count


def _tasks(objects: ObjectStore, backfill: Backfill, start: Progress) -> Iterator[tuple[FetchTask, Progress]]:
    """Tasks from a place on, each with the place after it."""
    queued = start.queued
    for window, (since, until) in list(enumerate(backfill.windows))[start.window :]:
        first = start.shard if window == start.window else 0
        for shard in range(first, len(backfill.shards)):
            keys = (
                gzip.decompress(objects.get(backfill_key("work", backfill.shards[shard]))).decode("utf-8").split("\n")
            )
            offset = start.offset if (window, shard) == (start.window, start.shard) else 0
            for place in range(offset, len(keys)):
                queued += 1
                yield _task(backfill, keys[place], since, until), Progress(window, shard, place + 1, queued)


def _task(backfill: Backfill, key: str, since: dt.date, until: dt.date) -> FetchTask:
    return FetchTask(
        backfill.source,
        backfill.endpoint,
        (key,),
        priority=Priority.BACKFILL,
        cycle=backfill.backfill_id,
        params={"since": since.isoformat(), "until": until.isoformat()},
    )
