"""Erasure of accounts: out of everything that names them, and never in again.

A request is an object named by the digest of its account, without content of its own. From then on silver refuses the account's
records. `erase` takes what is there out of silver, landing and bronze, in this order, so that a killed call finds the rest
again in bronze; later steps follow by the change feed, snapshots by the next publication, older versions of tables by upkeep
(`lakehouse/ops/maintenance.py`).
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lakehouse.contracts.layout import ERASURES, batch_key, erasure_key, progress_key
from lakehouse.contracts.payload import POST, PROFILE
from lakehouse.contracts.tables import (
    ACCOUNT_METRICS,
    ACCOUNTS,
    BRONZE_POSTS,
    BRONZE_PROFILES,
    CREATOR_IDS,
    DOC_TEXTS,
    DOCS,
    EMBEDDINGS,
    LINKS,
    OBSERVATIONS,
    POSTS,
    QUARANTINE,
    TableSpec,
)
from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.errors import PermanentError
from lakehouse.fetch.capture import take_out
from lakehouse.fetch.landing import LAYOUT as ANSWERS
from lakehouse.identity.judgements import forget
from lakehouse.identity.nodes import NO_ID
from lakehouse.ingest.batches import Batch, BatchObject, QuarantineObject
from lakehouse.ingest.parts import GzipLines
from lakehouse.silver.bronze_rows import parse
from lakehouse.silver.erased import erased_subjects, is_erased, subject_digest
from lakehouse.silver.handles import handle_key
from lakehouse.silver.rows import POST_COLUMNS, PROFILE_COLUMNS, RAW_COLUMNS, parse_posts, parse_profiles
from lakehouse.storage.keys import Keys
from lakehouse.storage.lake import Lake
from lakehouse.storage.objects import ObjectStore

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

Account = tuple[str, str]
"""Platform code and the account's id in silver: the platform's own, `@handle` or `~name`."""
BY_ACCOUNT = (LINKS, ACCOUNT_METRICS, POSTS, ACCOUNTS, OBSERVATIONS)
"""Tables with the columns `ACCOUNT_KEY` whose rows are taken out at once; those after them follow by the change feed."""
ACCOUNT_KEY = ("platform", "platform_account_id")
FOUND = (*ACCOUNT_KEY, "batch_seq", "record_seq", "line_number")
CURSOR = progress_key("erasure")


@dataclass(frozen=True, slots=True)
class Erased:
    """What one call took out: accounts and raw records."""

    accounts: int = 0
    records: int = 0


@dataclass(frozen=True, slots=True)
class _Raw:
    """What is to go of one bronze table: accounts, and by batch ordinals of records and lines of the source."""

    spec: TableSpec
    platform: str
    record_type: str
    accounts: frozenset[Account]
    records: Mapping[int, frozenset[int]]
    lines: Mapping[int, frozenset[int]]


def request_erasure(lake: Lake, subjects: Sequence[str]) -> list[Account]:
    """Put accounts on the list of those that are never taken in; the accounts it names now.

    Args:
        lake: the lake.
        subjects: `platform:id` or `platform:@handle`, in the lake or not, or a creator's id, which means all its accounts.

    Raises:
        PermanentError: a subject is neither, or no creator has that id.
    """
    pepper = lake.settings.pepper()
    accounts = sorted({account for subject in subjects for account in _accounts_of(lake, subject)})
    for platform, account_id in accounts:
        digest = subject_digest(platform, account_id, pepper=pepper)
        lake.objects.replace(erasure_key(platform, digest), b"{}")
    return accounts


def erase(lake: Lake, log: Callable[[str], None] = print) -> Erased:
    """Take all listed accounts out of silver, landing and bronze; what was done before is not read again.

    Returns:
        Counts of this call; the same call again finds nothing.
    """
    digests = erased_subjects(lake.objects)
    newest = _newest_batch(lake)
    listed = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
    done = lake.objects.read_json(CURSOR) or {}
    since = int(done["batch_seq"]) if done.get("listed") == listed else 0
    if not digests or since == newest:
        return Erased()
    platforms = sorted({info.key.split("/")[-2] for info in lake.objects.list(ERASURES)})
    raw = [found for platform in platforms for found in _found(lake, platform, digests, since=since)]
    accounts = {account for item in raw for account in item.accounts}
    if accounts:
        log(f"{len(accounts)} accounts with {_count(raw):,} raw records are taken out.")
        forget(lake.objects, accounts)
        _take_out_of_silver(lake, sorted(accounts))
        for item in raw:
            _take_out_of_landing(lake.objects, item)
            _take_out_of_bronze(lake, item)
        for info in list(lake.objects.list(ERASURES)):
            lake.objects.replace(info.key, b"{}")  # what was published before now may name them
    lake.objects.replace(CURSOR, json.dumps({"listed": listed, "batch_seq": newest}).encode())
    return Erased(len(accounts), _count(raw))


def _accounts_of(lake: Lake, subject: str) -> set[Account]:
    """The accounts that a subject names, each also by its handle: another source may know nothing else of it."""
    from pyspark.sql import functions as F

    platform, mark, name = subject.partition(":")
    if not mark:
        found = lake.read(CREATOR_IDS).where(F.col("creator_id") == subject).select(*ACCOUNT_KEY).collect()
        if not found:
            raise PermanentError(f"No creator of this lake has the id {subject}.")
        return {account for row in found for account in _accounts_of(lake, f"{row[0]}:{row[1]}")}
    if platform not in PLATFORMS or not name:
        raise PermanentError(f"{subject} is neither platform:id, platform:@handle nor a creator's id.")
    key = handle_key(name[1:]) if name.startswith(NO_ID) else None
    named = f"{NO_ID}{key}" if key else name
    accounts = lake.read(ACCOUNTS).where(F.col("platform") == platform)
    is_it = F.col("platform_account_id") == named
    known = accounts.where(is_it | (F.col("handle_key") == key) if key else is_it)
    found = known.select("platform_account_id", "handle_key").collect()
    ids = {row[0] for row in found} | {f"{NO_ID}{row[1]}" for row in found if row[1]} | {named}
    return {(platform, account_id) for account_id in ids}


def _newest_batch(lake: Lake) -> int:
    tables = (*BRONZE_PROFILES.values(), *BRONZE_POSTS.values())
    return max(lake.max_value(spec, "batch_seq") for spec in tables)


def _found(lake: Lake, platform: str, digests: frozenset[str], *, since: int) -> Iterator[_Raw]:
    """Raw records of listed accounts, from each bronze table of a platform."""
    pepper = lake.settings.pepper()
    for spec, record_type, parser, columns in (
        (BRONZE_PROFILES[platform], PROFILE, parse_profiles, PROFILE_COLUMNS),
        (BRONZE_POSTS[platform], POST, parse_posts, POST_COLUMNS),
    ):
        if lake.version(spec.name) is None:
            continue
        records = lake.read(spec).where(f"batch_seq > {since}").select(*RAW_COLUMNS)
        named = parse(records, parser, columns=columns, pepper=pepper).where("NOT is_refused").select(*FOUND)
        rows = named.mapInArrow(partial(_listed, pepper=pepper, digests=digests), named.schema).collect()
        yield _raw(spec, platform, record_type, rows)


def _listed(batches: Iterator[pa.RecordBatch], *, pepper: bytes, digests: frozenset[str]) -> Iterator[pa.RecordBatch]:
    """Rows whose account is on the list."""
    for batch in batches:
        keys = zip(*(batch.column(name).to_pylist() for name in ACCOUNT_KEY), strict=True)
        yield batch.filter(pa.array([is_erased(*key, pepper=pepper, erased=digests) for key in keys], pa.bool_()))


def _raw(spec: TableSpec, platform: str, record_type: str, rows: Sequence[Row]) -> _Raw:
    records: dict[int, set[int]] = defaultdict(set)
    lines: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        records[row["batch_seq"]].add(row["record_seq"])
        if row["line_number"] is not None:
            lines[row["batch_seq"]].add(row["line_number"])
    accounts = frozenset((row["platform"], row["platform_account_id"]) for row in rows)
    return _Raw(spec, platform, record_type, accounts, _frozen(records), _frozen(lines))


def _frozen(sets: Mapping[int, set[int]]) -> dict[int, frozenset[int]]:
    return {batch: frozenset(numbers) for batch, numbers in sets.items()}


def _count(raw: Sequence[_Raw]) -> int:
    return sum(len(records) for item in raw for records in item.records.values())


def _take_out_of_silver(lake: Lake, accounts: Sequence[Account]) -> None:
    keys = lake.spark.createDataFrame(list(accounts), ", ".join(f"{name} string" for name in ACCOUNT_KEY))
    if lake.version(DOCS.name) is not None and lake.version(EMBEDDINGS.name) is not None:
        _remove(lake, EMBEDDINGS, _texts_of(lake, keys))
    for spec in BY_ACCOUNT:
        if lake.version(spec.name) is not None:
            _remove(lake, spec, keys)


def _texts_of(lake: Lake, keys: DataFrame) -> DataFrame:
    """Hashes of texts that nobody but these accounts has."""
    from pyspark.sql import functions as F

    written = lake.read(DOCS)
    hashes = [key for key, _ in DOC_TEXTS if key in written.columns]  # a table of an older version has fewer
    docs = written.select(*ACCOUNT_KEY, F.explode(F.array_compact(F.array(*hashes))).alias("content_hash"))
    theirs = docs.join(keys, list(ACCOUNT_KEY), "left_semi").select("content_hash").distinct()
    others = docs.join(keys, list(ACCOUNT_KEY), "left_anti").select("content_hash")
    return theirs.join(others, "content_hash", "left_anti")


def _remove(lake: Lake, spec: TableSpec, keys: DataFrame) -> None:
    lake.upsert(spec, lake.spark.createDataFrame([], lake.spark_schema(spec)), of=Keys.of_frame(keys))


def _take_out_of_landing(objects: ObjectStore, raw: _Raw) -> None:
    """Write the batches' objects again without the records, then the manifests that count them.

    A raw answer that named the account goes as a whole: what it said of others is in their records.
    """
    for batch_seq, records in sorted(raw.records.items()):
        batch = Batch.from_json(json.loads(objects.get(batch_key(batch_seq))))
        lines = raw.lines.get(batch_seq, frozenset())
        kept = tuple(
            _without_records(objects, item, records)
            if (item.platform, item.record_type) == (raw.platform, raw.record_type)
            else item
            for item in batch.objects
        )
        if batch.layout == ANSWERS and lines:
            take_out(objects, batch.file_name, lines)
        quarantine = _without_entries(objects, batch.quarantine, lines) if batch.quarantine else None
        objects.replace(batch_key(batch_seq), replace(batch, objects=kept, quarantine=quarantine).to_json())


def _without_records(objects: ObjectStore, item: BatchObject, records: frozenset[int]) -> BatchObject:
    data, count = _rewritten(objects, item.path, lambda line: line["record_seq"] in records)
    return replace(item, sha256=hashlib.sha256(data).hexdigest(), records_count=count, bytes=len(data))


def _without_entries(objects: ObjectStore, item: QuarantineObject, lines: frozenset[int]) -> QuarantineObject:
    data, count = _rewritten(objects, item.path, lambda line: line["line_number"] in lines)
    return replace(item, sha256=hashlib.sha256(data).hexdigest(), entries_count=count)


def _rewritten(objects: ObjectStore, path: str, is_gone: Callable[[dict[str, Any]], bool]) -> tuple[bytes, int]:
    """An object's bytes without some lines, and its lines; it is replaced only where a line goes."""
    data = objects.get(path)
    kept = GzipLines()
    total = 0
    for line in gzip.decompress(data).decode("ascii").split("\n")[:-1]:
        total += 1
        if not is_gone(json.loads(line)):
            kept.add(line)
    if kept.lines_count == total:
        return data, total
    data = kept.close()
    objects.replace(path, data)
    return data, kept.lines_count


def _take_out_of_bronze(lake: Lake, raw: _Raw) -> None:
    """Remove the records, last of all, and what the quarantine says of their lines."""
    for name, column, numbers in ((QUARANTINE, "line_number", raw.lines), (raw.spec, "record_seq", raw.records)):
        for batch_seq, found in sorted(numbers.items()):
            chosen = ", ".join(map(str, sorted(found)))
            lake.delete_where(name, f"batch_seq = {batch_seq} AND {column} IN ({chosen})")
    lake.objects.delete(progress_key(f"check_{raw.spec.name}"))  # it counts rows that are gone
