"""Retention of fetched rows: what a platform wants refreshed or deleted within so many days is deleted, in every layer.

Rows carry their source and the time of their observation. Older ones leave silver, landing (records and raw answers) and
bronze, in this order, so that a killed call finds the rest again in bronze. Accounts are folded anew from what is left of them;
those of which nothing is left go. Later steps follow by the change feed, published snapshots by the next publication, older
versions of tables by upkeep.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lakehouse.contracts.layout import RETENTION, answer_key, batch_key
from lakehouse.contracts.tables import (
    ACCOUNT_METRICS,
    ACCOUNTS,
    BRONZE_POSTS,
    BRONZE_PROFILES,
    OBSERVATIONS,
    POSTS,
)
from lakehouse.fetch.capture import AnswersManifest, read_manifests
from lakehouse.fetch.source import Source
from lakehouse.ingest.batches import Batch, read_batches
from lakehouse.silver.account_metrics import fold_metrics, stated_days
from lakehouse.silver.accounts import fold_accounts
from lakehouse.storage.keys import Keys
from lakehouse.storage.lake import Lake
from lakehouse.storage.objects import ObjectStore

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ACCOUNT_KEY = ["platform", "platform_account_id"]


@dataclass(frozen=True, slots=True)
class Expired:
    """What one call deleted: accounts that were folded anew or went, raw records, objects of landing."""

    accounts: int = 0
    records: int = 0
    objects: int = 0


def limits_of(sources: Mapping[str, Source]) -> dict[str, int]:
    """Days that rows of each mapping's source code may be kept; the shortest where several sources share one."""
    limits: dict[str, int] = {}
    for source in sources.values():
        if source.retention_days:
            code = source.mapping or source.source
            limits[code] = min(source.retention_days, limits.get(code, source.retention_days))
    return limits


def expire(lake: Lake, sources: Mapping[str, Source], *, now: datetime, log: Callable[[str], None] = print) -> Expired:
    """Delete rows that are older than their source allows; the same call again finds nothing.

    Args:
        lake: the lake.
        sources: every declared source by code, asked now or not.
        now: the time, aware.
        log: told of what goes.
    """
    befores = {code: now - timedelta(days=days) for code, days in limits_of(sources).items()}
    conditions = {code: _condition(code, before) for code, before in befores.items()}
    found = {code: _count(lake, condition) for code, condition in conditions.items()}
    old = [code for code in conditions if found[code]]
    for code in old:
        log(f"{code}: {found[code]:,} raw records are older than its platform allows and are deleted.")
    where = " OR ".join(f"({conditions[code]})" for code in old)
    accounts = _fold_anew(lake, where) if old else 0
    if old:
        lake.delete_where(POSTS, where)
    objects = _out_of_landing(lake.objects, sources, befores)
    if old:
        for spec in (*BRONZE_PROFILES.values(), *BRONZE_POSTS.values()):
            lake.delete_where(spec, where)
    if old or objects:
        lake.objects.replace(RETENTION, json.dumps({"at": datetime.now(tz=UTC).isoformat()}).encode())
    return Expired(accounts, sum(found.values()), objects)


def _condition(code: str, before: datetime) -> str:
    moment = before.astimezone(UTC).isoformat(sep=" ")
    return f"source_code = '{code}' AND observed_at < TIMESTAMP '{moment}'"


def _count(lake: Lake, condition: str) -> int:
    tables = (*BRONZE_PROFILES.values(), *BRONZE_POSTS.values())
    return sum(lake.count(spec, where=condition) for spec in tables)


def _fold_anew(lake: Lake, where: str) -> int:
    """Delete old observations and fold the accounts that had some from the others; how many those were."""
    if lake.version(OBSERVATIONS.name) is None:
        return 0
    keys = Keys.of_frame(lake.read(OBSERVATIONS).where(where).select(*ACCOUNT_KEY))
    if not keys.count:
        return 0
    left = lake.read_of(OBSERVATIONS, keys).where(f"NOT ({where})")
    for spec, fold in ((ACCOUNTS, fold_accounts), (ACCOUNT_METRICS, _metrics)):
        if lake.version(spec.name) is not None:
            lake.upsert(spec, fold(left), of=keys)
    lake.delete_where(OBSERVATIONS, where)
    return keys.count


def _metrics(observations: DataFrame) -> DataFrame:
    return fold_metrics(stated_days(observations))


def _out_of_landing(objects: ObjectStore, sources: Mapping[str, Source], befores: Mapping[str, datetime]) -> int:
    """Delete objects of raw answers that are all too old, read or not, and their records; how many objects those were.

    An object holds the answers of one worker within a minute or so, and goes as soon as its last one is too old. Its batch
    is emptied last but for its own manifest: a killed call finds both again.
    """
    old = {
        manifest.path: manifest
        for manifest in read_manifests(objects)
        if manifest.answers_count and _is_old(manifest, sources, befores)
    }
    deleted = 0
    for batch in read_batches(objects) if old else ():
        if batch.file_name in old:
            deleted += _emptied(objects, batch)
    for path, manifest in old.items():
        objects.delete(path)
        objects.replace(answer_key(manifest.number), replace(manifest, answers_count=0).to_json())
    return deleted + len(old)


def _is_old(manifest: AnswersManifest, sources: Mapping[str, Source], befores: Mapping[str, datetime]) -> bool:
    source = sources.get(manifest.source)
    before = befores.get(source.mapping or source.source) if source is not None else None
    return before is not None and datetime.fromisoformat(manifest.last_at) < before


def _emptied(objects: ObjectStore, batch: Batch) -> int:
    """Delete the objects of a batch, then write its manifest without them; how many objects those were."""
    paths = [item.path for item in batch.objects] + ([batch.quarantine.path] if batch.quarantine is not None else [])
    for path in paths:
        objects.delete(path)
    if paths:
        objects.replace(batch_key(batch.batch_seq), replace(batch, objects=(), quarantine=None).to_json())
    return len(paths)
