"""The queue of fetch work: one interface, two backends (`queue_sql.py`, `queue_sqs.py`).

A task that was taken is invisible for a while; a worker that dies gives it back by saying nothing. Equal tasks (same
`key`) are queued once. Nothing is lost: a task leaves by `done`, or lies in the dead-letter queue with its reason.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lakehouse.fetch.task import FetchTask


@dataclass(frozen=True, slots=True)
class Delivery:
    """A task as it was taken. `receipt` is the backend's handle; `failures` counts earlier failed attempts, not parkings."""

    task: FetchTask
    receipt: str
    failures: int
    queued_at: dt.datetime


@dataclass(frozen=True, slots=True)
class DeadTask:
    """A task that no retry can help, or that failed too often."""

    task: FetchTask
    reason: str
    failures: int
    buried_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Depth:
    """State of a queue: tasks that can be taken, that wait for their time, that are being worked on, that are dead.

    `oldest_seconds` is the age of the oldest task that is not dead, backfills apart; 0 without one, and where a backend cannot tell.
    """

    ready: int = 0
    delayed: int = 0
    in_flight: int = 0
    dead: int = 0
    oldest_seconds: float = 0.0


class FetchQueue(Protocol):
    """Where fetch tasks wait. Safe for several workers at once, also in several processes."""

    def put(self, tasks: Iterable[FetchTask], *, delay_seconds: float = 0.0) -> int:
        """Queue tasks; returns how many were new. One that waits already keeps the more urgent of both priorities."""

    def take(self, limit: int, *, lease_seconds: float, sources: Sequence[str] | None = None) -> list[Delivery]:
        """Take up to `limit` tasks, most urgent first, then oldest; invisible to others for `lease_seconds`."""

    def done(self, deliveries: Iterable[Delivery]) -> None:
        """Forget tasks whose answers are landed. A lease that ran out meanwhile is no error."""

    def again(self, delivery: Delivery, *, delay_seconds: float, reason: str = "", is_failure: bool = True) -> None:
        """Give a task back, to be taken after a delay; a parking (`is_failure=False`) does not count as an attempt."""

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Move a task to the dead-letter queue."""

    def dead(self, limit: int = 100) -> list[DeadTask]:
        """Tasks of the dead-letter queue, newest first."""

    def redrive(self, source: str | None = None) -> int:
        """Queue the dead tasks (of one source) again with no failures; how many."""

    def depth(self, source: str | None = None) -> Depth:
        """State of the queue, or of one source's part of it."""

    def close(self) -> None:
        """Release connections."""
