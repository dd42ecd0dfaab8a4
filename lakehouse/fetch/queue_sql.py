"""The fetch queue in a database: a SQLite file for the workers of one machine, PostgreSQL for those of several.

Belongs here: the queue's three tables, how tasks move between their states, what the two databases do differently. Which
backend a lake uses is `queues.py`'s matter. No quotas, no requests.

A task is READY, DELAYED until its time, or LEASED until its lease ends. Rows that became due are made READY by the next
take. One index (source, state, priority, turn) finds the head of a source's queue, what became due, and the depth; a take
reads a few rows of it however many tasks wait. Time is UTC seconds of the worker's clock: workers on several machines need
clocks that differ by much less than a lease. SQLite in WAL mode survives a killed process whole; after a power cut the last
moments may be missing (synchronous=NORMAL): what was done then is fetched once more, what was put then must be put again.
"""

from __future__ import annotations

import datetime as dt
import heapq
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable

from lakehouse.errors import TransientError
from lakehouse.fetch.clock import WallClock
from lakehouse.fetch.database import READS, lock, open_engine, told
from lakehouse.fetch.queue import DeadTask, Delivery, Depth
from lakehouse.fetch.task import KEY_CHARS, FetchTask, Priority

BATCH_ROWS = 1_000
"""Rows of one transaction: a write of 1,000 rows holds SQLite's only lock for about 20 ms."""
PROMOTED_ROWS = 1_000
"""Due rows of a source that one take makes ready: a million that become due at once must not stop the other workers."""
DEATHS_ALLOWED = 20
"""Leases in a row that may run out: a task that kills its workers is buried, one that met a bad day of deployments is not."""
CONFLICT_ATTEMPTS = 6
CONFLICT_SECONDS = 0.05
"""First pause after PostgreSQL chose a transaction as the victim of a deadlock."""
CONFLICT_CODES = ("40001", "40P01")
"""PostgreSQL's serialization failure and deadlock."""
CREATE_LOCK = 0x6372_6C71
"""Advisory lock of PostgreSQL under which the tables are created: two workers may start at once."""
PUT_LOCK = 0x6372_6C70
"""Advisory lock of PostgreSQL under which tasks are put: two puts of the same tasks in other orders would block each other."""
SOURCE_CHARS = 64
T = TypeVar("T")


class State(IntEnum):
    """Where a task stands. `turn` is its time in the queue (READY), its due time (DELAYED), its lease's end (LEASED)."""

    READY = 0
    DELAYED = 1
    LEASED = 2


METADATA = sa.MetaData()
ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

TASKS = sa.Table(
    "fetch_task",
    METADATA,
    sa.Column("id", ROW_ID, primary_key=True),
    sa.Column("key", sa.String(KEY_CHARS), nullable=False, unique=True),
    sa.Column("source", sa.String(SOURCE_CHARS), nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("turn", sa.Double, nullable=False),
    sa.Column("queued_at", sa.Double, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False, default=0),
    sa.Column("leases", sa.Integer, nullable=False, default=0),
    sa.Column("deaths", sa.Integer, nullable=False, default=0),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("fetch_task_turn", "source", "state", "priority", "turn", "id", "queued_at"),
    sqlite_autoincrement=True,  # a receipt names the id; one that comes back would forget another task
)

DEAD = sa.Table(
    "fetch_dead",
    METADATA,
    sa.Column("key", sa.String(KEY_CHARS), primary_key=True),
    sa.Column("source", sa.String(SOURCE_CHARS), nullable=False),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("buried_at", sa.Double, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("fetch_dead_time", "buried_at", "key"),
    sa.Index("fetch_dead_source", "source", "buried_at", "key"),
)

SOURCES = sa.Table("fetch_source", METADATA, sa.Column("source", sa.String(SOURCE_CHARS), primary_key=True))
"""Every source that ever had a task: a take of all sources is one short read for each."""

ANY_PRIORITY = [int(priority) for priority in Priority]

HEAD = (
    sa.select(TASKS)
    .where(TASKS.c.source == sa.bindparam("name"), TASKS.c.state == State.READY)
    .order_by(TASKS.c.priority, TASKS.c.turn, TASKS.c.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
    .with_for_update(skip_locked=True)
)
"""The next tasks of a source; PostgreSQL passes over those that another take holds (SQLite locks the whole file)."""

ANY_DUE = (
    sa.select(TASKS.c.id)
    .where(
        TASKS.c.source.in_(sa.bindparam("names", expanding=True)),
        TASKS.c.state.in_([State.DELAYED, State.LEASED]),
        TASKS.c.priority.in_(ANY_PRIORITY),  # all of them: so that the index leads to `turn`
        TASKS.c.turn <= sa.bindparam("now"),
    )
    .limit(1)
)

DUE = (
    sa.select(TASKS)
    .where(
        TASKS.c.source == sa.bindparam("name"),
        TASKS.c.state == sa.bindparam("was"),
        TASKS.c.priority == sa.bindparam("lane"),
        TASKS.c.turn <= sa.bindparam("now"),
    )
    .order_by(TASKS.c.turn)
    .limit(sa.bindparam("most", type_=sa.Integer))
    .with_for_update(skip_locked=True)
)

THESE = TASKS.c.id.in_(sa.bindparam("ids", expanding=True))
LEASE = TASKS.update().where(THESE).values(state=State.LEASED, turn=sa.bindparam("until"), leases=TASKS.c.leases + 1)
PROMOTE = TASKS.update().where(THESE).values(state=State.READY, turn=TASKS.c.queued_at)
PROMOTE_EXPIRED = PROMOTE.values(deaths=TASKS.c.deaths + 1)
FORGET = TASKS.delete().where(THESE)
TAKEN = (TASKS.c.id == sa.bindparam("row"), TASKS.c.leases == sa.bindparam("lease"))
"""A task that nobody has taken since this delivery, whether or not its lease ran out."""
RETURN = (
    TASKS.update()
    .where(*TAKEN)
    .values(
        state=State.DELAYED,
        turn=sa.bindparam("due"),
        failures=TASKS.c.failures + sa.bindparam("failed"),
        deaths=0,
        reason=sa.bindparam("why"),
    )
)
URGE = (
    TASKS.update()
    .where(TASKS.c.key == sa.bindparam("which"), TASKS.c.priority > sa.bindparam("lane"))
    .values(priority=sa.bindparam("lane"))
)


class SqlQueue:
    """`FetchQueue` in a database. Threads may share one; a process that forks opens its own afterwards.

    A task that the dead-letter table holds may be queued anew; buried again it has one entry, the newer one.
    """

    def __init__(self, url: str | sa.URL, *, now: Callable[[], dt.datetime] | None = None) -> None:
        """Connect and create what is missing.

        Raises:
            SettingsError: the address is none of SQLite or PostgreSQL.
            TransientError: the database does not answer.
            PermanentError: the database refuses.
        """
        self._now = now or WallClock().now
        self._engine = open_engine(url)
        self._insert: Any = sqlite.insert if self._engine.dialect.name == "sqlite" else postgresql.insert
        self._known_sources: set[str] = set()
        self._run(_create)

    def put(self, tasks: Iterable[FetchTask], *, delay_seconds: float = 0.0) -> int:
        """Queue tasks; returns how many were new. One that waits already keeps the more urgent of both priorities.

        The input is streamed; each thousand is one transaction, so a put that was killed is put again whole.

        Raises:
            TransientError: the database does not answer; the tasks before are queued.
            PermanentError: the database refuses.
        """
        new, source = 0, iter(tasks)
        while batch := list(islice(source, BATCH_ROWS)):
            rows = _rows(batch, self._stamp(), delay_seconds)
            new += self._run(lambda connection, rows=rows: self._put(connection, rows))  # type: ignore[misc]
            self._known_sources.update(row["source"] for row in rows)
        return new

    def take(self, limit: int, *, lease_seconds: float, sources: Sequence[str] | None = None) -> list[Delivery]:
        """Take up to `limit` tasks, most urgent first, then oldest; invisible to others for `lease_seconds`.

        Raises:
            TransientError: the database does not answer.
            PermanentError: the database refuses.
        """
        if limit <= 0:
            return []
        now = self._stamp()
        rows = self._run(lambda connection: self._take(connection, limit, now, lease_seconds, sources))
        return [_delivery(row) for row in rows]

    def done(self, deliveries: Iterable[Delivery]) -> None:
        """Forget tasks whose answers are landed, also where the lease ran out meanwhile.

        Raises:
            TransientError: the database does not answer; the tasks before are forgotten.
            PermanentError: the database refuses.
        """
        source = iter(deliveries)
        while batch := list(islice(source, BATCH_ROWS)):
            ids = [_receipt(delivery)["row"] for delivery in batch]
            self._run(lambda connection, ids=ids: connection.execute(FORGET, {"ids": ids}))  # type: ignore[misc]

    def again(self, delivery: Delivery, *, delay_seconds: float, reason: str = "", is_failure: bool = True) -> None:
        """Give a task back, to be taken after a delay. Where somebody else has taken it since, nothing happens.

        Raises:
            TransientError: the database does not answer.
            PermanentError: the database refuses.
        """
        change = {"due": self._stamp() + delay_seconds, "failed": int(is_failure), "why": reason}
        self._run(lambda connection: connection.execute(RETURN, _receipt(delivery) | change))

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Move a task to the dead-letter table. Where somebody else has taken it since, nothing happens.

        Raises:
            TransientError: the database does not answer.
            PermanentError: the database refuses.
        """

        def work(connection: sa.Connection) -> None:
            found = connection.execute(sa.select(TASKS).where(*TAKEN).with_for_update(), _receipt(delivery)).all()
            self._bury(connection, found, lambda _: reason)

        self._run(work)

    def dead(self, limit: int = 100) -> list[DeadTask]:
        """Tasks of the dead-letter table, newest first.

        Raises:
            TransientError: the database does not answer.
            PermanentError: the database refuses.
        """
        query = sa.select(DEAD).order_by(DEAD.c.buried_at.desc(), DEAD.c.key.desc()).limit(limit)
        return [_dead_task(row) for row in self._read(query)]

    def redrive(self, source: str | None = None) -> int:
        """Queue the dead tasks (of one source) again with no failures; how many. One that waits already stays one.

        Raises:
            TransientError: the database does not answer; the tasks before are queued.
            PermanentError: the database refuses.
        """
        moved = 0
        while count := self._run(lambda connection: self._redrive(connection, source)):
            moved += count
        return moved

    def depth(self, source: str | None = None) -> Depth:
        """State of the queue, or of one source's part of it: one pass over the index, about 1 s for 10 million tasks.

        Raises:
            TransientError: the database does not answer.
            PermanentError: the database refuses.
        """
        now = self._stamp()
        ready, delayed, in_flight, dead, oldest = self._read(depth_query(now, source))[0]
        age = max(now - oldest, 0.0) if oldest is not None else 0.0
        return Depth(ready=ready, delayed=delayed, in_flight=in_flight, dead=dead, oldest_seconds=age)

    def close(self) -> None:
        """Release connections."""
        self._engine.dispose()

    def _stamp(self) -> float:
        return self._now().timestamp()

    def _run(self, work: Callable[[sa.Connection], T]) -> T:
        """Do something in one transaction, again where the database says that it met another."""
        for attempt in range(CONFLICT_ATTEMPTS):
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if not _is_conflict(error):
                    raise told(error) from None
            time.sleep(CONFLICT_SECONDS * 2**attempt)
        raise TransientError("The fetch queue's database is too busy: its transactions keep meeting each other.")

    def _read(self, query: sa.Select[Any]) -> Sequence[Any]:
        """Rows of a query that locks nothing."""
        try:
            with self._engine.connect() as connection:
                return connection.execution_options(**{READS: True}).execute(query).all()
        except DBAPIError as error:
            raise told(error) from None

    def _put(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert what is new, urge what waits; how many were new."""
        lock(connection, PUT_LOCK)
        fresh = {row["source"] for row in rows} - self._known_sources
        if fresh:
            statement = self._insert(SOURCES).on_conflict_do_nothing()
            connection.execute(statement, [{"source": name} for name in sorted(fresh)])
        statement = self._insert(TASKS).on_conflict_do_nothing(index_elements=[TASKS.c.key]).returning(TASKS.c.key)
        inserted = set(connection.execute(statement, rows).scalars())
        old = [{"which": row["key"], "lane": row["priority"]} for row in rows if row["key"] not in inserted]
        if old:
            connection.execute(URGE, old)
        return len(inserted)

    def _take(
        self, connection: sa.Connection, limit: int, now: float, lease: float, sources: Sequence[str] | None
    ) -> list[sa.Row[Any]]:
        names = list(connection.execute(sa.select(SOURCES)).scalars()) if sources is None else list(set(sources))
        if connection.execute(ANY_DUE, {"names": names, "now": now}).first():
            for name in names:
                self._promote(connection, name, now, max(limit, PROMOTED_ROWS))
        heads = (row for name in names for row in connection.execute(HEAD, {"name": name, "most": limit}))
        chosen = heapq.nsmallest(limit, heads, key=lambda row: (row.priority, row.turn, row.id))
        for at in range(0, len(chosen), BATCH_ROWS):
            ids = [row.id for row in chosen[at : at + BATCH_ROWS]]
            connection.execute(LEASE, {"ids": ids, "until": now + lease})
        return chosen

    def _promote(self, connection: sa.Connection, name: str, now: float, most: int) -> None:
        """Make due rows of a source ready, the most urgent first; bury those whose workers died too often."""
        room = most
        for lane in ANY_PRIORITY:
            for was in (State.LEASED, State.DELAYED):
                if room <= 0:
                    return
                wanted = {"name": name, "was": was, "lane": lane, "now": now, "most": min(room, BATCH_ROWS)}
                rows = connection.execute(DUE, wanted).all()
                room -= len(rows)
                self._make_ready(connection, rows, was)

    def _make_ready(self, connection: sa.Connection, rows: Sequence[sa.Row[Any]], was: State) -> None:
        deadly = [row for row in rows if was is State.LEASED and row.deaths + 1 >= DEATHS_ALLOWED]
        self._bury(connection, deadly, _death_reason)
        gone = {row.id for row in deadly}
        ids = [row.id for row in rows if row.id not in gone]
        if ids:
            connection.execute(PROMOTE_EXPIRED if was is State.LEASED else PROMOTE, {"ids": ids})

    def _bury(
        self, connection: sa.Connection, rows: Sequence[sa.Row[Any]], reason: Callable[[sa.Row[Any]], str]
    ) -> None:
        if not rows:
            return
        now, kept = self._stamp(), ("key", "source", "priority", "failures", "body")
        entries = [
            {name: getattr(row, name) for name in kept} | {"reason": reason(row), "buried_at": now} for row in rows
        ]
        statement = self._insert(DEAD)
        newer = {name: statement.excluded[name] for name in entries[0] if name != "key"}
        connection.execute(statement.on_conflict_do_update(index_elements=[DEAD.c.key], set_=newer), entries)
        connection.execute(FORGET, {"ids": [row.id for row in rows]})

    def _redrive(self, connection: sa.Connection, source: str | None) -> int:
        query = (
            sa.select(DEAD).order_by(DEAD.c.buried_at, DEAD.c.key).limit(BATCH_ROWS).with_for_update(skip_locked=True)
        )
        rows = connection.execute(query.where(DEAD.c.source == source) if source is not None else query).all()
        if rows:
            tasks = [_dead_task(row).task for row in rows]
            self._put(connection, _rows(tasks, self._stamp(), 0.0))
            connection.execute(DEAD.delete().where(DEAD.c.key.in_([row.key for row in rows])))
        return len(rows)


def depth_query(now: float, source: str | None) -> sa.Select[Any]:
    """Counts of ready, delayed, in flight and dead, and the oldest time of queueing but of backfills; the index covers it."""
    is_hidden = TASKS.c.turn > now
    dead = sa.select(sa.func.count()).select_from(DEAD)
    query = sa.select(
        sa.func.count(sa.case((sa.or_(TASKS.c.state == State.READY, ~is_hidden), 1))),
        sa.func.count(sa.case((sa.and_(TASKS.c.state == State.DELAYED, is_hidden), 1))),
        sa.func.count(sa.case((sa.and_(TASKS.c.state == State.LEASED, is_hidden), 1))),
        (dead.where(DEAD.c.source == source) if source is not None else dead).scalar_subquery(),
        sa.func.min(sa.case((TASKS.c.priority < Priority.BACKFILL, TASKS.c.queued_at))),
    )
    return query.where(TASKS.c.source == source) if source is not None else query


def _rows(tasks: Iterable[FetchTask], now: float, delay: float) -> list[dict[str, Any]]:
    """Rows of tasks in their order, equal ones once with the most urgent priority."""
    rows: dict[str, dict[str, Any]] = {}
    state, turn = (State.DELAYED, now + delay) if delay > 0 else (State.READY, now)
    for task in tasks:
        row = rows.get(key := task.key)
        if row is None or task.priority < row["priority"]:
            rows[key] = {
                "key": key,
                "source": task.source,
                "state": int(state),
                "priority": int(task.priority),
                "turn": turn,
                "queued_at": now,
                "body": task.to_json(),
            }
    return list(rows.values())


def _delivery(row: sa.Row[Any]) -> Delivery:
    queued_at = dt.datetime.fromtimestamp(row.queued_at, dt.UTC)
    return Delivery(_task(row), f"{row.id}.{row.leases + 1}", row.failures, queued_at)


def _dead_task(row: sa.Row[Any]) -> DeadTask:
    return DeadTask(_task(row), row.reason, row.failures, dt.datetime.fromtimestamp(row.buried_at, dt.UTC))


def _task(row: sa.Row[Any]) -> FetchTask:
    return replace(FetchTask.from_json(row.body), priority=Priority(row.priority))


def _receipt(delivery: Delivery) -> dict[str, Any]:
    row, lease = delivery.receipt.split(".")
    return {"row": int(row), "lease": int(lease)}


def _death_reason(row: sa.Row[Any]) -> str:
    last = f" (last answer before: {row.reason})" if row.reason else ""
    return f"Its workers died or ran out of time {DEATHS_ALLOWED} times in a row{last}."


def _create(connection: sa.Connection) -> None:
    """Create tables and indexes that are missing."""
    lock(connection, CREATE_LOCK)
    for table in METADATA.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            connection.execute(CreateIndex(index, if_not_exists=True))


def _is_conflict(error: DBAPIError) -> bool:
    return getattr(error.orig, "pgcode", None) in CONFLICT_CODES
