"""Points in time as sources write them, to UTC. Pure; the only clock is the record's own observation time.

Text without a zone is read as UTC: no source states another, and a day's error is smaller than a guessed zone.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from lakehouse.silver.missing import Reason, is_missing_number

EARLIEST = datetime(2004, 1, 1, tzinfo=UTC)
"""Before the first of the platforms: such times are defaults (1970) or damage."""
MAX_AHEAD = timedelta(days=1)
"""Clocks and zones differ by up to a day; later than that is not an observation."""
MILLISECONDS_FROM = 10**11
"""Unix numbers from here on are milliseconds (as seconds they would lie in the year 5138)."""

FORMATS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y %b %d", "%Y-%b-%d", "%Y %B %d", "%d %b %Y", "%d %B %Y", "%b %d, %Y",
    "%B %d, %Y", "%b %d %Y", "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%Y/%m/%d %H:%M:%S",
    "%Y-%m-%d %H:%M", "%a %b %d %H:%M:%S %z %Y", "%Y-%m", "%Y",
)  # fmt: skip
"""Tried in order after ISO 8601. Day-first with slashes is decided by the numbers, else refused."""

_UNIX = re.compile(r"-?\d{9,14}(?:\.\d+)?")
_SHORT = re.compile(r"(\d{2})\.(\d{2})\.(\d{2})")
_SLASHES = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?:[ T](\d{1,2}:\d{2}(?::\d{2})?))?")


def parse_time(raw: object, *, observed_at: datetime) -> tuple[datetime | None, Reason]:
    """UTC time of an ISO text, Unix seconds or milliseconds, `yy.dd.mm` or a common local format.

    Args:
        raw: text or number as read.
        observed_at: when the source was read; nothing in it can be later, give or take `MAX_AHEAD`.

    Returns:
        The time, or None with `not_a_time`, `ambiguous_date`, `too_early` or `in_future`.
    """
    moment, reason = _read(raw)
    if moment is None:
        return None, reason
    if moment < EARLIEST:
        return None, "too_early"
    return (moment, None) if moment - MAX_AHEAD <= observed_at else (None, "in_future")


def _read(raw: object) -> tuple[datetime | None, Reason]:
    if raw is None:
        return None, None
    if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
        return None, "not_a_time"
    if isinstance(raw, (int, float)):
        return _unix(float(raw)) if abs(raw) >= 10**8 else (None, "not_a_time")
    text = raw.strip()
    if text[4:5] == "-" == text[7:8]:
        return _iso(text)  # nearly all times; nothing else has hyphens in these places
    if is_missing_number(text):
        return None, None
    return _unix(float(text)) if _UNIX.fullmatch(text) else _text(text)


def _unix(seconds: float) -> tuple[datetime | None, Reason]:
    if not math.isfinite(seconds):
        return None, "not_a_time"
    scaled = seconds / 1000 if abs(seconds) >= MILLISECONDS_FROM else seconds
    try:
        return datetime.fromtimestamp(scaled, UTC), None
    except (OverflowError, OSError, ValueError):
        return None, "not_a_time"


def _text(text: str) -> tuple[datetime | None, Reason]:
    if match := _SHORT.fullmatch(text):
        year, day, month = (int(part) for part in match.groups())
        return _date(2000 + year, month, day)
    if match := _SLASHES.fullmatch(text):
        return _slashed(match)
    return _iso(text)


def _iso(text: str) -> tuple[datetime | None, Reason]:
    try:
        return _utc(datetime.fromisoformat(text)), None
    except (ValueError, OverflowError):
        return _by_format(text)


def _by_format(text: str) -> tuple[datetime | None, Reason]:
    for pattern in FORMATS:
        try:
            return _utc(datetime.strptime(text, pattern)), None  # noqa: DTZ007  (zone is added by _utc)
        except (ValueError, OverflowError):
            continue
    try:
        return _utc(parsedate_to_datetime(text)), None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None, "not_a_time"


def _slashed(match: re.Match[str]) -> tuple[datetime | None, Reason]:
    first, second, year = (int(part) for part in match.groups()[:3])
    if first <= 12 and second <= 12 and first != second:
        return None, "ambiguous_date"
    day, month = (first, second) if first > 12 else (second, first)
    moment, reason = _date(year, month, day)
    if moment is None or match[4] is None:
        return moment, reason
    hour, minute, *rest = (int(part) for part in match[4].split(":"))
    if hour > 23 or minute > 59 or (rest and rest[0] > 59):
        return None, "not_a_time"
    return moment.replace(hour=hour, minute=minute, second=rest[0] if rest else 0), None


def _date(year: int, month: int, day: int) -> tuple[datetime | None, Reason]:
    try:
        return datetime(year, month, day, tzinfo=UTC), None
    except ValueError:
        return None, "not_a_time"


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
