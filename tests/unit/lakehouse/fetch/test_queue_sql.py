"""The queue in SQLite: the contract, a model, races of processes, a killed worker, plans of its queries."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from fetch_queue_contract import (
    RACERS,
    SPAWN,
    Bench,
    FakeClock,
    QueueContract,
    assert_each_is_taken_once,
    assert_puts_meet_in_peace,
    names,
    task,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lakehouse.errors import PermanentError, SettingsError, TransientError
from lakehouse.fetch import database, queue_sql
from lakehouse.fetch.queue_sql import ANY_DUE, DEATHS_ALLOWED, DUE, HEAD, SqlQueue, State, depth_query
from lakehouse.fetch.queue_sqs import SqsQueue
from lakehouse.fetch.queues import QUEUE_FILE, open_queue
from lakehouse.fetch.task import FetchTask, Priority
from lakehouse.settings import Settings


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'fetch' / 'queue.db'}"


@pytest.fixture
def bench(address: str, clock: FakeClock):
    bench = Bench(lambda: SqlQueue(address, now=clock), clock.forward)
    yield bench
    bench.close()


class TestSqlite(QueueContract):
    pass


# --- what is exact here ---------------------------------------------------------------------------------------------


def test_only_new_tasks_count_and_the_more_urgent_priority_stays(bench: Bench):
    queue = bench.queue
    assert queue.put([task("a", priority=Priority.BACKFILL), task("b"), task("b", priority=Priority.DUTY)]) == 2
    assert queue.put([task("a", priority=Priority.FOLLOW_UP), task("a", priority=Priority.BACKFILL)]) == 0
    assert queue.put([task("b", priority=Priority.BACKFILL)]) == 0
    taken = queue.take(9, lease_seconds=60)
    assert [(one.task.keys[0], one.task.priority) for one in taken] == [("b", Priority.DUTY), ("a", Priority.FOLLOW_UP)]
    queue.done(taken)
    assert queue.put([task("a")]) == 1


def test_a_retry_keeps_its_place(bench: Bench):
    bench.queue.put([task("a")])
    bench.pass_time(1)
    bench.queue.put([task("b")])
    [first] = bench.queue.take(1, lease_seconds=60)
    bench.queue.again(first, delay_seconds=30)
    bench.pass_time(31)
    assert names(bench.queue.take(2, lease_seconds=60)) == ["a", "b"]


def test_an_answer_that_came_late_still_counts_while_nobody_else_has_the_task(bench: Bench):
    bench.queue.put([task("a"), task("b"), task("c")])
    taken = bench.queue.take(3, lease_seconds=1)
    bench.pass_time(2)
    bench.queue.again(taken[0], delay_seconds=0)
    bench.queue.bury(taken[1], "wrong")
    bench.queue.done([taken[2]])
    [back] = bench.queue.take(9, lease_seconds=60)
    assert back.failures == 1
    assert names(bench.queue.dead()) == ["b"]


def test_an_old_receipt_never_touches_a_new_task(bench: Bench):
    bench.queue.put([task()])
    [old] = bench.queue.take(1, lease_seconds=60)
    bench.queue.done([old])
    bench.queue.put([task()])
    bench.queue.done([old])
    bench.queue.bury(old, "old")
    assert names(bench.queue.take(1, lease_seconds=60)) == ["a"]


def test_depth_is_exact(bench: Bench):
    bench.queue.put([task("a"), task("b"), task("c")])
    bench.queue.put([task("d")], delay_seconds=50)
    first, _ = bench.queue.take(2, lease_seconds=20)
    bench.queue.bury(first, "wrong")
    bench.pass_time(10)
    depth = bench.queue.depth()
    assert (depth.ready, depth.delayed, depth.in_flight, depth.dead, depth.oldest_seconds) == (1, 1, 1, 1, 10)
    assert bench.queue.depth("youtube") == depth
    bench.pass_time(41)
    depth = bench.queue.depth()
    assert (depth.ready, depth.delayed, depth.in_flight) == (3, 0, 0)
    assert bench.queue.depth("x").oldest_seconds == 0


def test_a_task_that_kills_its_workers_is_buried(bench: Bench):
    bench.queue.put([task("deadly"), task("unlucky")])
    for death in range(DEATHS_ALLOWED):
        taken = {one.task.keys[0]: one for one in bench.queue.take(2, lease_seconds=10)}
        assert set(taken) == {"deadly", "unlucky"}
        if death == 5:
            bench.queue.again(taken["unlucky"], delay_seconds=0, reason="throttled")
        bench.pass_time(11)
    for _ in range(5):  # with those before the answer, more than are allowed
        assert names(bench.queue.take(2, lease_seconds=10)) == ["unlucky"]
        bench.pass_time(11)
    [dead] = bench.queue.dead()
    assert dead.task == task("deadly")
    assert dead.reason == "Its workers died or ran out of time 20 times in a row."
    for _ in range(3):
        bench.queue.take(2, lease_seconds=10)
        bench.pass_time(11)
    assert [one.reason[-32:] for one in bench.queue.dead()[:-1]] == ["(last answer before: throttled)."]


def test_redrive_of_a_task_that_waits_again_leaves_one(bench: Bench):
    bench.queue.put([task(priority=Priority.DUTY)])
    bench.queue.bury(bench.queue.take(1, lease_seconds=60)[0], "first")
    assert bench.queue.put([task(priority=Priority.BACKFILL)]) == 1
    assert bench.queue.redrive() == 1
    [taken] = bench.queue.take(9, lease_seconds=60)
    assert taken.task.priority is Priority.DUTY
    bench.queue.bury(taken, "second")
    assert [one.reason for one in bench.queue.dead()] == ["second"]


def test_more_become_due_than_one_take_makes_ready(bench: Bench, monkeypatch):
    monkeypatch.setattr(queue_sql, "PROMOTED_ROWS", 3)
    bench.queue.put([task(f"b{number}", priority=Priority.BACKFILL) for number in range(10)], delay_seconds=5)
    bench.queue.put([task(f"d{number}", priority=Priority.DUTY) for number in range(2)], delay_seconds=9)
    bench.pass_time(10)
    found = [names(bench.queue.take(2, lease_seconds=60)) for _ in range(7)]
    assert found[0] == ["d0", "d1"]
    assert sum(map(len, found)) == 12


def test_a_killed_put_is_put_again(bench: Bench):
    def broken():
        yield from (task(str(number)) for number in range(1_500))
        raise KeyError

    with pytest.raises(KeyError):
        bench.queue.put(broken())
    assert bench.queue.put(task(str(number)) for number in range(1_500)) == 500


@pytest.mark.parametrize(
    ("query", "given"),
    [
        (HEAD, {"name": "x", "most": 10}),
        (ANY_DUE, {"names": ["x", "youtube"], "now": 1.0}),
        (DUE, {"name": "x", "was": int(State.DELAYED), "lane": 1, "now": 1.0, "most": 10}),
        (depth_query(1.0, None), {}),
        (depth_query(1.0, "x"), {}),
    ],
    ids=["head", "any due", "due", "depth", "depth of a source"],
)
def test_plans_go_by_the_index_and_sort_nothing(bench: Bench, query: sa.Select, given: dict):
    engine = bench.queue._engine
    text = str(query.params(**given).compile(engine, compile_kwargs={"literal_binds": True}))
    with engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    assert "INDEX fetch_task_turn" in plan[0]
    assert not any("TEMP B-TREE" in line for line in plan)
    assert "SCAN" not in plan[0] or "COVERING" in plan[0]


# --- errors and the factory -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["", "mysql://u:secret@h/d", "nonsense secret", "postgresql+asyncpg://u:secret@h/d"]
)
def test_other_databases_are_refused_without_their_address(address: str):
    with pytest.raises(SettingsError) as refused:
        SqlQueue(address)
    assert "secret" not in str(refused.value)


def test_a_database_that_does_not_answer_is_named_without_its_address():
    with pytest.raises(TransientError) as failed:
        SqlQueue("postgresql://user:secret@127.0.0.1:1/queue")
    assert str(failed.value) == "A database of the fetch work does not answer: OperationalError."


def test_a_file_that_is_no_database_is_refused(tmp_path: Path):
    (tmp_path / "queue.db").write_bytes(b"no database" * 1000)
    with pytest.raises(PermanentError, match="refuses: DatabaseError"):
        SqlQueue(f"sqlite:///{tmp_path / 'queue.db'}")


def test_a_lock_that_is_never_released_is_an_error_to_retry(bench: Bench, address: str, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    holder = bench.queue._engine.connect()
    with holder.begin(), pytest.raises(TransientError):
        bench.open()
    holder.close()


def test_the_factory_reads_the_setting(settings: Settings):
    embedded = open_queue(settings)
    embedded.put([task()])
    embedded.close()
    assert (settings.home / QUEUE_FILE).is_file()
    sqs = open_queue(_with_queue(settings, "sqs://lake-1"))
    assert isinstance(sqs, SqsQueue)
    sqs.close()
    with pytest.raises(SettingsError, match="1 to 20 letters"):
        open_queue(_with_queue(settings, "sqs://no/prefix"))
    with pytest.raises(TransientError):
        open_queue(_with_queue(settings, "postgres://user:secret@127.0.0.1:1/queue"))


def _with_queue(settings: Settings, address: str) -> Settings:
    return Settings(**settings.model_dump() | {"fetch_queue": address, "sqs_endpoint": "http://127.0.0.1:1"})


# --- several processes ----------------------------------------------------------------------------------------------


def test_each_task_is_taken_once_by_several_processes(address: str):
    assert_each_is_taken_once(address)


def test_overlapping_puts_of_several_processes(address: str):
    assert_puts_meet_in_peace(address)


def _open_at_once(address: str, start) -> None:
    start.wait(timeout=60)
    SqlQueue(address).put([task()])


def test_several_processes_create_the_queue_at_once(address: str):
    start = SPAWN.Event()
    openers = [SPAWN.Process(target=_open_at_once, args=(address, start)) for _ in range(RACERS)]
    for opener in openers:
        opener.start()
    time.sleep(1)
    start.set()
    for opener in openers:
        opener.join(timeout=60)
    assert [opener.exitcode for opener in openers] == [0] * RACERS


def _work_until_killed(address: str, report) -> None:
    queue = SqlQueue(address)
    while taken := queue.take(5, lease_seconds=3):
        report.send(names(taken))
        queue.done(taken[:2])
        report.send("done")
        report.recv()  # the parent decides when, or never


def test_tasks_of_a_killed_worker_come_back_after_the_lease(address: str):
    queue = SqlQueue(address)
    queue.put(task(f"{number:02}") for number in range(20))
    ours, theirs = SPAWN.Pipe()
    worker = SPAWN.Process(target=_work_until_killed, args=(address, theirs))
    worker.start()
    assert ours.poll(60)
    held = ours.recv()
    assert ours.recv() == "done"
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(timeout=60)
    rest = names(queue.take(50, lease_seconds=600))
    assert set(rest).isdisjoint(held[:2])
    deadline = time.monotonic() + 30
    while len(rest) < 18 and time.monotonic() < deadline:
        rest += names(queue.take(50, lease_seconds=600))
        time.sleep(0.1)
    assert sorted(rest) == sorted({f"{number:02}" for number in range(20)} - set(held[:2]))
    queue.close()


# --- a model --------------------------------------------------------------------------------------------------------


@dataclass
class Waiting:
    """A task of the model. `free_at` is when it can be taken; it is held while a lease is open."""

    task: FetchTask
    order: int
    queued_at: float
    free_at: float
    failures: int = 0
    deaths: int = 0
    is_leased: bool = False


@dataclass
class Held:
    """A delivery that a worker holds, and which life and lease of the task it belongs to."""

    delivery: object
    row: Waiting
    lease: int


class QueueModel(RuleBasedStateMachine):
    """Random histories against a list that is searched as the interface's words say."""

    keys = st.sampled_from("abcdef")
    sources = st.sampled_from(["x", "youtube"])
    priorities = st.sampled_from(list(Priority))
    delays = st.sampled_from([0, 0, 5, 40])

    @initialize()
    def begin(self):
        self.clock = FakeClock()
        self.queue = SqlQueue("sqlite://", now=self.clock)
        self.waiting: dict[str, Waiting] = {}
        self.dead: dict[str, tuple[FetchTask, int, float]] = {}
        self.held: list[Held] = []
        self.leases: Counter[int] = Counter()
        self.orders = 0
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(queue_sql, "DEATHS_ALLOWED", 3)

    def teardown(self):
        self.patch.undo()
        self.queue.close()

    @property
    def now(self) -> float:
        return self.clock.seconds

    def _queue(self, one: FetchTask, delay: float) -> bool:
        known = self.waiting.get(one.key)
        if known:
            known.task = replace(known.task, priority=min(known.task.priority, one.priority))
            return False
        self.orders += 1
        self.waiting[one.key] = Waiting(one, self.orders, self.now, self.now + delay)
        return True

    def _bury(self, row: Waiting):
        self.dead[row.task.key] = (row.task, row.failures, self.now)
        del self.waiting[row.task.key]

    @rule(batch=st.lists(st.tuples(keys, sources, priorities), max_size=5), delay=delays)
    def put(self, batch, delay):
        tasks = [task(key, source=source, priority=priority) for key, source, priority in batch]
        assert self.queue.put(tasks, delay_seconds=delay) == sum([self._queue(one, delay) for one in tasks])

    @rule(limit=st.integers(1, 4), lease=st.sampled_from([10, 60]), chosen=st.none() | st.lists(sources, max_size=2))
    def take(self, limit, lease, chosen):
        taken = self.queue.take(limit, lease_seconds=lease, sources=chosen)
        for row in list(self.waiting.values()):
            if row.is_leased and row.free_at <= self.now and (chosen is None or row.task.source in chosen):
                row.is_leased, row.deaths = False, row.deaths + 1
                if row.deaths >= queue_sql.DEATHS_ALLOWED:
                    self._bury(row)
        free = [
            row
            for row in self.waiting.values()
            if row.free_at <= self.now and (chosen is None or row.task.source in chosen)
        ]
        free.sort(key=lambda row: (row.task.priority, row.queued_at, row.order))
        assert [(one.task, one.failures) for one in taken] == [(row.task, row.failures) for row in free[:limit]]
        for delivery, row in zip(taken, free, strict=False):
            row.is_leased, row.free_at = True, self.now + lease
            self.leases[row.order] += 1
            self.held.append(Held(delivery, row, self.leases[row.order]))

    def _pick(self, data: st.DataObject) -> Held | None:
        return self.held.pop(data.draw(st.integers(0, len(self.held) - 1))) if self.held else None

    def _is_ours(self, one: Held) -> bool:
        return self.waiting.get(one.row.task.key) is one.row and self.leases[one.row.order] == one.lease

    @rule(data=st.data())
    def done(self, data):
        if one := self._pick(data):
            self.queue.done([one.delivery])
            if self.waiting.get(one.row.task.key) is one.row:
                del self.waiting[one.row.task.key]

    @rule(data=st.data(), delay=delays, is_failure=st.booleans())
    def again(self, data, delay, is_failure):
        if one := self._pick(data):
            self.queue.again(one.delivery, delay_seconds=delay, is_failure=is_failure)
            if self._is_ours(one):
                row = one.row
                row.failures, row.deaths = row.failures + is_failure, 0
                row.is_leased, row.free_at = False, self.now + delay

    @rule(data=st.data())
    def bury(self, data):
        if one := self._pick(data):
            self.queue.bury(one.delivery, "wrong")
            if self._is_ours(one):
                self._bury(one.row)

    @rule(data=st.data())
    def worker_dies(self, data):
        self._pick(data)

    @rule(seconds=st.sampled_from([1, 11, 61]))
    def time_passes(self, seconds):
        self.clock.forward(seconds)

    @rule(source=st.none() | sources)
    def redrive(self, source):
        keys = [key for key, (one, *_) in self.dead.items() if source in (None, one.source)]
        assert self.queue.redrive(source) == len(keys)
        for key in sorted(keys, key=lambda key: (self.dead[key][2], key)):
            self._queue(self.dead.pop(key)[0], 0)

    @invariant()
    def nothing_is_lost(self):
        depth = self.queue.depth()
        rows = self.waiting.values()
        hidden = [row for row in rows if row.free_at > self.now]
        leased = sum(row.is_leased for row in hidden)
        assert (depth.ready, depth.in_flight) == (len(rows) - len(hidden), leased)
        assert (depth.delayed, depth.dead) == (len(hidden) - leased, len(self.dead))
        live = [row for row in rows if row.task.priority < Priority.BACKFILL]
        assert depth.oldest_seconds == max((self.now - row.queued_at for row in live), default=0)
        dead = [(one.task, one.failures) for one in self.queue.dead()]
        newest = sorted(self.dead.items(), key=lambda entry: (entry[1][2], entry[0]), reverse=True)
        assert dead == [entry[:2] for _, entry in newest]


QueueModel.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestModel = pytest.mark.properties(QueueModel.TestCase)
