"""Times as sources write them, into UTC. Only declared formats; nothing is guessed.

A value's time passes as it is written; an observation's time orders everything after it, so it must be a possible one.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo

from lakehouse.ingest.mapping import UNIX, UNIX_MS
from lakehouse.silver.times import EARLIEST, MAX_AHEAD

MS_PER_SECOND = 1000
CACHED_TIMES = 65_536
"""Distinct time texts remembered: dumps repeat few scrape times over millions of rows, and strptime is slow."""


@lru_cache(maxsize=CACHED_TIMES)
def utc_text(text: str, form: str | None, zone: str) -> str | None:
    """ISO 8601 text in UTC ending in Z, or None when `text` does not have the format.

    Args:
        text: the time as written.
        form: a strptime format, `unix`, `unix_ms`, or None for ISO 8601.
        zone: IANA zone of times that carry none.
    """
    try:
        return iso(_parsed(text.strip(), form, zone))
    except (ValueError, OverflowError, OSError):
        return None


@lru_cache(maxsize=CACHED_TIMES)
def observed_text(text: str, form: str | None, zone: str, landed_at: str) -> str | None:
    """`utc_text` of a time of observation, None too where it cannot be one: before 2004, or a day after the landing."""
    try:
        return _possible(_parsed(text.strip(), form, zone), landed_at)
    except (ValueError, OverflowError, OSError):
        return None


def declared_text(day: dt.datetime | dt.date, zone: str, landed_at: str) -> str | None:
    """A declared date as `observed_text` gives it."""
    try:
        return _possible(as_moment(day, zone), landed_at)
    except OverflowError:
        return None


def iso(moment: dt.datetime) -> str:
    """ISO 8601 in UTC with Z; microseconds only where there are some."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def as_moment(day: dt.datetime | dt.date, zone: str) -> dt.datetime:
    """A declared date as the first instant of that day in its zone; a declared time as it is."""
    moment = day if isinstance(day, dt.datetime) else dt.datetime.combine(day, dt.time())
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))


def _possible(moment: dt.datetime, landed_at: str) -> str | None:
    text = iso(moment)
    is_possible = moment >= EARLIEST and moment - MAX_AHEAD <= dt.datetime.fromisoformat(landed_at)
    return text if is_possible else None


def _parsed(text: str, form: str | None, zone: str) -> dt.datetime:
    if form in {UNIX, UNIX_MS}:
        seconds = float(text) / (MS_PER_SECOND if form == UNIX_MS else 1)
        return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
    moment = dt.datetime.strptime(text, form) if form else dt.datetime.fromisoformat(text)  # noqa: DTZ007 - as_moment
    return as_moment(moment, zone)
