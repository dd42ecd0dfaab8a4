"""The ledger: every budget in its window, one transaction over all of them, nothing over-spent by racing or killed workers."""

import datetime as dt
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import yaml

from lakehouse.fetch.database import Database
from lakehouse.fetch.ledger import BACKFILL_SHARE, EVERYTHING, Ledger
from lakehouse.fetch.source import MICRO, Source, parse_source

NOON = dt.datetime(2026, 7, 1, 19, 0, tzinfo=dt.UTC)
"""Noon in Los Angeles."""


class Now:
    """A clock that tests move."""

    def __init__(self, at: dt.datetime = NOON) -> None:
        self.at = at

    def __call__(self) -> dt.datetime:
        return self.at

    def forward(self, **span: float) -> None:
        self.at += dt.timedelta(**span)


def source(**given) -> Source:
    body = {
        "source": "demo",
        "platform": "youtube",
        "description": "For tests",
        "checked_on": "2026-11-01",
        "base_url": "http://127.0.0.1",
        "api_version": "1",
        "auth": {"header": "X-Key"},
        "endpoints": {"items": {"path": "/items", "keys": "id", "batch": 50}},
    }
    return parse_source(yaml.safe_dump(body | given), name="demo")


def with_bucket(units: int = 100, day: str = "America/Los_Angeles", **more) -> Source:
    return source(
        buckets=[{"name": "units", "units": units, "day": day}],
        endpoints={"items": {"path": "/items", "keys": "id", "bucket": "units", "batch": 50}},
        **more,
    )


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def ledger(tmp_path: Path, now: Now) -> Ledger:
    return Ledger(Database.file(tmp_path / "ledger.db"), now, seed=1)


def drain(ledger: Ledger, one: Source, *, is_backfill: bool = False, most: int = 10_000) -> int:
    """Requests granted one by one until a refusal."""
    endpoint = one.endpoints["items"]
    count = 0
    while count < most and ledger.reserve(one, endpoint, is_backfill=is_backfill).requests:
        count += 1
    return count


def test_units_end_at_the_limit_and_come_back_after_the_platforms_midnight(ledger: Ledger, now: Now) -> None:
    demo = with_bucket(100)
    assert drain(ledger, demo) == 100
    refusal = ledger.reserve(demo, demo.endpoints["items"])
    assert (refusal.requests, refusal.blocked_by) == (0, "units")
    midnight = dt.datetime(2026, 7, 2, 7, 0, tzinfo=dt.UTC)
    assert midnight + dt.timedelta(minutes=1) <= refusal.retry_at <= midnight + dt.timedelta(minutes=10)
    now.at = midnight - dt.timedelta(seconds=1)
    assert drain(ledger, demo) == 0
    now.at = midnight
    assert drain(ledger, demo) == 100


@pytest.mark.parametrize(
    ("day", "hours"), [(dt.date(2026, 3, 8), 23), (dt.date(2026, 11, 1), 25), (dt.date(2026, 7, 1), 24)]
)
def test_a_platforms_day_has_as_many_hours_as_its_zone_gives_it(tmp_path: Path, day: dt.date, hours: int) -> None:
    from zoneinfo import ZoneInfo

    start = dt.datetime.combine(day, dt.time(), ZoneInfo("America/Los_Angeles")).astimezone(dt.UTC)
    now = Now(start)
    ledger, demo = Ledger(Database.file(tmp_path / "ledger.db"), now), with_bucket(10)
    granted = []
    for _ in range(50):
        granted.append(drain(ledger, demo))
        now.forward(hours=1)
    assert [hour for hour, count in enumerate(granted) if count] == [0, hours, hours + 24]


def test_several_requests_are_granted_as_far_as_the_budget_reaches(ledger: Ledger) -> None:
    demo = with_bucket(10)
    assert ledger.reserve(demo, demo.endpoints["items"], 7).requests == 7
    assert ledger.reserve(demo, demo.endpoints["items"], 7).requests == 3
    assert ledger.reserve(demo, demo.endpoints["items"], 7).requests == 0


def test_no_window_of_a_rate_holds_more_than_nine_tenths_of_the_limit(ledger: Ledger, now: Now) -> None:
    demo = source(rates=[{"requests": 300, "seconds": 900}])
    times: list[float] = []
    for _ in range(4 * 900):
        times += [now.at.timestamp()] * ledger.reserve(demo, demo.endpoints["items"], 50).requests
        now.forward(seconds=1)
    in_windows = [sum(1 for other in times if start <= other < start + 900) for start in set(times)]
    assert max(in_windows) <= 270
    assert len(times) >= 4 * 240


def test_a_rate_refuses_briefly_and_says_until_when(ledger: Ledger, now: Now) -> None:
    demo = source(rates=[{"requests": 10, "seconds": 10}])
    assert drain(ledger, demo, most=5) == 1
    refusal = ledger.reserve(demo, demo.endpoints["items"])
    assert refusal.is_brief
    now.at = refusal.retry_at
    assert ledger.reserve(demo, demo.endpoints["items"]).requests == 1


def test_a_rate_that_refuses_charges_no_units(ledger: Ledger) -> None:
    demo = with_bucket(100, rates=[{"requests": 10, "seconds": 10}])
    granted = drain(ledger, demo)
    assert [use.used for use in ledger.uses()] == [granted]


def test_a_rolling_window_never_holds_more_than_its_units(ledger: Ledger, now: Now) -> None:
    demo = source(
        buckets=[{"name": "hour", "units": 200, "seconds": 3600}],
        endpoints={"items": {"path": "/items", "keys": "id", "bucket": "hour"}},
    )
    times: list[float] = []
    for _ in range(300):
        times += [now.at.timestamp()] * drain(ledger, demo)
        now.forward(minutes=1)
    assert max(sum(1 for other in times if start <= other < start + 3600) for start in set(times)) <= 200
    assert len(times) >= 4 * 200


def test_money_is_reserved_at_worst_and_settled_by_rows(ledger: Ledger) -> None:
    demo = source(
        spend={"usd_per_day": 10.0, "usd_per_cycle": 15.0},
        endpoints={"items": {"path": "/items", "keys": "id", "batch": 100, "usd_per_row": 0.01}},
    )
    endpoint = demo.endpoints["items"]
    assert drain(ledger, demo) == 10
    ledger.settle(demo, endpoint, rows=50)
    assert ledger.reserve(demo, endpoint).requests == 0
    ledger.settle(demo, endpoint, rows=50)
    assert ledger.reserve(demo, endpoint).requests == 1
    assert {use.bucket: use.used for use in ledger.uses()} == {"usd_day": 10 * MICRO, "usd_cycle": 10 * MICRO}


def test_what_is_given_back_after_midnight_belongs_to_the_day_that_was_charged(ledger: Ledger, now: Now) -> None:
    demo = source(
        spend={"usd_per_day": 10.0, "usd_per_cycle": 100.0},
        endpoints={"items": {"path": "/items", "keys": "id", "batch": 100, "usd_per_row": 0.01}},
    )
    endpoint = demo.endpoints["items"]
    now.at = dt.datetime(2026, 7, 1, 23, 59, 59, tzinfo=dt.UTC)
    grant = ledger.reserve(demo, endpoint, 4)
    now.forward(seconds=5)
    for _ in range(grant.requests):
        ledger.settle(demo, endpoint, rows=0, at=grant.at)
    assert drain(ledger, demo) == 10


def test_a_month_ends_what_days_would_still_allow(ledger: Ledger, now: Now) -> None:
    demo = source(
        spend={"usd_per_day": 10.0, "usd_per_cycle": 15.0},
        endpoints={"items": {"path": "/items", "keys": "id", "batch": 100, "usd_per_row": 0.01}},
    )
    first = drain(ledger, demo)
    now.forward(days=1)
    second = drain(ledger, demo)
    refusal = ledger.reserve(demo, demo.endpoints["items"])
    assert (first, second, refusal.blocked_by) == (10, 5, "usd_cycle")
    assert refusal.retry_at >= dt.datetime(2026, 8, 1, tzinfo=dt.UTC)


def test_backfills_have_their_share_and_leave_what_live_work_needs(ledger: Ledger) -> None:
    demo = with_bucket(100)
    ledger.need(demo, "units", 90)
    assert drain(ledger, demo, is_backfill=True) == 10
    ledger.need(demo, "units", 0)
    assert drain(ledger, demo, is_backfill=True) == int(100 * BACKFILL_SHARE) - 10
    assert drain(ledger, demo) == 70


def test_a_need_of_a_rolling_window_is_the_newest_one(ledger: Ledger, now: Now) -> None:
    demo = source(
        buckets=[{"name": "hour", "units": 200, "seconds": 3600}],
        endpoints={"items": {"path": "/items", "keys": "id", "bucket": "hour"}},
    )
    for _ in range(4):
        ledger.need(demo, "hour", 150)
        now.forward(minutes=5)
    assert drain(ledger, demo, is_backfill=True) == 50


def test_what_is_parked_is_not_asked_and_a_later_time_stays(ledger: Ledger, now: Now) -> None:
    demo = with_bucket(100)
    later, sooner = now.at + dt.timedelta(hours=2), now.at + dt.timedelta(hours=1)
    ledger.park(demo, "units", later, "quotaExceeded")
    ledger.park(demo, "units", sooner, "quotaExceeded")
    refusal = ledger.reserve(demo, demo.endpoints["items"])
    assert (refusal.requests, refusal.retry_at, refusal.blocked_by) == (0, later, "units")
    ledger.park(demo, EVERYTHING, later + dt.timedelta(hours=1), "keyInvalid")
    now.at = later
    assert ledger.reserve(demo, demo.endpoints["items"]).blocked_by == EVERYTHING
    assert ledger.unpark(demo.source) == 2
    assert ledger.reserve(demo, demo.endpoints["items"]).requests == 1


def test_a_throttled_family_goes_on_slower_and_recovers(ledger: Ledger, now: Now) -> None:
    demo = source(rates=[{"requests": 1000, "seconds": 100}])

    def a_minute() -> int:
        now.forward(seconds=100)
        total = 0
        for _ in range(60):
            total += ledger.reserve(demo, demo.endpoints["items"], 1000).requests
            now.forward(seconds=1)
        return total

    full = a_minute()
    ledger.slow_down(demo, "default")
    slow = a_minute()
    for _ in range(100):
        ledger.speed_up(demo, "default")
    assert 0.4 * full < slow < 0.6 * full
    assert a_minute() == full


def _spend(folder: Path, units: int, granted: "multiprocessing.Queue[int]", crash_after: int) -> None:
    ledger, demo = Ledger(Database.file(folder / "ledger.db"), Now()), with_bucket(units)
    count = 0
    while ledger.reserve(demo, demo.endpoints["items"]).requests:
        count += 1
        granted.put(1)
        if count == crash_after:
            granted.close()
            granted.join_thread()
            os.kill(os.getpid(), signal.SIGKILL)


def test_racing_and_killed_workers_never_spend_more_than_there_is(tmp_path: Path) -> None:
    spawned = multiprocessing.get_context("spawn")
    granted = spawned.Queue()
    workers = [spawned.Process(target=_spend, args=(tmp_path, 500, granted, crash)) for crash in (0, 0, 40, 70)]
    for worker in workers:
        worker.start()
    total, deadline = 0, time.monotonic() + 60
    while time.monotonic() < deadline and (any(worker.is_alive() for worker in workers) or not granted.empty()):
        while not granted.empty():
            total += granted.get()
        time.sleep(0.01)
    for worker in workers:
        worker.join()
    ledger = Ledger(Database.file(tmp_path / "ledger.db"), Now())
    assert total <= 500
    assert [use.used for use in ledger.uses()] == [500]
    assert total >= 498
