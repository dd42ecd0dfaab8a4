"""Backfills: newest window first, a portion at a time, resumed where they were, priced before they start."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse.errors import PermanentError
from lakehouse.fetch import backfill as b
from lakehouse.fetch.queue_sql import SqlQueue
from lakehouse.fetch.source import Source
from lakehouse.fetch.task import Priority
from lakehouse.settings import load_settings
from lakehouse.storage.objects import ObjectStore
from tests.unit.lakehouse.fetch.test_ledger import source

SPAN = (dt.date(2026, 1, 1), dt.date(2026, 3, 1))


def posts_source() -> Source:
    return source(
        buckets=[{"name": "units", "units": 1000, "day": "UTC"}],
        endpoints={
            "items": {"path": "/items", "keys": "id", "bucket": "units"},
            "posts": {"path": "/posts", "keys": "id", "record": "post", "bucket": "units", "units": 1},
        },
    )


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open(load_settings(home=tmp_path, lake=str(tmp_path / "lake")))


@pytest.fixture
def queue(tmp_path: Path) -> SqlQueue:
    return SqlQueue(f"sqlite:///{tmp_path / 'queue.db'}")


def take_all(queue: SqlQueue) -> list:
    taken = []
    while found := queue.take(500, lease_seconds=60):
        queue.done(found)
        taken += [one.task for one in found]
    return taken


def keys(count: int) -> list[str]:
    return [f"UC{number:05d}" for number in range(count)]


def test_windows_run_from_the_newest_to_the_oldest_and_cover_the_span(objects: ObjectStore) -> None:
    plan = b.create(objects, posts_source(), "posts", keys(3), span=SPAN, days=30)
    assert plan.windows == [
        (dt.date(2026, 1, 30), dt.date(2026, 3, 1)),
        (dt.date(2026, 1, 1), dt.date(2026, 1, 30)),
    ]
    assert plan.tasks_count == 6


def test_every_task_is_queued_once_newest_first_whatever_dies_in_between(
    objects: ObjectStore, queue: SqlQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(b, "PORTION", 7)
    monkeypatch.setattr(b, "WAITING", 20)
    monkeypatch.setattr(b, "SHARD_KEYS", 10)
    plan = b.create(objects, posts_source(), "posts", keys(33), span=SPAN, days=30)
    found: list = []
    real: Callable = objects.swap
    calls = 0

    def dying(key: str, data: bytes, *, expected: bytes | None) -> bool:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise OSError("killed before the record")
        return real(key, data, expected=expected)

    monkeypatch.setattr(objects, "swap", dying)
    while not b.is_queued(plan, b.progress_of(objects, plan)):
        try:
            b.advance(objects, queue, plan)
        except OSError:
            continue
        assert queue.depth().ready <= 20 + 7
        found += take_all(queue)
    found += take_all(queue)
    distinct = {task.key: task for task in found}
    assert len(distinct) == 66
    assert all(task.priority == Priority.BACKFILL for task in found)
    firsts = [task.params["since"] for task in distinct.values()]
    assert firsts == sorted(firsts, reverse=True)


def test_the_same_backfill_again_is_the_same_and_another_of_the_source_has_to_wait(objects: ObjectStore) -> None:
    first = b.create(objects, posts_source(), "posts", keys(3), span=SPAN, days=30)
    assert b.create(objects, posts_source(), "posts", keys(3), span=SPAN, days=30) == first
    with pytest.raises(PermanentError, match="has not ended"):
        b.create(objects, posts_source(), "posts", keys(4), span=SPAN, days=30)


@pytest.mark.parametrize(
    ("endpoint", "count", "span"),
    [("items", 3, SPAN), ("nothing", 3, SPAN), ("posts", 0, SPAN), ("posts", 3, (SPAN[1], SPAN[0]))],
)
def test_what_cannot_be_fetched_is_refused_in_a_sentence(
    objects: ObjectStore, endpoint: str, count: int, span: tuple[dt.date, dt.date]
) -> None:
    with pytest.raises(PermanentError):
        b.create(objects, posts_source(), endpoint, keys(count), span=span, days=30)


def test_an_estimate_counts_requests_units_and_days_of_the_share() -> None:
    found = b.estimate(posts_source(), "posts", keys=900, windows=2, share=0.3)
    assert (found.requests, found.units, found.usd, found.days) == (1800, 1800, 0.0, 6.0)
