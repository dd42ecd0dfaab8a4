"""A connector that needs no code: everything it does is declared in its source. Platforms with manners of their own extend it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from lakehouse.errors import PermanentError
from lakehouse.fetch.answers import dig, moment, records_at, seconds_to_wait, unusable
from lakehouse.fetch.connector import ApiRequest, ApiResponse, BadKeyError
from lakehouse.fetch.source import Endpoint, Refusal, Source
from lakehouse.fetch.task import Fate, FetchTask, Priority, Reading, Sighting

PLACEHOLDER = re.compile(r"\{(key|country|language|(?:since|until)(?:_time|_digits)?)\}")
DAY_CHARS = 10
PAGES, RESTARTED = "pages", "restarted"
"""Parameters of tasks: pages that may still be asked for, this one included; that the list was begun anew."""


class DeclaredConnector:
    """Requests and readings of one source, by its endpoints and its table of refusals."""

    def __init__(self, source: Source) -> None:
        """A connector for that source."""
        self.source = source

    def request(self, task: FetchTask) -> ApiRequest:
        """The request of a task.

        Raises:
            BadKeyError: a key of the wrong form.
            PermanentError: no such endpoint, too many keys or none, or a time that is none.
        """
        endpoint = self._endpoint(task)
        self._check_keys(task, endpoint)
        values = self.values(task)
        params = {name: text for name, raw in endpoint.params.items() if (text := _filled(raw, values)) is not None}
        if endpoint.keys:
            params[endpoint.keys] = ",".join(task.keys)
        body = _filled_all(endpoint.body, values) if endpoint.body else None
        if task.cursor and endpoint.paging is not None and endpoint.paging.parameter:
            if body is None:
                params[endpoint.paging.parameter] = task.cursor
            else:
                body |= self.cursor_fields(endpoint.paging.parameter, task.cursor)
        path = _filled(endpoint.path, values) or ""
        return ApiRequest(endpoint.method, f"{self.source.base_url}{path}", params, body)

    def values(self, task: FetchTask) -> dict[str, str]:
        """What placeholders stand for. A parameter with one that the task does not give is left out."""
        values = {name: task.params[name] for name in ("country", "language") if name in task.params}
        values |= {"key": task.keys[0]} if task.keys else {}
        for name in ("since", "until"):
            if name in task.params:
                day = task.params[name][:DAY_CHARS]
                time = day + (task.params[name][DAY_CHARS:] or "T00:00:00Z")
                values |= {name: task.params[name], f"{name}_time": time, f"{name}_digits": day.replace("-", "")}
        return values

    def cursor_fields(self, name: str, cursor: str) -> dict[str, Any]:
        """How a cursor stands in the body of a POST."""
        return {name: int(cursor) if cursor.isdigit() else cursor}

    def read(self, task: FetchTask, response: ApiResponse) -> Reading:
        """What the answer means."""
        try:
            return self.reading(task, response)
        except (PermanentError, AttributeError, LookupError, TypeError, ValueError):
            return Reading(Fate.RETRY, "wrong_shape")  # platforms send every shape once; a retry is bounded

    def reading(self, task: FetchTask, response: ApiResponse) -> Reading:
        """What an answer of the expected shape means."""
        reading = self.refused(task, response) or unusable(response)
        if reading is not None:
            return reading
        found = records_at(response.document, self._endpoint(task).rows)
        records = [record for record in found if isinstance(record, dict)]
        if not self.is_sound(response.document) or (found and not records):
            return Reading(Fate.RETRY, "wrong_shape")
        return Reading(
            rows=len(found),
            sightings=tuple(self.sightings(task, response.document, records)),
            follow_ups=tuple(self.follow_ups(task, response.document, records)),
        )

    def is_sound(self, document: Any) -> bool:
        """Whether a document is an answer of this source at all: of an empty one, every account would be missing."""
        expected = self.source.answer_has
        return not expected or (isinstance(document, dict) and not document.keys().isdisjoint(expected))

    def codes(self, response: ApiResponse) -> set[str]:
        """Error codes that the answer's body names."""
        found = (dig(response.document, path) for path in self.source.error_codes)
        return {str(code) for code in found if code not in (None, "")}

    def refused(self, task: FetchTask, response: ApiResponse) -> Reading | None:
        """The first refusal of the source's table that the answer is; None where it is none, or no JSON."""
        if not isinstance(response.document, dict | list):
            return None
        codes = self.codes(response)
        for refusal in self.source.refusals:
            if refusal.restart and (not task.cursor or RESTARTED in task.params):
                continue
            if refusal.fits(response.status, codes, task.endpoint):
                known = sorted(codes & set(refusal.codes))
                return self.refusal(task, response, refusal, known[0] if known else f"status_{response.status}")
        return None

    def refusal(self, task: FetchTask, response: ApiResponse, found: Refusal, reason: str) -> Reading:
        """The reading of a refusal."""
        endpoint = self._endpoint(task)
        bucket = found.bucket.replace("{family}", endpoint.family).replace("{bucket}", endpoint.bucket)
        wait = seconds_to_wait(response.headers)
        is_until_reset = found.fate is Fate.PARK and found.wait_seconds is None
        sightings = () if found.state is None else tuple(Sighting(key, found.state, reason) for key in task.keys)
        again = replace(task, cursor="", priority=after(task), params={**task.params, RESTARTED: "1"})
        return Reading(
            found.fate,
            reason,
            retry_after=None if is_until_reset else found.wait_seconds if wait is None else wait,
            bucket=bucket,
            sightings=sightings,
            follow_ups=(again,) if found.restart else (),
        )

    def sightings(self, task: FetchTask, document: Any, records: Sequence[Mapping[str, Any]]) -> list[Sighting]:
        """What is said of accounts that the answer lacks."""
        del document  # for connectors whose answers say more
        endpoint = self._endpoint(task)
        if endpoint.missing is None or (len(task.keys) == 1 and records):
            return []
        found = {_plain(dig(record, endpoint.row_key)) for record in records} if endpoint.row_key else set()
        return [Sighting(key, endpoint.missing, "not_in_answer") for key in task.keys if _plain(key) not in found]

    def follow_ups(self, task: FetchTask, document: Any, records: Sequence[Mapping[str, Any]]) -> list[FetchTask]:
        """The next page, unless there were enough, or the list went on beyond the time that is wanted."""
        endpoint = self._endpoint(task)
        if endpoint.paging is None or not records:
            return []
        cursor = dig(document, endpoint.paging.next)
        is_last = bool(endpoint.paging.more) and not dig(document, endpoint.paging.more)
        pages = pages_left(task, endpoint.paging.pages)
        if cursor in (None, "", task.cursor) or is_last or pages == 1 or self._is_past(task, endpoint, records):
            return []
        params = {**task.params, PAGES: str(pages - 1)} if pages else task.params
        return [replace(task, cursor=str(cursor), priority=after(task), params=params)]

    def rows(self, task: FetchTask, document: Any) -> list[tuple[str, Mapping[str, Any]]]:
        """Records of an answer, each with the layout of the mapping that reads it; one that stands there twice counts once."""
        endpoint = self._endpoint(task)
        return distinct(endpoint.layout, records_at(document, endpoint.rows)) if endpoint.layout else []

    def _endpoint(self, task: FetchTask) -> Endpoint:
        if task.endpoint not in self.source.endpoints:
            raise PermanentError(f"{self.source.source} has no endpoint {task.endpoint}.")
        return self.source.endpoints[task.endpoint]

    def _check_keys(self, task: FetchTask, endpoint: Endpoint) -> None:
        if len(task.keys) > endpoint.batch:
            raise PermanentError(f"{task.endpoint} takes {endpoint.batch} keys, not {len(task.keys)}.")
        if not task.keys and (endpoint.keys or endpoint.key_kind != "none"):
            raise PermanentError(f"{task.endpoint} needs a key.")
        pattern = self._patterns.get(task.endpoint)
        bad = [key for key in task.keys if pattern is not None and not pattern.fullmatch(key)]
        if bad:
            raise BadKeyError(task.endpoint, bad)

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        found = self.source.endpoints.items()
        return {name: re.compile(endpoint.key_pattern) for name, endpoint in found if endpoint.key_pattern}

    def _is_past(self, task: FetchTask, endpoint: Endpoint, records: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the last record is older than what is wanted."""
        since = moment(task.params.get("since"))
        last = moment(dig(records[-1], endpoint.dated)) if endpoint.dated else None
        return since is not None and last is not None and last < since


def after(task: FetchTask) -> Priority:
    """Priority of what follows from a task: a backfill's stays one."""
    return Priority.BACKFILL if task.priority is Priority.BACKFILL else Priority.FOLLOW_UP


def pages_left(task: FetchTask, usual: int) -> int:
    """Pages that a list may still have, the one of the task included; 0 is all of them. One with a `since` ends by itself."""
    given = task.params.get(PAGES, "")
    return int(given) if given.isdigit() else 0 if "since" in task.params else usual


def distinct(layout: str, records: Sequence[Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Records with their layout, without repeats; what is no object is kept as one, for the quarantine."""
    fresh = [record for place, record in enumerate(records) if record and record not in records[:place]]
    return [(layout, record if isinstance(record, dict) else {"item": record}) for record in fresh]


def _plain(key: object) -> str:
    """Handles are the same whatever their case and leading @."""
    return str(key).removeprefix("@").casefold()


def _filled(text: str, values: Mapping[str, str]) -> str | None:
    """The text with its placeholders filled in; None where one has no value."""
    if any(name not in values for name in PLACEHOLDER.findall(text)):
        return None
    return PLACEHOLDER.sub(lambda found: values[found.group(1)], text)


def _filled_all(body: Any, values: Mapping[str, str]) -> Any:
    """JSON with its placeholders filled in, without the members that lack a value."""
    if isinstance(body, Mapping):
        filled = {name: _filled_all(value, values) for name, value in body.items()}
        return {name: value for name, value in filled.items() if value is not None}
    if isinstance(body, list):
        return [_filled_all(value, values) for value in body]
    return _filled(body, values) if isinstance(body, str) else body
