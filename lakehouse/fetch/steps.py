"""Steps of the live inlet: ask the platforms, and read what they answered into records. Each is safe to kill and to repeat."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from lakehouse.contracts.layout import progress_key
from lakehouse.fetch import backfill as backfills
from lakehouse.fetch.capture import newest_number
from lakehouse.fetch.clock import WallClock
from lakehouse.fetch.landing import STEP as ANSWERS
from lakehouse.fetch.landing import Outcome, land_answers
from lakehouse.fetch.plan import assign, known_keys, plan_hour, remember, reserve_live
from lakehouse.fetch.queue import FetchQueue
from lakehouse.fetch.refresh_policy import load_policy
from lakehouse.fetch.runtime import active_sources, asked_of, readers_of, tools_of
from lakehouse.fetch.seeds import list_hash, seed_tasks
from lakehouse.fetch.source import Source
from lakehouse.fetch.worker import SourceReport, Tools, work
from lakehouse.ingest.batches import load_index
from lakehouse.ops.steps import Report, StepContext
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from lakehouse.storage.lake import Lake

FETCH = "raw_fetch"
ASKED_WITHIN = dt.timedelta(minutes=50)
"""A run that comes sooner after the last one asks nothing: hourly runs do, a run repeated at once does not."""


def build_fetch(ctx: StepContext) -> Report:
    """Plan the hour's refresh, queue it, and work until the queue is empty, the time is over or every budget has ended.

    An exhausted budget is no failure: its tasks wait in the queue, and the metadata says until when.

    Returns:
        Requests in, answers landed out; per source what was asked, spent, parked and buried; cursor `version`, the newest
        landed object of answers.
    """
    sources = active_sources(ctx.settings)
    if not sources:
        return Report(cursor={"version": 0})
    with tools_of(ctx.settings, ctx.lake.objects, sources, log=ctx.log) as tools:
        planned = _plan(ctx, sources, tools)
        reports = asyncio.run(work(tools, sorted(sources), seconds=60.0 * ctx.settings.fetch_minutes))
        metadata = planned | _metadata(reports, tools.queue)
    after = int(ctx.cursor.get("version", 0))
    return Report(
        rows_in=sum(report.requests for report in reports.values()),
        rows_out=sum(report.answers for report in reports.values()),
        by_source={name: {"in": one.requests, "out": one.answers} for name, one in reports.items()},
        metadata=metadata,
        cursor={"version": newest_number(ctx.lake.objects, after), "list": _list_hash(ctx.settings)},
    )


def fetch_fingerprint(lake: Lake, settings: Settings) -> str:
    """When platforms were last asked, as long as that is no hour ago, and the list of accounts; empty without sources."""
    if not active_sources(settings):
        return ""
    now, digest = dt.datetime.now(tz=dt.UTC), _list_hash(settings)
    record = lake.objects.read_json(progress_key(FETCH)) or {}
    last, _, known = str((record.get("state") or {}).get("fingerprint", "")).partition("|")
    is_recent = bool(last) and now - dt.datetime.fromisoformat(last) < ASKED_WITHIN
    return f"{last if is_recent and known == digest else now.isoformat(timespec='seconds')}|{digest}"


def _list_hash(settings: Settings) -> str:
    return list_hash(settings.fetch_list) if settings.fetch_list is not None else ""


def build_answers(ctx: StepContext) -> Report:
    """Read new objects of answers into batches of records.

    Returns:
        Conserved counts of records; cursor `answers`, the newest object that was read, and `version`, the newest batch.
    """
    readers = readers_of(ctx.settings)
    versions = {name: reader.mapping.version for name, reader in sorted(readers.items())}
    is_same = ctx.cursor.get("mappings") == versions
    after = int(ctx.cursor.get("answers", 0)) if is_same else 0
    outcome = land_answers(ctx.lake.objects, readers, after=after, log=ctx.log, clock=WallClock().now)
    return _answers_report(outcome, versions, load_index(ctx.lake.objects).last_seq)


def answers_fingerprint(lake: Lake, settings: Settings) -> str:
    """Number of the newest object of answers, whoever landed it, and the versions of what reads them."""
    known = ((lake.objects.read_json(progress_key(ANSWERS)) or {}).get("cursor") or {}).get("answers", 0)
    newest = newest_number(lake.objects, int(known))
    versions = [f"{name}:{reader.mapping.version}" for name, reader in sorted(readers_of(settings).items())]
    return f"{newest}|{','.join(versions)}" if newest else ""


def _plan(ctx: StepContext, sources: dict[str, Source], tools: Tools) -> dict[str, Any]:
    """Queue the hour's refresh, and what backfills may have; what was planned, for the run's page."""
    policy = load_policy(ctx.settings.fetch_policy)
    assignment = assign(sources, tools.credentials.own_keys())
    given, digest = ctx.settings.fetch_list, _list_hash(ctx.settings)
    if given is not None and digest != ctx.cursor.get("list"):
        known = partial(known_keys, ctx.lake)
        tools.queue.put(seed_tasks(given, assignment, sources, known, cycle=f"list-{digest[:12]}"))
    with asked_of(ctx.settings, tools.clock) as asked:
        plan = plan_hour(ctx.lake, assignment, sources, tools.ledger, policy, now=tools.clock.now(), asked=asked)
        queued = tools.queue.put(plan.tasks)
        remember(plan, asked, policy)
    reserve_live(plan, sources, tools.ledger)
    for one in backfills.running(ctx.lake.objects):
        if one.source in sources:
            backfills.advance(ctx.lake.objects, tools.queue, one)
    counts: Counter[str] = Counter()
    for (reason, _), number in plan.summary.counts.items():
        counts[reason] += number
    return {"queued": queued, "unreachable": plan.summary.unreachable} | {
        f"planned as {reason}": number for reason, number in sorted(counts.items())
    }


def _metadata(reports: dict[str, SourceReport], queue: FetchQueue) -> dict[str, Any]:
    """Numbers and short texts for the run's page."""
    depth = queue.depth()
    metadata: dict[str, Any] = {
        "queue_ready": depth.ready,
        "queue_delayed": depth.delayed,
        "queue_dead": depth.dead,
        "queue_oldest_seconds": round(depth.oldest_seconds),
        "usd": round(sum(report.usd for report in reports.values()), 4),
    }
    for name, report in sorted(reports.items()):
        metadata[f"{name}: requests"] = report.requests
        metadata[f"{name}: answers"] = report.answers
        for what in ("retried", "parked", "dead", "split"):
            if getattr(report, what):
                metadata[f"{name}: {what}"] = getattr(report, what)
        if report.resume_at:
            metadata[f"{name}: resumes"] = f"{report.blocked_by} until {report.resume_at}"
        if report.stopped:
            metadata[f"{name}: stopped"] = report.stopped
    return metadata


def _answers_report(outcome: Outcome, versions: dict[str, int], last_seq: int) -> Report:
    by_source: dict[str, dict[str, int]] = {}
    for batch in outcome.batches:
        counts = by_source.setdefault(batch.source_code, {"in": 0, "out": 0, "quarantined": 0, "duplicate": 0})
        counts["in"] += batch.rows_in
        counts["out"] += batch.rows_landed
        counts["quarantined"] += batch.rows_quarantined
    return Report(
        rows_in=sum(counts["in"] for counts in by_source.values()),
        rows_out=sum(counts["out"] for counts in by_source.values()),
        rows_quarantined=sum(counts["quarantined"] for counts in by_source.values()),
        conserves=True,
        by_source=by_source,
        metadata={
            "objects": len(outcome.batches),
            "records": sum(batch.records_count for batch in outcome.batches),
            "objects_already_read": outcome.already_count,
            **{f"waiting for a reader: {name}": count for name, count in outcome.unread.items()},
        },
        cursor={"answers": outcome.newest, "mappings": versions, "version": last_seq},
    )
