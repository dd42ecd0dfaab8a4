"""The commands of the live inlet: a worker that runs beside the schedule or on another machine, its state, and backfills."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow.compute as pc

from lakehouse.contracts.tables import ACCOUNTS
from lakehouse.errors import PermanentError
from lakehouse.fetch import backfill as backfills
from lakehouse.fetch.ledger import BACKFILL_SHARE
from lakehouse.fetch.runtime import active_sources, tools_of
from lakehouse.fetch.source import MICRO, Source
from lakehouse.fetch.withheld import Withheld
from lakehouse.fetch.worker import Tools, work
from lakehouse.identity.nodes import NO_HANDLE, NO_ID
from lakehouse.settings import Settings, load_settings
from lakehouse.storage.lake import Lake
from lakehouse.storage.objects import ObjectStore
from lakehouse.storage.probe import require_fence

IDLE_SECONDS = 15.0
"""Between two looks at an empty queue."""
UNASKED_REQUESTS = 10_000
"""A backfill of more requests, or of any money, wants `--yes`."""


def worker(names: Sequence[str], *, minutes: float) -> int:
    """Work through the fetch queue for some minutes: beside a run, or on a machine of its own.

    Raises:
        PermanentError: a source is not active.
    """
    settings, objects, sources = _opened(names)
    until = time.monotonic() + 60.0 * minutes
    with tools_of(settings, objects, sources, log=_say) as tools:
        while (seconds := until - time.monotonic()) > 0:
            _top_up(tools, sources)
            allowed = replace(tools, withheld=Withheld.of(objects, settings.pepper()))
            reports = asyncio.run(work(allowed, sorted(sources), seconds=seconds))
            for name, report in reports.items():
                if report.requests:
                    _say(f"{name}: {report.requests:,} requests, {report.answers:,} answers, {report.dead:,} dead")
            if not any(report.requests for report in reports.values()):
                time.sleep(max(0.0, min(IDLE_SECONDS, until - time.monotonic())))
    return 0


def status() -> int:
    """Print the queue's depth, what is spent, what is parked, and backfills under way."""
    settings, objects, sources = _opened(())
    with tools_of(settings, objects, sources, log=_say) as tools:
        for name in sorted(sources):
            depth = tools.queue.depth(name)
            _say(
                f"{name}: {depth.ready:,} ready, {depth.delayed:,} waiting, {depth.in_flight:,} under way, "
                f"{depth.dead:,} dead, oldest {depth.oldest_seconds:,.0f} s"
            )
        for use in tools.ledger.uses():
            amount = f"{use.used / MICRO:,.2f} USD" if use.bucket.startswith("usd_") else f"{use.used:,} units"
            _say(f"{use.account} {use.bucket} {use.window}: {amount} by {use.requests:,} requests")
        for account, what, at, reason in tools.ledger.parkings():
            _say(f"{account}: {what} is left alone until {at:%Y-%m-%d %H:%M:%S} UTC ({reason})")
    for one in backfills.running(objects):
        _say(
            f"backfill {one.backfill_id}: {backfills.progress_of(objects, one).queued:,} of {one.tasks_count:,} queued"
        )
    return 0


def dead(limit: int) -> int:
    """Print dead tasks with their reasons, newest first."""
    settings, objects, sources = _opened(())
    with tools_of(settings, objects, sources, log=_say) as tools:
        for one in tools.queue.dead(limit):
            keys = ", ".join(one.task.keys[:3]) + ("..." if len(one.task.keys) > 3 else "")
            _say(f"{one.buried_at:%Y-%m-%d %H:%M:%S} {one.task.source} {one.task.endpoint} [{keys}]: {one.reason}")
    return 0


def redrive(source: str) -> int:
    """Queue the dead tasks of a source again."""
    settings, objects, sources = _opened((source,))
    with tools_of(settings, objects, sources, log=_say) as tools:
        _say(f"{tools.queue.redrive(source):,} tasks are queued again.")
    return 0


def unpark(source: str) -> int:
    """Ask a source again that was left alone."""
    settings, objects, sources = _opened((source,))
    with tools_of(settings, objects, sources, log=_say) as tools:
        _say(f"{tools.ledger.unpark(source):,} parkings of {source} are lifted.")
    return 0


def backfill(name: str, endpoint: str, *, since: dt.date, until: dt.date, days: int, is_agreed: bool) -> int:
    """Estimate a backfill of a source's posts, and start it where it is small or agreed to; workers queue it bit by bit.

    Raises:
        PermanentError: the source is not active, the endpoint lists no posts, or it is large and nobody agreed.
    """
    settings, objects, sources = _opened((name,))
    source, lake = sources[name], Lake(settings)
    count = sum(1 for _ in _keys(lake, source, endpoint))
    windows = -(-(until - since).days // days)
    cost = backfills.estimate(source, endpoint, keys=count, windows=windows, share=BACKFILL_SHARE)
    _say(
        f"{count:,} accounts in {windows:,} windows: at least {cost.requests:,} requests, {cost.units:,} units, "
        f"{cost.usd:,.2f} USD, {cost.days:,.1f} days at the share of backfills."
    )
    if not is_agreed and (cost.requests > UNASKED_REQUESTS or cost.usd > 0):
        raise PermanentError("That is much: start it with --yes.")
    started = backfills.create(objects, source, endpoint, _keys(lake, source, endpoint), span=(since, until), days=days)
    _say(f"Backfill {started.backfill_id} is started; workers fetch it beside the live work.")
    return 0


def _top_up(tools: Tools, sources: dict[str, Source]) -> None:
    for one in backfills.running(tools.objects):
        if one.source in sources:
            backfills.advance(tools.objects, tools.queue, one)


def _keys(lake: Lake, source: Source, endpoint: str) -> Iterator[str]:
    """Ids or handles of the platform's accounts, as the endpoint wants them."""
    if endpoint not in source.endpoints:
        raise PermanentError(f"{source.source} has no endpoint {endpoint!r}.")
    kind = source.endpoints[endpoint].key_kind
    name = "platform_account_id" if kind == "id" else "handle_key"
    for batch in lake.stream(ACCOUNTS, ("platform", name)):
        own = batch.filter(pc.equal(batch.column("platform"), source.platform)).column(name).drop_null()
        yield from (key for key in own.to_pylist() if not key.startswith((NO_ID, NO_HANDLE)))


def _opened(names: Sequence[str]) -> tuple[Settings, ObjectStore, dict[str, Source]]:
    """Settings, objects and the named active sources; all without names.

    Raises:
        PermanentError: one of them is not active.
    """
    settings = load_settings()
    objects = ObjectStore.open(settings)
    if objects.layout.is_s3:
        require_fence(objects)
    active = active_sources(settings)
    for name in names:
        if name not in active:
            known = ", ".join(sorted(active)) or "none; give one a credential (docs/fetch.md)"
            raise PermanentError(f"{name} is no active source; active are {known}.")
    return settings, objects, {name: active[name] for name in names or sorted(active)}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
