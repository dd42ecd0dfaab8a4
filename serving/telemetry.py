"""Prometheus metrics of one application; a registry of its own, so that two applications in a process do not collide."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
        self.rows = Gauge("creatorlake_snapshot_rows", "Creators in service", ["snapshot"], registry=self.registry)
        self.refused = Gauge(
            "creatorlake_snapshot_refused", "1 while the newest snapshot is refused", registry=self.registry
        )

    def show_snapshot(self, snapshot_id: str | None, rows: int, *, is_refused: bool) -> None:
        """State of the snapshot in service."""
        self.rows.clear()
        if snapshot_id is not None:
            self.rows.labels(snapshot_id).set(rows)
        self.refused.set(int(is_refused))

    def text(self) -> bytes:
        """Exposition format."""
        return generate_latest(self.registry)
