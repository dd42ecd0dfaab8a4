"""What a connector does: builds the request of a task, and says what an answer means. No network, no quota, no storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lakehouse.errors import PermanentError
from lakehouse.fetch.source import Source
from lakehouse.fetch.task import FetchTask, Reading


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One HTTP request without its credential. `url` is absolute, without a query."""

    method: str
    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """One HTTP answer: status, headers with lower-case names, the whole body as it came.

    `document` is the parsed JSON, None where the body is none; big numbers keep all their digits.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    document: Any = None


class BadKeyError(PermanentError):
    """Keys that the endpoint would refuse, and their whole batch with them."""

    def __init__(self, endpoint: str, keys: Sequence[str]) -> None:
        """Of an endpoint that takes none of these keys."""
        super().__init__(f"{endpoint} takes no key like {keys[0]!r}.")
        self.keys = tuple(keys)


class Connector(Protocol):
    """A platform's manners. An instance belongs to one source and keeps no state between calls."""

    source: Source

    def request(self, task: FetchTask) -> ApiRequest:
        """The request of a task.

        Raises:
            BadKeyError: keys that the endpoint cannot take.
            PermanentError: the task names no endpoint of the source.
        """

    def read(self, task: FetchTask, response: ApiResponse) -> Reading:
        """What the answer means. Never raises: an answer that makes no sense is one to `RETRY`."""

    def rows(self, task: FetchTask, document: Any) -> list[tuple[str, Mapping[str, Any]]]:
        """Records of an answer that is `DONE`, each with the layout of the mapping that reads it."""
