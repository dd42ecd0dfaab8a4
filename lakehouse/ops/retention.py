"""Retention of fetched rows: what a platform wants refreshed or deleted within so many days is deleted, in every layer.

Rows carry their source and the time of their observation. Older ones leave silver, landing (records and raw answers) and
bronze, in this order, so that a killed call finds the rest again in bronze. Accounts are folded anew from what is left of them;
those of which nothing is left go. Later steps follow by the change feed, published snapshots by the next publication, older
versions of tables by upkeep.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
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
from lakehouse.fetch.capture import read_manifests
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


def expire(lake: Lake, limits: Mapping[str, int], *, now: datetime, log: Callable[[str], None] = print) -> Expired:
    """Delete rows that are older than their source allows; the same call again finds nothing.

    Args:
        lake: the lake.
        limits: days by source code.
        now: the time, aware.
        log: told of what goes.
    """
    conditions = {code: _condition(code, now - timedelta(days=days)) for code, days in limits.items()}
    found = {code: _count(lake, condition) for code, condition in conditions.items()}
    old = {code: condition for code, condition in conditions.items() if found[code]}
    if not old:
        return Expired()
    for code in old:
        log(f"{code}: {found[code]:,} raw records are older than {limits[code]} days and are deleted.")
    where = " OR ".join(f"({condition})" for condition in old.values())
    accounts = _fold_anew(lake, where)
    lake.delete_where(POSTS, where)
    objects = sum(_out_of_landing(lake.objects, code, now - timedelta(days=limits[code])) for code in old)
    for spec in (*BRONZE_PROFILES.values(), *BRONZE_POSTS.values()):
        lake.delete_where(spec, where)
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


def _out_of_landing(objects: ObjectStore, code: str, before: datetime) -> int:
    """Delete the objects of batches all of whose answers are older, and the raw answers; how many objects those were.

    A batch of answers holds those of one worker within a minute or so: it goes as soon as its last one is too old, and is no
    older than a day more than its first.
    """
    deleted = 0
    numbers = {manifest.path: manifest for manifest in read_manifests(objects)}
    for batch in _batches(objects, code):
        manifest = numbers.get(batch.file_name)
        if manifest is None or datetime.fromisoformat(manifest.last_at) >= before:
            continue
        for item in batch.objects:
            objects.delete(item.path)
            deleted += 1
        if batch.quarantine is not None:
            objects.delete(batch.quarantine.path)
        objects.replace(answer_key(manifest.number), replace(manifest, answers_count=0).to_json())
        objects.delete(manifest.path)
        deleted += 1
        # last: a killed call finds the batch again by its objects
        objects.replace(batch_key(batch.batch_seq), replace(batch, objects=(), quarantine=None).to_json())
    return deleted


def _batches(objects: ObjectStore, code: str) -> Iterator[Batch]:
    return (batch for batch in read_batches(objects) if batch.source_code == code and batch.objects)
