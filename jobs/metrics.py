"""The metrics file: runs and queue from Dagster, rows, lag, tables and snapshot from the lake, in Prometheus' text format.

A file, not an endpoint: node_exporter's textfile collector or any scraper reads it, and nothing has to stay up for it.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from prometheus_client import CollectorRegistry, Gauge, write_to_textfile
from sqlalchemy.exc import SQLAlchemyError

from assets.names import LANDING
from assets.steps import STEPS
from lakehouse.contracts.layout import CURRENT, PROGRESS, progress_key
from lakehouse.errors import CreatorlakeError
from lakehouse.fetch.runtime import active_sources, tools_of
from lakehouse.ops.alerts import KINDS, recent_alerts
from lakehouse.ops.maintenance import read_health
from lakehouse.settings import Settings
from lakehouse.storage.objects import ObjectStore

if TYPE_CHECKING:
    from dagster import DagsterInstance

LOG = logging.getLogger(__name__)
FILE = "metrics/creatorlake.prom"
UP = "Whether sources, queue and ledger of fetching could be read"
UNREACHABLE = (OSError, SQLAlchemyError, BotoCoreError, ClientError, CreatorlakeError)
DAY = dt.timedelta(days=1)
RUNS_LIMIT = 500
"""Runs looked at; more in a day would be a fault of its own."""
ROWS = {"in": "rows_in", "out": "rows_out", "quarantined": "rows_quarantined", "duplicate": "rows_duplicate"}


def write_metrics(instance: DagsterInstance, objects: ObjectStore, settings: Settings) -> Path:
    """Write the file whole, under its final name; return its path."""
    registry = CollectorRegistry()
    _gauge(registry, "heartbeat_timestamp_seconds", "When this file was written").set(time.time())
    _runs(registry, instance)
    _steps(registry, objects)
    _tables(registry, objects)
    _snapshot(registry, objects)
    _fetch(registry, objects, settings)
    _alerts(registry, objects)
    path = settings.home / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(path), registry)
    return path


def _gauge(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Gauge:
    return Gauge(f"creatorlake_{name}", text, labels, registry=registry)


def _runs(registry: CollectorRegistry, instance: DagsterInstance) -> None:
    from dagster import DagsterRunStatus, RunsFilter

    since = dt.datetime.now(tz=dt.UTC) - DAY
    records = instance.get_run_records(RunsFilter(created_after=since), limit=RUNS_LIMIT)
    counts = Counter((record.dagster_run.job_name, record.dagster_run.status.value.lower()) for record in records)
    runs = _gauge(registry, "runs", "Runs created in the last 24 hours", "job", "status")
    for (job, status), count in sorted(counts.items()):
        runs.labels(job, status).set(count)
    queued = instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.QUEUED]), limit=RUNS_LIMIT)
    _gauge(registry, "queued_runs", "Runs that wait for a slot").set(len(queued))
    oldest = min((record.create_timestamp.timestamp() for record in queued), default=time.time())
    _gauge(registry, "queue_oldest_seconds", "Age of the run that waits longest").set(time.time() - oldest)


def _steps(registry: CollectorRegistry, objects: ObjectStore) -> None:
    rows = _gauge(registry, "step_rows", "Rows of the step's last success", "step", "kind")
    seconds = _gauge(registry, "step_seconds", "Duration of the step's last success", "step")
    ended = _gauge(registry, "step_success_timestamp_seconds", "When the step last succeeded", "step")
    written = {info.key: info.modified_at.timestamp() for info in objects.list(PROGRESS)}
    for step in STEPS:
        record = objects.read_json(progress_key(step.name))
        if record is None:
            continue
        seconds.labels(step.name).set(record["seconds"])
        ended.labels(step.name).set(written.get(progress_key(step.name), 0))
        for kind, name in ROWS.items():
            rows.labels(step.name, kind).set(record[name])
    landed = written.get(progress_key(LANDING))
    if landed is not None:
        _gauge(registry, "input_lag_seconds", "Time since landing last looked for input").set(time.time() - landed)


def _fetch(registry: CollectorRegistry, objects: ObjectStore, settings: Settings) -> None:
    """Depth and age of the fetch queue by source, and what is left of each budget; nothing where no platform is asked.

    A queue or ledger that cannot be reached is itself the news: the file is written without them.
    """
    try:
        sources = active_sources(settings)
        if not sources:
            return
        with tools_of(settings, objects, sources, log=lambda _text: None) as tools:
            depths = {name: tools.queue.depth(name) for name in sorted(sources)}
            left = {name: tools.ledger.remaining(source) for name, source in sorted(sources.items())}
    except UNREACHABLE as error:
        LOG.warning("The fetch queue or the ledger cannot be read: %s", type(error).__name__)
        _gauge(registry, "fetch_up", UP).set(0)
        return
    _gauge(registry, "fetch_up", UP).set(1)
    tasks = _gauge(registry, "fetch_tasks", "Tasks in the fetch queue", "source", "state")
    oldest = _gauge(registry, "fetch_oldest_seconds", "Age of the oldest task of live work; 0 on SQS", "source")
    budget = _gauge(registry, "fetch_budget_left", "What is left of a budget: units, or dollars", "source", "budget")
    for name, depth in depths.items():
        for state in ("ready", "delayed", "in_flight", "dead"):
            tasks.labels(name, state).set(getattr(depth, state))
        oldest.labels(name).set(depth.oldest_seconds)
        for bucket, amount in left[name].items():
            budget.labels(name, bucket).set(amount)


def _tables(registry: CollectorRegistry, objects: ObjectStore) -> None:
    known = {
        name: _gauge(registry, f"table_{name}", text, "table")
        for name, text in (
            ("rows", "Rows of the table"),
            ("files", "Data files of the newest version"),
            ("bytes", "Bytes of the newest version's files"),
            ("version", "Newest version"),
            ("removed_rows", "Rows that stand in the table's files but were changed or removed"),
            ("log_files", "Objects in the table's log"),
        )
    }
    for health in read_health(objects):
        for name, gauge in known.items():
            gauge.labels(health["table"]).set(health.get(name, 0))


def _snapshot(registry: CollectorRegistry, objects: ObjectStore) -> None:
    current = objects.read_json(CURRENT)
    if current is not None:
        published = dt.datetime.fromisoformat(current["published_at"]).timestamp()
        _gauge(registry, "snapshot_age_seconds", "Time since the current snapshot was published").set(
            time.time() - published
        )


def _alerts(registry: CollectorRegistry, objects: ObjectStore) -> None:
    counts = Counter(alert.kind for alert in recent_alerts(objects, since=dt.datetime.now(tz=dt.UTC) - DAY))
    gauge = _gauge(registry, "alerts", "Alerts of the last 24 hours", "kind")
    for kind in KINDS:
        gauge.labels(kind).set(counts[kind])
