"""Times into UTC by declared formats."""

from __future__ import annotations

import datetime as dt

import pytest

from lakehouse.ingest.times import as_moment, declared_text, iso, observed_text, utc_text


@pytest.mark.parametrize(
    ("text", "form", "zone", "expected"),
    [
        ("2018-10-29T15:58:23.000Z", None, "UTC", "2018-10-29T15:58:23Z"),
        ("2018-10-29T15:58:23.25+02:00", None, "UTC", "2018-10-29T13:58:23.250000Z"),
        ("18.01.11", "%y.%d.%m", "UTC", "2018-11-01T00:00:00Z"),
        ("2025-05-29 15:38:41", "%Y-%m-%d %H:%M:%S", "Asia/Ho_Chi_Minh", "2025-05-29T08:38:41Z"),
        ("1608214517", "unix", "UTC", "2020-12-17T14:15:17Z"),
        ("1608214517000", "unix_ms", "UTC", "2020-12-17T14:15:17Z"),
        ("nan", "unix", "UTC", None),
        ("1e30", "unix", "UTC", None),
        ("0001-01-01", None, "Asia/Ho_Chi_Minh", None),
        ("soon", None, "UTC", None),
        ("29/02/2023", "%d/%m/%Y", "UTC", None),
    ],
)
def test_utc_text(text: str, form: str | None, zone: str, expected: str | None) -> None:
    assert utc_text(text, form, zone) == expected


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("2004-01-01", None, "2004-01-01T00:00:00Z"),
        ("2024-01-03T03:04:05Z", None, "2024-01-03T03:04:05Z"),
        ("2003-12-31T23:59:59Z", None, None),
        ("2024-01-03T03:04:06Z", None, None),
        ("9999-12-31", None, None),
        ("9999-12-31T23:59:59-05:00", None, None),
        ("1608214517", "unix_ms", None),
        ("soon", None, None),
    ],
)
def test_a_time_of_observation_is_a_possible_one(text: str, form: str | None, expected: str | None) -> None:
    assert observed_text(text, form, "UTC", "2024-01-02T03:04:05Z") == expected


@pytest.mark.parametrize("day", [dt.date(1999, 1, 1), dt.date(2024, 2, 1), dt.date.min, dt.date.max])
def test_a_declared_date_is_a_possible_one(day: dt.date) -> None:
    assert declared_text(day, "America/New_York", "2024-01-02T03:04:05Z") is None


def test_a_date_starts_in_its_zone() -> None:
    assert iso(as_moment(dt.date(2022, 6, 15), "Europe/Madrid")) == "2022-06-14T22:00:00Z"
