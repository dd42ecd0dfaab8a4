"""Keeps one searcher in service: looks at `CURRENT`, opens what it names beside the old one, swaps, drains the old.

A snapshot that is refused changes nothing but what `/readyz` says; the one in service stays. Requests hold the searcher
they began with until they end, so a swap fails none of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from obstore.exceptions import BaseError

from lakehouse.errors import CreatorlakeError
from serving.errors import NotReadyError
from serving.search import Searcher
from serving.snapshot import Source

RETRY_SECONDS = 60.0
"""Pause before a refused snapshot is tried again: someone may have repaired it, and checking reads all of it."""

UNAVAILABLE = (CreatorlakeError, BaseError, OSError)
"""What a source and an opened snapshot raise on purpose."""

log = logging.getLogger("creatorlake.serving")

Open = Callable[[str], Searcher]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A snapshot that was not taken into service."""

    snapshot_id: str
    reason: str
    at: str


@dataclass(slots=True)
class _Held:
    """A searcher with the number of requests that use it."""

    searcher: Searcher
    users: int = 0
    is_retired: bool = False


class SnapshotHolder:
    """Thread-safe owner of the searcher in service."""

    def __init__(self, source: Source, open_searcher: Open) -> None:
        """Name the source; `open_searcher` checks, opens and warms a snapshot of it."""
        self._source = source
        self._open = open_searcher
        self._lock = threading.Lock()
        self._refresh_lock = threading.Lock()
        self._held: _Held | None = None
        self._refusal: Refusal | None = None
        self._retry_at = 0.0
        self._tried = ""
        self.checked_at = ""

    @property
    def served_id(self) -> str | None:
        """Snapshot in service."""
        held = self._held
        return None if held is None else held.searcher.snapshot.id

    @property
    def refusal(self) -> Refusal | None:
        """The newest snapshot, where it was refused."""
        return self._refusal

    @contextmanager
    def searcher(self) -> Iterator[Searcher]:
        """The searcher in service, for the length of one request.

        Raises:
            NotReadyError: there is none yet.
        """
        with self._lock:
            held = self._held
            if held is None:
                raise NotReadyError("not_ready", "No snapshot is in service yet; see /readyz.")
            held.users += 1
        try:
            yield held.searcher
        finally:
            with self._lock:
                held.users -= 1
                is_last = held.is_retired and held.users == 0
            if is_last:
                held.searcher.close()

    def refresh(self) -> bool:
        """Look at the source once and take a new snapshot into service. Returns whether it did."""
        with self._refresh_lock:
            self.checked_at, self._tried = _now(), ""
            try:
                wanted = self._source.current_id()
            except UNAVAILABLE as error:
                self._refuse("", error)
                return False
            return self._take_wanted(wanted)

    def watch(self, stop: threading.Event, pause_seconds: float) -> None:
        """Refresh until told to stop. Nothing that goes wrong ends it: the one in service stays, the new one is refused."""
        while not stop.is_set():
            try:
                self.refresh()
            except Exception as error:
                log.exception("snapshot %s failed unexpectedly", self._tried or "(unknown)")
                self._refuse(self._tried, error)
            stop.wait(pause_seconds)

    def close(self) -> None:
        """End of service."""
        with self._lock:
            held, self._held = self._held, None
            if held is not None:
                held.is_retired = True
            is_idle = held is not None and held.users == 0
        if held is not None and is_idle:
            held.searcher.close()

    def _take_wanted(self, wanted: str | None) -> bool:
        if wanted is None or wanted == self.served_id:
            self._refusal = None
            return False
        if self._refusal and self._refusal.snapshot_id == wanted and time.monotonic() < self._retry_at:
            return False
        if self._take(wanted):
            self._refusal = None
            return True
        return self.served_id is None and self._take_previous()

    def _take_previous(self) -> bool:
        """At a start with a damaged newest snapshot, serve the one before; the refusal stays on record."""
        refusal = self._refusal
        try:
            previous = self._source.previous_id()
        except UNAVAILABLE as error:
            log.warning("the snapshot before is not known: %s", error)
            return False
        is_taken = previous is not None and self._take(previous)
        self._refusal = refusal
        return is_taken

    def _take(self, snapshot_id: str) -> bool:
        self._tried = snapshot_id
        try:
            searcher = self._open(snapshot_id)
        except UNAVAILABLE as error:
            self._source.forget(snapshot_id)
            self._refuse(snapshot_id, error)
            return False
        self._swap(searcher)
        log.info("snapshot %s is in service", snapshot_id)
        return True

    def _swap(self, searcher: Searcher) -> None:
        with self._lock:
            old, self._held = self._held, _Held(searcher)
            if old is not None:
                old.is_retired = True
            is_idle = old is not None and old.users == 0
        if old is not None and is_idle:
            old.searcher.close()

    def _refuse(self, snapshot_id: str, error: Exception) -> None:
        self._refusal = Refusal(snapshot_id, str(error) or repr(error), _now())
        self._retry_at = time.monotonic() + RETRY_SECONDS
        log.warning("snapshot %s is refused: %s", snapshot_id or "(unknown)", error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
