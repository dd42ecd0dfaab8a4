"""X API v2: what its declaration cannot say. Partial success, problem types, windows told by headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lakehouse.fetch.answers import dig
from lakehouse.fetch.connector import ApiResponse
from lakehouse.fetch.declared import DeclaredConnector, after
from lakehouse.fetch.source import Refusal
from lakehouse.fetch.task import AccountState, Fate, FetchTask, Reading, Sighting

STATES: dict[str, AccountState] = {
    "resource-not-found": AccountState.DELETED,
    "not-authorized-for-resource": AccountState.PRIVATE,
    "resource-unavailable": AccountState.SUSPENDED,
    "disallowed-resource": AccountState.SUSPENDED,
    "withheld": AccountState.SUSPENDED,
}
"""Last segment of a problem's type to what it says of the account that was asked for."""
FIELD_PROBLEMS = frozenset({"field-unauthorized", "not-authorized-for-field", "field-hydration-failure"})
"""Problems of one field: it is missing, the account is there."""
OK = 200


class XConnector(DeclaredConnector):
    """The API's manners."""

    def is_sound(self, document: Any) -> bool:
        """Whether a document is an answer of the API: its errors are objects in a list."""
        errors = dig(document, "errors") or []
        return super().is_sound(document) and isinstance(errors, list) and all(isinstance(one, dict) for one in errors)

    def codes(self, response: ApiResponse) -> set[str]:
        """Codes of the body; of a type that is an address only its last segment."""
        return {_segment(code) for code in super().codes(response)}

    def refused(self, task: FetchTask, response: ApiResponse) -> Reading | None:
        """A refusal; errors of single accounts in an answer of status 200 are none, a problem that stands there alone is."""
        is_answer = response.status == OK and self.is_sound(response.document) and not _is_legacy(response.document)
        return None if is_answer else super().refused(task, response)

    def refusal(self, task: FetchTask, response: ApiResponse, found: Refusal, reason: str) -> Reading:
        """A refusal, with the end of the window that the headers tell; a spent budget has none."""
        reading = super().refusal(task, response, found, reason)
        at = _reset(response) if found.bucket == "{family}" else None
        return replace(reading, retry_at=at) if at is not None else reading

    def reading(self, task: FetchTask, response: ApiResponse) -> Reading:
        """What the answer means; where it was the last of its window, the family is left alone until the next."""
        reading, at = super().reading(task, response), _reset(response)
        if reading.fate is not Fate.DONE or at is None or response.headers.get("x-rate-limit-remaining") != "0":
            return reading
        return replace(reading, bucket=self.source.endpoints[task.endpoint].family, retry_at=at)

    def sightings(self, task: FetchTask, document: Any, records: Sequence[Mapping[str, Any]]) -> list[Sighting]:
        """Accounts that the answer gives an error for, or nothing. A name that is gone may be a new name's old one."""
        is_name = self.source.endpoints[task.endpoint].key_kind == "handle"
        asked, told = {key.casefold(): key for key in task.keys}, {}
        for error in dig(document, "errors") or []:
            kind, key = _segment(str(dig(error, "type"))), _key(error, asked)
            if key and kind not in FIELD_PROBLEMS:
                state = STATES.get(kind, AccountState.UNKNOWN)
                is_unsure = is_name and state is AccountState.DELETED
                told[key] = Sighting(key, AccountState.UNKNOWN if is_unsure else state, kind)
        silent = super().sightings(task, document, records)
        return [*told.values(), *(one for one in silent if one.key not in told)]

    def follow_ups(self, task: FetchTask, document: Any, records: Sequence[Mapping[str, Any]]) -> list[FetchTask]:
        """The next page of posts; of users, with `posts`, the posts of each that is public."""
        if not task.endpoint.startswith("users") or not task.params.get("posts"):
            return super().follow_ups(task, document, records)
        public = [str(record["id"]) for record in records if record.get("protected") is not True and "id" in record]
        asked = replace(task, endpoint="user_posts", priority=after(task), ids=())
        return [replace(asked, keys=(key,)) for key in public]


def _segment(kind: str) -> str:
    return kind.rstrip("/").rsplit("/", 1)[-1]


def _key(error: Any, asked: Mapping[str, str]) -> str:
    """The key that an error is about, as it was asked for; empty where it is none of them."""
    given = (str(dig(error, name) or "").casefold() for name in ("value", "resource_id"))
    return next((asked[key] for key in given if key in asked), "")


def _is_legacy(document: Any) -> bool:
    """Whether all there is are errors of the old form: a code, and nothing that was asked for."""
    errors = dig(document, "errors") or []
    return "data" not in document and any("code" in error and "type" not in error for error in errors)


def _reset(response: ApiResponse) -> float | None:
    text = response.headers.get("x-rate-limit-reset", "")
    return float(text) if text.isdigit() else None
