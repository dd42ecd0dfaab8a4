"""What all connectors read alike in an answer: paths into its document, times to come back, answers that make no sense."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from lakehouse.fetch.connector import ApiResponse
from lakehouse.fetch.task import Fate, Reading

LONGEST_SECONDS = 86_400.0
"""A `Retry-After` beyond a day is taken for a mistake."""
MOVED, REFUSED, THROTTLED, OUT_OF_ORDER = 300, 400, 429, 500


def dig(document: Any, path: str) -> Any:
    """The value at a dotted path of keys and list positions, None where there is none; an empty path is the document."""
    value = document
    for part in path.split(".") if path else ():
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, Sequence) and not isinstance(value, str) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def records_at(document: Any, path: str) -> list[Any]:
    """Records at a path: those of a list, or the one object there."""
    found = dig(document, path)
    if found is None:
        return []
    return list(found) if isinstance(found, list) else [found]


def moment(value: Any) -> dt.datetime | None:
    """A time in a record, or a day of a task, as ISO 8601 or Unix seconds; None where it is none."""
    try:
        if isinstance(value, int):
            return dt.datetime.fromtimestamp(value, tz=dt.UTC)
        time = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """What `Retry-After` says, as seconds or as a date beside the answer's own `Date`; None where it is absent or cannot be."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = _until(text, headers.get("date", ""))
    return seconds if 0 < seconds <= LONGEST_SECONDS else None


def unusable(response: ApiResponse) -> Reading | None:
    """What to do with an answer that no table knows: throttled, out of order, or not the JSON that it should be."""
    if response.status == THROTTLED:
        return Reading(Fate.RETRY, "throttled", retry_after=seconds_to_wait(response.headers))
    if response.status >= OUT_OF_ORDER:
        return Reading(Fate.RETRY, f"server_error_{response.status}", retry_after=seconds_to_wait(response.headers))
    if not isinstance(response.document, dict | list):
        return Reading(Fate.RETRY, "not_json")
    if response.status >= REFUSED:
        return Reading(Fate.DEAD, f"refused_{response.status}")
    return Reading(Fate.RETRY, f"moved_{response.status}") if response.status >= MOVED else None


def _until(text: str, now: str) -> float:
    """Seconds from one HTTP date to another, or to this moment; 0 where the first is none."""
    try:
        then = parsedate_to_datetime(text)
        start = parsedate_to_datetime(now) if now else dt.datetime.now(tz=dt.UTC)
        return (then - start).total_seconds()
    except (TypeError, ValueError):
        return 0.0
