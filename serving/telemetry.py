"""Prometheus metrics of one application; a registry of its own, so that two applications in a process do not collide.

Processes that answer side by side count together, through files in the folder that `SHARED` names in their environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The library's own name; it has to be set before the library is imported."""

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Edges from a cached answer to a query that needs looking into."""


class Telemetry:
    """What the service counts. Labels are bounded: route templates, status codes, plan names, snapshot ids."""

    def __init__(self) -> None:
        """Register the metrics."""
        self.registry = CollectorRegistry()
        self.requests = Counter("creatorlake_requests_total", "Requests", ["route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "creatorlake_request_seconds", "Time to answer", ["route"], buckets=SECONDS, registry=self.registry
        )
        self.plans = Counter("creatorlake_plans_total", "Searches by plan", ["plan", "stop"], registry=self.registry)
        self._snapshot = _ShownSnapshot()
        self._told = self.registry
        if SHARED in os.environ:
            self._told = CollectorRegistry()
            MultiProcessCollector(self._told)  # type: ignore[no-untyped-call]
        self._told.register(self._snapshot)

    def show_snapshot(self, snapshot_id: str | None, rows: int, *, is_refused: bool) -> None:
        """State of the snapshot in service, in this process."""
        self._snapshot.snapshot_id, self._snapshot.rows, self._snapshot.is_refused = snapshot_id, rows, is_refused

    def text(self) -> bytes:
        """Exposition format."""
        return generate_latest(self._told)


class _ShownSnapshot(Collector):
    """Gauges of a snapshot: one that went leaves no line behind."""

    def __init__(self) -> None:
        self.snapshot_id: str | None = None
        self.rows = 0
        self.is_refused = False

    def collect(self) -> Iterator[GaugeMetricFamily]:
        rows = GaugeMetricFamily("creatorlake_snapshot_rows", "Creators in service", labels=["snapshot"])
        if self.snapshot_id is not None:
            rows.add_metric([self.snapshot_id], self.rows)
        yield rows
        yield GaugeMetricFamily(
            "creatorlake_snapshot_refused", "1 while the newest snapshot is refused", value=int(self.is_refused)
        )
