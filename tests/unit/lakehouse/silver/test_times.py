"""Times of sources to UTC; what cannot be true is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lakehouse.silver.times import parse_time

SEEN = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "moment"),
    [
        ("2018-10-31T14:17:10.000Z", (2018, 10, 31, 14, 17, 10)),
        ("2018-10-31T16:17:10+02:00", (2018, 10, 31, 14, 17, 10)),
        ("2025-05-21 09:44:45", (2025, 5, 21, 9, 44, 45)),
        ("1608214517", (2020, 12, 17, 14, 15, 17)),
        (1608214517, (2020, 12, 17, 14, 15, 17)),
        ("1608214517000", (2020, 12, 17, 14, 15, 17)),
        ("18.01.11", (2018, 11, 1)),
        ("2006 Mar 13", (2006, 3, 13)),
        ("13/02/2020", (2020, 2, 13)),
        ("02/13/2020 10:30", (2020, 2, 13, 10, 30)),
        ("03/03/2020", (2020, 3, 3)),
        ("31.12.2019", (2019, 12, 31)),
        ("Wed Oct 10 20:19:24 +0000 2018", (2018, 10, 10, 20, 19, 24)),
        ("Wed, 10 Oct 2018 20:19:24 GMT", (2018, 10, 10, 20, 19, 24)),
        ("20180101", (2018, 1, 1)),
        ("2025-06-01T23:00:00Z", (2025, 6, 1, 23)),
    ],
)
def test_known_formats(raw, moment):
    assert parse_time(raw, observed_at=SEEN) == (datetime(*moment, tzinfo=UTC), None)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("1970-01-01", "too_early"),
        ("2003-12-31", "too_early"),
        ("2025-06-03", "in_future"),
        ("02/03/2020", "ambiguous_date"),
        ("13/13/2020", "not_a_time"),
        ("13/02/2020 25:00", "not_a_time"),
        ("99.99.99", "not_a_time"),
        ("junk", "not_a_time"),
        (5, "not_a_time"),
        (float("inf"), "not_a_time"),
        (True, "not_a_time"),
        (["2020-01-01"], "not_a_time"),
        ("9" * 14, "in_future"),
    ],
)
def test_refused(raw, reason):
    assert parse_time(raw, observed_at=SEEN) == (None, reason)


@pytest.mark.parametrize("observed_at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_any_time_of_observation_can_be_compared_with(observed_at):
    parse_time("2020-01-01", observed_at=observed_at)
    parse_time("9999-12-31T23:59:59Z", observed_at=observed_at)


@pytest.mark.parametrize("raw", [None, "", "nan", "N/A"])
def test_missing(raw):
    assert parse_time(raw, observed_at=SEEN) == (None, None)
