"""Days of a time zone, also of 23 and 25 hours; windows; the unit ledger of YouTube over HTTP."""

import datetime as dt

import pytest

from lakehouse.simulate.platforms.quotas import (
    PACIFIC,
    DayOnce,
    FixedWindows,
    PeriodMeter,
    Quotas,
    SlidingWindows,
    cycle_of,
    day_end,
    day_of,
)

SPRING, AUTUMN = (2027, 3, 14), (2026, 11, 1)
"""Days on which the clocks change in Los Angeles: 23 and 25 hours."""


def unix(*moment: int) -> float:
    return dt.datetime(*moment, tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize(
    ("first", "last", "hours"),
    [
        ((2026, 6, 30, 7), (2026, 7, 1, 6, 59, 59), 24),
        ((*SPRING, 8), (2027, 3, 15, 6, 59, 59), 23),
        ((*AUTUMN, 7), (2026, 11, 2, 7, 59, 59), 25),
    ],
)
def test_pacific_days_have_their_real_length(first, last, hours):
    start, end = unix(*first), unix(*last)
    assert end + 1 - start == hours * 3_600
    assert day_of(start - 1, PACIFIC) < day_of(start, PACIFIC) == day_of(end, PACIFIC) < day_of(end + 1, PACIFIC)
    assert day_end(start, PACIFIC) == day_end(end, PACIFIC) == end + 1


def test_cycles_are_months_in_utc():
    assert cycle_of(unix(2026, 6, 30, 23, 59, 59)) == "2026-06"
    assert cycle_of(unix(2026, 7, 1)) == "2026-07"


def test_the_day_of_a_quota_ends_at_midnight_pacific(start):
    for moment, length in ((SPRING, 23), (AUTUMN, 25), ((2026, 7, 1), 24)):
        lab = start(quotas=Quotas(youtube_units_per_day=2))
        begin = day_end(unix(*moment, 0), PACIFIC)
        lab.advance(begin - lab.now)
        ask = {"part": "id", "id": "UCx"}
        assert [lab.youtube("channels", **ask).status_code for _ in range(3)] == [200, 200, 403]
        lab.advance(length * 3_600 - 1)
        refused = lab.youtube("channels", **ask)
        assert refused.json()["error"]["errors"][0] == {
            "domain": "youtube.quota",
            "reason": "quotaExceeded",
            "message": refused.json()["error"]["message"],
        }
        lab.advance(1)
        assert lab.youtube("channels", **ask).status_code == 200


def test_invalid_requests_are_charged_and_refused_ones_are_not(start):
    lab = start(quotas=Quotas(youtube_units_per_day=3))
    assert lab.youtube("channels").status_code == 400
    assert lab.youtube("playlistItems", part="id", playlistId="UUx").status_code == 404
    assert lab.youtube("videos", part="id", id="x").status_code == 200
    assert [lab.youtube("videos", part="id", id="x").status_code for _ in range(2)] == [403, 403]
    total = lab.emulator.ledger.total("youtube")
    assert (total["calls"], total["units"], total["refused"], total["errors"]) == (5, 3, 2, 2)


def test_projects_and_searches_have_buckets_of_their_own(start):
    lab = start(quotas=Quotas(youtube_units_per_day=1, youtube_searches_per_day=2))
    ask = {"part": "id", "id": "UCx"}
    assert [lab.youtube("channels", **ask).status_code for _ in range(2)] == [200, 403]
    assert lab.youtube("channels", key="yt-other", **ask).status_code == 200
    find = {"part": "snippet", "type": "channel", "q": "x"}
    assert [lab.youtube("search", **find).status_code for _ in range(3)] == [200, 200, 403]


def test_a_fixed_window_starts_with_its_first_request():
    windows = FixedWindows(900)
    assert windows.take("a", 2, 1_000.5) == (True, 1, 1_900)
    assert windows.take("a", 2, 1_899) == (True, 0, 1_900)
    assert windows.take("a", 2, 1_899) == (False, 0, 1_900)
    assert windows.take("b", 2, 1_899).is_open
    assert windows.take("a", 2, 1_900.5) == (True, 1, 2_800)
    assert windows.take("a", 2, 0) == (True, 1, 900)


def test_a_sliding_window_forgets_second_by_second():
    windows = SlidingWindows(60)
    for at in (0, 10, 20):
        windows.add("a", at, most=10)
    assert windows.count("a", 59) == 3
    assert windows.free_in("a", 59, 3) == 1
    assert windows.free_in("a", 59, 4) == 0
    assert windows.count("a", 60) == 2
    assert windows.count("a", 5) == 0


def test_meters_count_by_credential_and_period():
    meter = PeriodMeter()
    meter.add("a", "2026-06", 5)
    meter.add("a", "2026-06", 2)
    assert (meter.used("a", "2026-06"), meter.used("a", "2026-07"), meter.used("b", "2026-06")) == (7, 0, 0)
    once = DayOnce()
    assert [once.fresh("a", day, ids) for day, ids in (("1", ["x", "y"]), ("1", ["y", "z"]), ("2", ["x"]))] == [2, 1, 1]
