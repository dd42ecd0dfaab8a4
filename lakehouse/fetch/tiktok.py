"""TikTok's Display and Research APIs: what their declarations cannot say. Success by a code in the body, search ids, dates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lakehouse.fetch.answers import dig, moment
from lakehouse.fetch.connector import ApiRequest
from lakehouse.fetch.declared import DAY_CHARS, DeclaredConnector, after
from lakehouse.fetch.task import FetchTask

OK = "ok"
SEARCH_MARK = "|"
"""Between the cursor and the search id of a page of the Research API."""
DAY, MS_PER_SECOND = dt.timedelta(days=1), 1_000
LISTS = {"video_list": frozenset(), "video_query": frozenset({"since", "until"})}
"""Endpoints that list the videos of a user, with the parameters that they need."""


class TikTokConnector(DeclaredConnector):
    """The APIs' manners."""

    def request(self, task: FetchTask) -> ApiRequest:
        """The request of a task; a list of the Display API starts at its `until`, since its cursor is a time."""
        until = moment(task.params.get("until"))
        if task.endpoint == "video_list" and not task.cursor and until is not None:
            return super().request(replace(task, cursor=str(int(until.timestamp()) * MS_PER_SECOND)))
        return super().request(task)

    def values(self, task: FetchTask) -> dict[str, str]:
        """What placeholders stand for. The Research API counts its last day in; ours ends before `until`."""
        values = super().values(task)
        if "until" in values:
            is_midnight = values["until_time"].endswith("T00:00:00Z")
            last = dt.date.fromisoformat(values["until"][:DAY_CHARS]) - (DAY if is_midnight else dt.timedelta())
            values["until_digits"] = f"{last:%Y%m%d}"
        return values

    def is_sound(self, document: Any) -> bool:
        """Only `ok` is success, whatever the status."""
        return super().is_sound(document) and dig(document, "error.code") == OK

    def cursor_fields(self, name: str, cursor: str) -> dict[str, Any]:
        """The cursor as a number, with the search that it continues."""
        place, mark, search = cursor.partition(SEARCH_MARK)
        return {name: int(place)} | ({"search_id": search} if mark else {})

    def follow_ups(self, task: FetchTask, document: Any, records: Sequence[Mapping[str, Any]]) -> list[FetchTask]:
        """The next page, its cursor with the search id where there is one; of a user, with `posts`, the videos."""
        if task.endpoint == "user_info" and task.params.get("posts"):
            lists = [name for name, needed in LISTS.items() if needed.issubset(task.params)]
            known = [name for name in lists if name in self.source.endpoints]
            return [replace(task, endpoint=name, priority=after(task)) for name in known]
        search = dig(document, "data.search_id")
        if search:
            cursor = f"{dig(document, 'data.cursor')}{SEARCH_MARK}{search}"
            document = {"data": {**document["data"], "cursor": cursor}}
        return super().follow_ups(task, document, records)
