"""Works through the fetch queue: reserve, ask, read, land, forget. Killed anywhere, tasks come back when their lease ends.

Order of the last steps is what loses nothing: answers are landed first, then what follows from them is queued, then the
tasks are forgotten. A kill in between asks again; equal answers are one observation downstream.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lakehouse.crash import AFTER_COMMIT, MID_DATA, crashpoint, point
from lakehouse.errors import PermanentError
from lakehouse.fetch.capture import STEP, AnswerWriter, project_of
from lakehouse.fetch.client import CredentialRefusedError, HttpClient, TransportError
from lakehouse.fetch.clock import Clock
from lakehouse.fetch.connector import ApiRequest, ApiResponse, BadKeyError, Connector
from lakehouse.fetch.credentials import Credentials
from lakehouse.fetch.ledger import EVERYTHING, Grant, Ledger
from lakehouse.fetch.queue import Delivery, FetchQueue
from lakehouse.fetch.task import Fate, FetchTask, Priority, Reading
from lakehouse.fetch.withheld import Withheld
from lakehouse.storage.objects import ObjectStore

LEASE_SECONDS = 600.0
"""A task comes back after so long without a word; longer than any flush and any wait for a rate."""
CONCURRENCY = 16
"""Requests of one source under way at once."""
TAKE = 64
"""Tasks taken at a time."""
FLUSH_ANSWERS, FLUSH_BYTES, FLUSH_SECONDS = 1_000, 16 << 20, 60.0
"""Answers are landed when so many, so much or so old."""
MAX_FAILURES = 5
"""Failed attempts after which a task is dead (platforms.md 7.5)."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 5.0, 900.0
"""Full jitter between zero and a bound that doubles (Brooker, Exponential Backoff And Jitter, AWS 2015)."""
LONGEST_WAIT_SECONDS = 3_600.0
"""Most that an answer can make us wait (platforms.md 7.2)."""
BRIEF_SECONDS = 120.0
"""A rate that frees up within so long is waited for; the lease is longer."""
LEASE_SHARE = 0.5
"""Tasks are not waited with beyond so much of their lease: a request, its answer and its landing have to fit as well."""
THROTTLED, UNAUTHORIZED = 429, 401
TICK_SECONDS = 0.05
"""Past the due time of a retry, so that the queue calls it due too."""
RESET_JITTER_SECONDS = 5.0
"""After the end of a window, so that workers do not return at one moment."""
OUTAGE_SHARE, OUTAGE_SAMPLE = 0.5, 40
"""With so large a share of failures among the last so many requests a source is left alone for a while."""
OUTAGE_SECONDS = 300.0
DOUBT_SHARE, DOUBT_SECONDS = 0.1, 3_600.0
"""A budget that is called spent while our ledger has more than so much of it left is asked for again within an hour."""
STOP_SECONDS = 3_600.0
"""How long a source is left alone that refuses us; a person has to act meanwhile."""


@dataclass(slots=True)
class SourceReport:
    """What came of a source in one run of a worker. `resume_at` and `blocked_by` are set where a budget ended."""

    requests: int = 0
    answers: int = 0
    rows: int = 0
    usd: float = 0.0
    retried: int = 0
    parked: int = 0
    dead: int = 0
    split: int = 0
    objects: int = 0
    resume_at: str = ""
    blocked_by: str = ""
    stopped: str = ""
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Tools:
    """What a worker works with."""

    queue: FetchQueue
    ledger: Ledger
    objects: ObjectStore
    connectors: Mapping[str, Connector]
    credentials: Credentials
    clock: Clock
    alert: Callable[[str, str], None] = lambda _subject, _text: None
    log: Callable[[str], None] = lambda _text: None
    speed: float = 1.0
    """Of the clock, for time limits."""
    lease_seconds: float = LEASE_SECONDS
    withheld: Withheld = field(default_factory=Withheld)


async def work(tools: Tools, sources: Sequence[str], *, seconds: float | None = None) -> dict[str, SourceReport]:
    """Work until nothing can be taken: the queue is empty, what is left waits for its time, or a budget ended.

    Args:
        tools: queue, ledger, store and so on.
        sources: to work for; each on its own, so that one that is down stops no other.
        seconds: of real time after which to stop taking.

    Returns:
        A report per source.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    workers = {name: _SourceWorker(tools, tools.connectors[name], deadline) for name in sources}
    await _all_of(worker.run() for worker in workers.values())
    return {name: worker.report for name, worker in workers.items()}


class _SourceWorker:
    """Works for one source."""

    def __init__(self, tools: Tools, connector: Connector, deadline: float | None) -> None:
        self.report = SourceReport()
        self._tools = tools
        self._connector = connector
        self._source = connector.source
        self._deadline = deadline
        project = project_of(tools.credentials.name(self._source), tools.credentials.pepper)
        self._writer = AnswerWriter(tools.objects, self._source, project)
        self._finished: list[Delivery] = []
        self._follow_ups: list[FetchTask] = []
        self._flushed = time.monotonic()
        self._outcomes: list[bool] = []
        self._random = random.Random()  # noqa: S311  (spreads load, guards nothing)
        self._is_blocked = False
        self._taken_at = tools.clock.now()
        self._due: list[dt.datetime] = []
        """When tasks that failed here can be taken again."""

    async def run(self) -> None:
        """Take, ask, land until nothing can be taken."""
        async with HttpClient(self._source.auth, connections=CONCURRENCY, speed=self._tools.speed) as client:
            try:
                while not self._is_blocked and not self._is_late():
                    self._taken_at = self._tools.clock.now()
                    taken = await asyncio.to_thread(
                        self._tools.queue.take,
                        TAKE,
                        lease_seconds=self._tools.lease_seconds,
                        sources=[self._source.source],
                    )
                    if taken:
                        await self._ask_all(client, taken)
                        await self._flush_if_due()
                    elif not await self._flush() and not await self._waited_for_retries():
                        return
            finally:
                await self._flush()

    async def _waited_for_retries(self) -> bool:
        """Whether tasks of ours come back within moments, which have passed then."""
        self._due = [due for due in self._due if due > self._taken_at]  # what was due earlier has been taken
        wait = (min(self._due, default=self._taken_at) - self._tools.clock.now()).total_seconds()
        if not self._due or wait > BRIEF_SECONDS:
            return False
        await self._tools.clock.sleep(wait + TICK_SECONDS)
        return True

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    async def _ask_all(self, client: HttpClient, taken: Sequence[Delivery]) -> None:
        """Ask for what was taken, endpoint by endpoint, as far as the budgets reach."""
        groups: dict[tuple[str, bool], list[Delivery]] = {}
        for delivery in taken:
            is_backfill = delivery.task.priority == Priority.BACKFILL
            groups.setdefault((delivery.task.endpoint, is_backfill), []).append(delivery)
        for (endpoint, is_backfill), deliveries in groups.items():
            if endpoint in self._source.endpoints:
                await self._ask_group(client, endpoint, deliveries, is_backfill=is_backfill)
            else:
                for delivery in deliveries:
                    await self._bury(delivery, f"The source has no endpoint {endpoint}.")

    async def _ask_group(
        self, client: HttpClient, endpoint: str, deliveries: list[Delivery], *, is_backfill: bool
    ) -> None:
        rest = [pair for delivery in deliveries if (pair := await self._prepared(delivery)) is not None]
        while rest:
            grant = self._tools.ledger.reserve(
                self._source, self._source.endpoints[endpoint], len(rest), is_backfill=is_backfill
            )
            if grant.requests:
                now, rest = rest[: grant.requests], rest[grant.requests :]
                await self._ask_some(client, now, grant.at or self._tools.clock.now())
            elif not await self._waited_for(grant):
                await self._give_back([delivery for delivery, _ in rest], grant)
                return

    async def _prepared(self, delivery: Delivery) -> tuple[Delivery, ApiRequest] | None:
        """A task with its request, before anything is charged; None where there is none to make."""
        kind = self._source.endpoints[delivery.task.endpoint].key_kind
        if hidden := self._tools.withheld.places(delivery.task, self._source.platform, kind):
            self._leave_out(delivery, hidden)
            return None
        try:
            return delivery, self._connector.request(delivery.task)
        except BadKeyError as error:
            await self._without_bad_keys(delivery, error)
        except PermanentError as error:
            await self._bury(delivery, str(error))
        return None

    async def _waited_for(self, grant: Grant) -> bool:
        """Whether the budget is only a matter of moments, which have passed then, and our lease lasts beyond them."""
        if grant.retry_at is None or not grant.is_brief or self._is_late():
            return False
        now = self._tools.clock.now()
        wait, held = (grant.retry_at - now).total_seconds(), (now - self._taken_at).total_seconds()
        if wait > BRIEF_SECONDS or held + wait > LEASE_SHARE * self._tools.lease_seconds:
            return False
        await self._flush_if_due()
        await self._tools.clock.sleep(wait)
        return True

    async def _give_back(self, deliveries: Sequence[Delivery], grant: Grant) -> None:
        """A budget ended: its tasks wait for its reset, and the run of this source ends well."""
        at = grant.retry_at or self._tools.clock.now() + dt.timedelta(seconds=LONGEST_WAIT_SECONDS)
        delay = max(1.0, (at - self._tools.clock.now()).total_seconds())
        for delivery in deliveries:
            await self._again(delivery, delay, grant.blocked_by, is_failure=False)
        if grant.is_brief:
            return  # a matter of rate: another worker, or we with a fresh lease
        self.report.parked += len(deliveries)
        self.report.resume_at, self.report.blocked_by = at.isoformat(), grant.blocked_by
        self._is_blocked = not any(one.task.priority == Priority.BACKFILL for one in deliveries) or self._is_blocked

    async def _ask_some(
        self, client: HttpClient, prepared: Sequence[tuple[Delivery, ApiRequest]], charged_at: dt.datetime
    ) -> None:
        gate = asyncio.Semaphore(CONCURRENCY)

        async def one(delivery: Delivery, request: ApiRequest) -> None:
            async with gate:
                await self._ask(client, delivery, request, charged_at)

        await _all_of(one(delivery, request) for delivery, request in prepared)

    async def _ask(self, client: HttpClient, delivery: Delivery, request: ApiRequest, charged_at: dt.datetime) -> None:
        """One request that is paid for, and what follows from its answer."""
        task = delivery.task
        self.report.requests += 1
        try:
            secret = await self._tools.credentials.secret(self._source, task, client, self._tools.clock.now())
            response = await client.send(request, secret)
        except CredentialRefusedError as error:
            await self._park(delivery, Reading(Fate.STOP, str(error)))
            return
        except PermanentError as error:
            await self._bury(delivery, str(error))
            return
        except TransportError as error:
            await self._failed(delivery, Reading(Fate.RETRY, str(error)))
            return
        crashpoint(point(STEP, MID_DATA))
        reading = self._connector.read(task, response)
        endpoint = self._source.endpoints[task.endpoint]
        self._tools.ledger.settle(self._source, endpoint, rows=reading.rows, at=charged_at)
        self.report.rows += reading.rows
        self.report.usd += reading.rows * endpoint.usd_per_row
        await self._act(delivery, request, response, reading)

    async def _act(self, delivery: Delivery, request: ApiRequest, response: ApiResponse, reading: Reading) -> None:
        if reading.reason:
            self.report.reasons[reading.reason] += 1
        match reading.fate:
            case Fate.DONE:
                self._keep(delivery, request, response, reading)
            case Fate.SPLIT if len(delivery.task.keys) > 1:
                self._split(delivery, request, response)
            case Fate.DEAD | Fate.SPLIT:
                self._note(is_sound=True)
                self._writer.add(delivery.task, request, response, self._tools.clock.now())
                await self._bury(delivery, reading.reason)
            case Fate.RETRY:
                await self._failed(delivery, reading, status=response.status)
            case Fate.PARK | Fate.STOP:
                await self._park(delivery, reading)

    def _keep(self, delivery: Delivery, request: ApiRequest, response: ApiResponse, reading: Reading) -> None:
        """Collect an answer to be landed; its task is forgotten only after that."""
        self._note(is_sound=True)
        self.report.answers += 1
        self._tools.ledger.speed_up(self._source, self._source.endpoints[delivery.task.endpoint].family)
        self._writer.add(delivery.task, request, response, self._tools.clock.now())
        self._finished.append(delivery)
        self._follow_ups.extend(reading.follow_ups)
        if reading.bucket:
            self._park_bucket(reading)

    async def _without_bad_keys(self, delivery: Delivery, error: BadKeyError) -> None:
        """Keys that the endpoint would refuse go alone, to be buried; the others are asked for."""
        keys = delivery.task.keys
        if len(keys) == 1:
            await self._bury(delivery, str(error))
            return
        self.report.split += 1
        bad = [place for place, key in enumerate(keys) if key in error.keys]
        self._leave_out(delivery, bad)
        self._follow_ups.extend(_part(delivery.task, [at]) for at in bad)

    def _leave_out(self, delivery: Delivery, places: Sequence[int]) -> None:
        """The task is done with; its other keys are asked for instead."""
        self._finished.append(delivery)
        left = [at for at in range(len(delivery.task.keys)) if at not in set(places)]
        if left:
            self._follow_ups.append(_part(delivery.task, left))

    def _split(self, delivery: Delivery, request: ApiRequest, response: ApiResponse) -> None:
        """Ask for two halves instead; a malformed key is found in log n steps."""
        self._writer.add(delivery.task, request, response, self._tools.clock.now())
        self._finished.append(delivery)
        self.report.split += 1
        self._follow_ups.extend(_halves(delivery.task))

    async def _failed(self, delivery: Delivery, reading: Reading, status: int = 0) -> None:
        """Ask again later, or give up after `MAX_FAILURES`."""
        self._note(is_sound=False)
        endpoint = self._source.endpoints[delivery.task.endpoint]
        if status == THROTTLED:
            self._tools.ledger.slow_down(self._source, endpoint.family)
        if status == UNAUTHORIZED:
            self._tools.credentials.forget(self._source)
        if delivery.failures + 1 >= MAX_FAILURES:
            await self._bury(delivery, reading.reason)
            return
        bound = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2**delivery.failures)
        wait = min(LONGEST_WAIT_SECONDS, max(self._random.uniform(0, bound), reading.retry_after or 0.0))
        self.report.retried += 1
        await self._again(delivery, wait, reading.reason, is_failure=True)
        self._due.append(self._tools.clock.now() + dt.timedelta(seconds=wait))  # no earlier than the queue has it

    async def _park(self, delivery: Delivery, reading: Reading) -> None:
        """Nothing more of a bucket, or of the source, for a while."""
        until = self._park_bucket(reading)
        if reading.fate is Fate.STOP and not self.report.stopped:
            self.report.stopped = reading.reason
            self._tools.alert(self._source.source, f"{self._source.source} refuses us: {reading.reason}.")
        delay = max(1.0, (until - self._tools.clock.now()).total_seconds())
        self.report.parked += 1
        await self._again(delivery, delay, reading.reason, is_failure=False)

    def _park_bucket(self, reading: Reading) -> dt.datetime:
        now = self._tools.clock.now()
        if reading.fate is Fate.STOP:
            what, until = EVERYTHING, now + dt.timedelta(seconds=STOP_SECONDS)
        else:
            what = reading.bucket or EVERYTHING
            until = self._back_at(reading, now) or self._believed(what, self._reset_of(what), now)
        self._tools.ledger.park(self._source, what, until, reading.reason)
        return until

    def _believed(self, what: str, reset: dt.datetime, now: dt.datetime) -> dt.datetime:
        """The reset of a budget that a platform calls spent, or sooner where our own ledger has much of it left.

        Then somebody else spent it, or the platform errs; to ask again costs one request.
        """
        limit = self._tools.ledger.limit(self._source, what)
        left = self._tools.ledger.remaining(self._source, with_parked=False).get(what, 0.0)
        is_doubtful = limit > 0 and left > DOUBT_SHARE * limit
        return min(reset, now + dt.timedelta(seconds=DOUBT_SECONDS)) if is_doubtful else reset

    def _back_at(self, reading: Reading, now: dt.datetime) -> dt.datetime | None:
        """When an answer says that we may come back, kept within an hour from now; None where it does not say."""
        seconds = reading.retry_after
        if reading.retry_at is not None:
            seconds = reading.retry_at - now.timestamp() + self._random.uniform(0, RESET_JITTER_SECONDS)
        if seconds is None:
            return None
        return now + dt.timedelta(seconds=min(max(seconds, 1.0), LONGEST_WAIT_SECONDS))

    def _reset_of(self, what: str) -> dt.datetime:
        try:
            return self._tools.ledger.reset_of(self._source, what)
        except KeyError:
            return self._tools.clock.now() + dt.timedelta(seconds=LONGEST_WAIT_SECONDS)

    def _note(self, *, is_sound: bool) -> None:
        """Remember how requests went; a source that mostly fails is left alone for a while."""
        self._outcomes = [*self._outcomes[-OUTAGE_SAMPLE + 1 :], is_sound]
        bad = self._outcomes.count(False)
        if len(self._outcomes) == OUTAGE_SAMPLE and bad > OUTAGE_SHARE * OUTAGE_SAMPLE:
            until = self._tools.clock.now() + dt.timedelta(seconds=OUTAGE_SECONDS)
            text = f"{bad} of the last {OUTAGE_SAMPLE} requests failed"
            self._tools.ledger.park(self._source, EVERYTHING, until, text)
            self._tools.alert(self._source.source, f"{self._source.source} is down: {text}.")
            self._outcomes = []

    async def _again(self, delivery: Delivery, delay: float, reason: str, *, is_failure: bool) -> None:
        await asyncio.to_thread(
            self._tools.queue.again, delivery, delay_seconds=delay, reason=reason, is_failure=is_failure
        )

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        self.report.dead += 1
        self._tools.log(f"{self._source.source}: {delivery.task.endpoint} {delivery.task.keys[:3]}: {reason}")
        await asyncio.to_thread(self._tools.queue.bury, delivery, reason)

    async def _flush_if_due(self) -> None:
        is_old = time.monotonic() - self._flushed > FLUSH_SECONDS
        if self._writer.count >= FLUSH_ANSWERS or self._writer.raw_bytes >= FLUSH_BYTES or is_old:
            await self._flush()

    async def _flush(self) -> bool:
        """Land what was collected, queue what follows, forget what is done; whether anything new was queued."""
        finished, follow_ups, self._flushed = self._finished, self._follow_ups, time.monotonic()
        if await asyncio.to_thread(self._writer.land) is not None:
            self.report.objects += 1
        crashpoint(point(STEP, AFTER_COMMIT))
        queued = await asyncio.to_thread(self._tools.queue.put, follow_ups) if follow_ups else 0
        if finished:
            await asyncio.to_thread(self._tools.queue.done, finished)
        self._finished, self._follow_ups = [], []  # only now: what failed above is done again
        return queued > 0


def _halves(task: FetchTask) -> list[FetchTask]:
    """The task as two with half of its keys each."""
    half = len(task.keys) // 2
    return [_part(task, range(half)), _part(task, range(half, len(task.keys)))]


def _part(task: FetchTask, places: Sequence[int]) -> FetchTask:
    """The task for the keys at those places alone."""
    ids = tuple(task.ids[at] for at in places) if task.ids else ()
    return replace(task, keys=tuple(task.keys[at] for at in places), ids=ids, cursor="")


async def _all_of(works: Iterable[Awaitable[None]]) -> None:
    """Everything to its end, whatever fails; then the first failure."""
    for found in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(found, BaseException):
            raise found
