"""What every `FetchQueue` promises, as one suite that each backend's tests inherit; time passes as the backend's clock does.

Also the race of several processes over one queue in a database.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from lakehouse.fetch.queue import FetchQueue
from lakehouse.fetch.queue_sql import SqlQueue
from lakehouse.fetch.task import FetchTask, Priority

SPAWN = multiprocessing.get_context("spawn")
RACERS, RACED = 4, 400
NOON = dt.datetime(2026, 10, 1, 12, tzinfo=dt.UTC)
LEASE = 2.0
"""Short, because on a real server it is waited out."""


@dataclass
class FakeClock:
    """A clock that moves when it is told to."""

    seconds: float = 0.0

    def __call__(self) -> dt.datetime:
        return NOON + dt.timedelta(seconds=self.seconds)

    def forward(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Bench:
    """A queue under test. `is_exact`: counts, ages and de-duplication are exact, not SQS's approximations."""

    open: Callable[[], FetchQueue]
    pass_time: Callable[[float], None]
    is_exact: bool = True
    opened: list[FetchQueue] = field(default_factory=list)

    @property
    def queue(self) -> FetchQueue:
        return self.opened[0] if self.opened else self.another()

    def another(self) -> FetchQueue:
        """A second worker's view of the same queue."""
        self.opened.append(self.open())
        return self.opened[-1]

    def close(self) -> None:
        for queue in self.opened:
            queue.close()


def task(name: str = "a", *, source: str = "youtube", priority: Priority = Priority.LIVE, **given) -> FetchTask:
    return FetchTask(source, "channels", (name,), priority=priority, **given)


def names(found) -> list[str]:
    return [one.task.keys[0] for one in found]


class QueueContract:
    """Inherit, and give a fixture `bench`."""

    def test_a_task_comes_back_as_it_was_put(self, bench: Bench):
        sent = task("ü\u0000👩‍🚀", cursor="next", cycle="2026-10", params={"until": "2", "since": "1"})
        assert bench.queue.put([sent]) == 1
        [taken] = bench.queue.take(5, lease_seconds=60)
        assert taken.task == sent
        assert taken.failures == 0
        assert isinstance(taken.queued_at, dt.datetime) and taken.queued_at.tzinfo is not None

    def test_taken_is_invisible_to_all_until_the_lease_ends(self, bench: Bench):
        bench.queue.put([task()])
        other = bench.another()
        assert names(bench.queue.take(1, lease_seconds=LEASE)) == ["a"]
        assert bench.queue.take(1, lease_seconds=LEASE) == other.take(1, lease_seconds=LEASE) == []
        bench.pass_time(LEASE + 1)
        [late] = other.take(1, lease_seconds=60)
        assert late.failures == 0

    def test_done_is_done(self, bench: Bench):
        bench.queue.put([task(str(number)) for number in range(25)])
        taken = bench.queue.take(25, lease_seconds=LEASE)
        bench.queue.done(iter(taken))
        bench.queue.done(taken)
        bench.queue.done([])
        bench.pass_time(LEASE + 1)
        assert bench.queue.take(25, lease_seconds=1) == []

    def test_a_lease_that_ran_out_is_no_error(self, bench: Bench):
        bench.queue.put([task()])
        [late] = bench.queue.take(1, lease_seconds=1)
        bench.pass_time(2)
        [held] = bench.another().take(1, lease_seconds=60)
        bench.queue.again(late, delay_seconds=0)
        bench.queue.bury(late, "late")
        assert bench.queue.take(1, lease_seconds=60) == []
        assert bench.queue.dead() == []
        bench.queue.done([late])
        bench.queue.done([held])
        assert bench.queue.depth().in_flight == 0

    def test_most_urgent_first_then_oldest(self, bench: Bench):
        lanes = [Priority.BACKFILL, Priority.DUTY, Priority.FOLLOW_UP, Priority.LIVE]
        bench.queue.put([task(f"{lane}{number}", priority=lane) for number in range(2) for lane in lanes])
        taken = bench.queue.take(3, lease_seconds=60) + bench.queue.take(9, lease_seconds=60)
        found = names(taken) if bench.is_exact else [name[0] + str(at % 2) for at, name in enumerate(names(taken))]
        assert found == ["00", "01", "10", "11", "20", "21", "30", "31"]
        assert len(set(names(taken))) == 8

    def test_sources_are_taken_as_asked(self, bench: Bench):
        bench.queue.put([task("a", source="x"), task("b", source="youtube"), task("c", source="tiktok_display")])
        assert bench.queue.take(5, lease_seconds=60, sources=["none", "instagram"]) == []
        assert bench.queue.take(5, lease_seconds=60, sources=[]) == []
        assert names(bench.queue.take(5, lease_seconds=60, sources=["tiktok_display"])) == ["c"]
        assert sorted(names(bench.queue.take(5, lease_seconds=60, sources=["x", "youtube"]))) == ["a", "b"]

    def test_no_more_than_asked(self, bench: Bench):
        bench.queue.put([task(str(number)) for number in range(30)])
        assert bench.queue.take(0, lease_seconds=60) == []
        assert len(bench.queue.take(23, lease_seconds=60)) == 23
        assert len(bench.queue.take(23, lease_seconds=60)) == 7

    def test_equal_tasks_are_one(self, bench: Bench):
        bench.queue.put([task(), task(), task(cycle="next")])
        bench.another().put([task()])
        assert len(bench.queue.take(9, lease_seconds=60)) == 2

    def test_delayed_tasks_wait(self, bench: Bench):
        bench.queue.put([task("late")], delay_seconds=3)
        bench.queue.put([task("now")])
        assert names(bench.queue.take(5, lease_seconds=60)) == ["now"]
        bench.pass_time(4.5)
        assert names(bench.queue.take(5, lease_seconds=60)) == ["late"]

    def test_failures_are_counted_and_parkings_are_not(self, bench: Bench):
        bench.queue.put([task(priority=Priority.DUTY)])
        for failures, is_failure in [(0, True), (1, False), (1, False), (1, True), (2, False), (2, True)]:
            [taken] = bench.queue.take(1, lease_seconds=60)
            assert taken.failures == failures
            assert taken.task.priority is Priority.DUTY
            bench.queue.again(taken, delay_seconds=0, reason="throttled", is_failure=is_failure)
        [taken] = bench.queue.take(1, lease_seconds=60)
        assert taken.failures == 3

    @pytest.mark.parametrize("is_failure", [True, False])
    def test_again_waits_for_its_time(self, bench: Bench, is_failure: bool):
        bench.queue.put([task()])
        [taken] = bench.queue.take(1, lease_seconds=60)
        bench.queue.again(taken, delay_seconds=3, is_failure=is_failure)
        assert bench.queue.take(1, lease_seconds=60) == []
        bench.pass_time(4.5)
        [back] = bench.queue.take(1, lease_seconds=60)
        assert back.failures == is_failure
        assert abs((back.queued_at - taken.queued_at).total_seconds()) < 0.01

    def test_a_parking_of_days_stays_away(self, bench: Bench):
        bench.queue.put([task()])
        [taken] = bench.queue.take(1, lease_seconds=LEASE)
        bench.queue.again(taken, delay_seconds=24 * 3600, is_failure=False)
        bench.pass_time(LEASE + 1)
        assert bench.queue.take(1, lease_seconds=60) == []
        assert bench.queue.dead() == []

    def test_buried_with_its_reason_and_driven_back(self, bench: Bench):
        bench.queue.put([task("a"), task("b"), task("c", source="x")])
        taken = {one.task.keys[0]: one for one in bench.queue.take(3, lease_seconds=60)}
        bench.queue.again(taken["a"], delay_seconds=0)
        [taken["a"]] = bench.queue.take(1, lease_seconds=60)
        for name in ("a", "b", "c"):
            bench.queue.bury(taken[name], f"no such channel {name} \x01")
            bench.pass_time(1)
        dead = bench.queue.dead()
        assert names(dead) == ["c", "b", "a"]
        assert dead[2].failures == 1
        assert dead[2].reason.startswith("no such channel a")
        assert dead[2].buried_at < dead[0].buried_at
        assert names(bench.another().dead(limit=10)) == ["c", "b", "a"]
        assert bench.queue.depth().dead == 3
        assert bench.queue.take(9, lease_seconds=60) == []
        assert bench.queue.redrive("x") == 1
        assert names(bench.queue.take(9, lease_seconds=60)) == ["c"]
        assert bench.queue.redrive() == 2
        assert bench.queue.redrive() == 0
        back = bench.queue.take(9, lease_seconds=60)
        assert sorted(names(back)) == ["a", "b"]
        assert {one.failures for one in back} == {0}
        assert bench.queue.dead() == []

    def test_depth_counts(self, bench: Bench):
        assert bench.queue.depth().ready == bench.queue.depth("x").ready == 0
        bench.queue.put([task(str(number)) for number in range(4)])
        bench.queue.put([task(source="x")])
        bench.queue.done(bench.queue.take(1, lease_seconds=60, sources=["youtube"]))
        bench.queue.take(1, lease_seconds=60, sources=["youtube"])
        depth, part = bench.queue.depth(), bench.queue.depth("x")
        assert (depth.ready, depth.in_flight, depth.dead) == (3, 1, 0)
        assert (part.ready, part.in_flight, part.dead) == (1, 0, 0)

    def test_sizes_above_a_batch(self, bench: Bench):
        amount = 2_500 if bench.is_exact else 250
        assert bench.queue.put(task(str(number)) for number in range(amount)) == amount
        found = []
        while taken := bench.queue.take(1_200 if bench.is_exact else 40, lease_seconds=60):
            found += names(taken)
            bench.queue.done(taken)
        assert sorted(found, key=int) == [str(number) for number in range(amount)]


def _race(address: str, start, results) -> None:
    queue = SqlQueue(address)
    start.wait(timeout=60)
    mine = []
    while taken := queue.take(3, lease_seconds=600):
        mine += names(taken)
        queue.done(taken)
    results.put(mine)


def assert_each_is_taken_once(address: str) -> None:
    """Several processes empty one queue: every task is taken by one of them, once."""
    start, results = SPAWN.Event(), SPAWN.Queue()
    racers = [SPAWN.Process(target=_race, args=(address, start, results)) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    queue = SqlQueue(address)
    queue.put(task(str(number), priority=Priority(number % 4)) for number in range(RACED))
    start.set()
    shares = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(timeout=60)
    assert Counter(name for share in shares for name in share) == Counter(str(number) for number in range(RACED))
    assert queue.depth().in_flight == 0
    queue.close()


def _put_overlapping(address: str, turned: bool, start) -> None:
    queue = SqlQueue(address)
    start.wait(timeout=60)
    for round_ in range(5):
        tasks = [task(str(number), priority=Priority(3 - round_ % 4)) for number in range(300)]
        queue.put(reversed(tasks) if turned else tasks)
        queue.done(queue.take(20, lease_seconds=600))
    queue.close()


def assert_puts_meet_in_peace(address: str) -> None:
    """Several processes create the queue and put the same tasks in opposite orders while they take some."""
    start = SPAWN.Event()
    writers = [SPAWN.Process(target=_put_overlapping, args=(address, at % 2 == 1, start)) for at in range(RACERS)]
    for writer in writers:
        writer.start()
    start.set()
    for writer in writers:
        writer.join(timeout=60)
    assert [writer.exitcode for writer in writers] == [0] * RACERS
    queue = SqlQueue(address)
    found = names(queue.take(1000, lease_seconds=600))
    assert len(found) == len(set(found)) <= 300
    queue.close()
