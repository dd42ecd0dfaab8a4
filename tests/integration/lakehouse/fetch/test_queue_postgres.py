"""The queue in PostgreSQL: the contract and the races. Needs a server: `CREATORLAKE_TEST_POSTGRES=postgresql://...`.

Each test works in a schema of its own and removes it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from fetch_queue_contract import (
    Bench,
    FakeClock,
    QueueContract,
    assert_each_is_taken_once,
    assert_puts_meet_in_peace,
    names,
    task,
)

from lakehouse.errors import PermanentError
from lakehouse.fetch.queue_sql import HEAD, SqlQueue
from lakehouse.fetch.task import Priority

VARIABLE = "CREATORLAKE_TEST_POSTGRES"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not os.environ.get(VARIABLE), reason=f"no PostgreSQL: set {VARIABLE} to its address"),
]


@pytest.fixture
def address() -> Iterator[str]:
    plain = sa.make_url(os.environ[VARIABLE]).set(drivername="postgresql+psycopg2")
    schema, engine = f"t_{uuid.uuid4().hex[:8]}", sa.create_engine(plain)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    ours = plain.set(drivername="postgresql").update_query_dict({"options": f"-csearch_path={schema}"})
    yield ours.render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(schema, cascade=True))
    engine.dispose()


@pytest.fixture
def bench(address: str) -> Iterator[Bench]:
    clock = FakeClock()
    bench = Bench(lambda: SqlQueue(address, now=clock), clock.forward)
    yield bench
    bench.close()


class TestPostgres(QueueContract):
    pass


def test_each_task_is_taken_once_by_several_processes(address: str):
    assert_each_is_taken_once(address)


def test_overlapping_puts_of_several_processes(address: str):
    assert_puts_meet_in_peace(address)


def test_a_take_passes_over_what_another_one_holds(bench: Bench):
    bench.queue.put([task(str(number)) for number in range(4)])
    with bench.queue._engine.begin() as other:
        assert len(other.execute(HEAD, {"name": "youtube", "most": 2}).all()) == 2
        assert names(bench.queue.take(9, lease_seconds=60)) == ["2", "3"]
    assert names(bench.queue.take(9, lease_seconds=60)) == ["0", "1"]


def test_the_more_urgent_priority_stays(bench: Bench):
    assert bench.queue.put([task(priority=Priority.BACKFILL)]) == 1
    assert bench.queue.put([task(priority=Priority.DUTY)]) == 0
    assert bench.queue.take(1, lease_seconds=60)[0].task.priority is Priority.DUTY


def test_a_wrong_password_is_no_error_to_retry(address: str):
    with pytest.raises(PermanentError) as refused:
        SqlQueue(sa.make_url(address).set(username="nobody_here", password="secret"))
    assert "secret" not in str(refused.value)
