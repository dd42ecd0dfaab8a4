"""Upkeep of tables: small files made large, files that no reader can need removed, the log short; and how a table fares.

Readers see one version throughout: OPTIMIZE commits a version of the same rows, VACUUM removes only files that no version of
the last `vacuum_hours` names. The caller holds the table's pool, so no writer commits meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from lakehouse.contracts.layout import HEALTH, health_key, table_key
from lakehouse.contracts.tables import TABLES, TableSpec
from lakehouse.silver.erased import last_erasure
from lakehouse.storage.lake import Lake
from lakehouse.storage.objects import ObjectStore

SMALL_FILE_BYTES = 32 * 1024 * 1024
"""A data file below this is small: reading it costs mostly the request."""
SMALL_FILES_MAX = 8
"""Small files that a table may hold before they are put together."""
REMOVED_SHARE_MAX = 0.05
"""Share of stored rows that may be removed ones before files are rewritten: Delta's own bound for a single file."""
SETTLED = timedelta(days=8)
"""So long after an erasure removed rows are taken out of the files at each upkeep: tables that follow lose theirs with the next runs."""
VACUUM_HOURS = 168
"""Delta's own least: longer than the longest job and the longest reader (reliability of time travel by version)."""


def maintain(lake: Lake, spec: TableSpec) -> dict[str, Any]:
    """Compact, vacuum and measure a table; its health afterwards, with what was done.

    After an erasure the first upkeep leaves no removed row in the files of the newest version; those of older versions go
    with the first one that comes `vacuum_hours` later.

    Returns:
        Counts of rows, files, bytes (of the newest version), log objects, version; rows that its files hold but it does
        not (`removed_rows`); `compacted` and `vacuumed` files.
    """
    if lake.version(spec.name) is None:
        return {"table": spec.name, "version": -1} | dict.fromkeys(
            ("rows", "removed_rows", "files", "bytes", "log_files"), 0
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = table_health(lake, spec)
    done: dict[str, Any] = {"compacted": 0, "vacuumed": 0}
    if before["small_files"] > SMALL_FILES_MAX or before["removed_rows"] > REMOVED_SHARE_MAX * before["rows"]:
        done["compacted"] = lake.compact(spec)
    done |= _purged(lake, spec, before, now=now)
    done["vacuumed"] = lake.vacuum(spec, hours=lake.settings.vacuum_hours)
    health = table_health(lake, spec) | done
    lake.objects.replace(health_key(spec.name), json.dumps(health, sort_keys=True).encode())
    return health


def _purged(lake: Lake, spec: TableSpec, health: dict[str, Any], *, now: str) -> dict[str, str]:
    """`purged_at`: when removed rows were last taken out of the newest version's files. Done until `SETTLED` after an erasure."""
    wanted = last_erasure(lake.objects)
    last = (lake.objects.read_json(health_key(spec.name)) or {}).get("purged_at", "")
    if wanted is None or (last and datetime.fromisoformat(last) >= wanted + SETTLED):
        return {"purged_at": last} if last else {}
    if health["removed_rows"]:
        lake.purge(spec)
    return {"purged_at": now}


def table_health(lake: Lake, spec: TableSpec) -> dict[str, Any]:
    """Rows, files, bytes and log length of a table's newest version, from its log alone."""
    files, removed = lake.files(spec), lake.removed(spec)
    sizes = [int(file["size_bytes"]) for file in files]
    log = list(lake.objects.list(f"{table_key(spec)}/_delta_log"))
    return {
        "table": spec.name,
        "version": lake.version(spec.name),
        "rows": sum(int(file["num_records"] or 0) for file in files) - removed,
        "removed_rows": removed,
        "files": len(files),
        "small_files": sum(size < SMALL_FILE_BYTES for size in sizes),
        "bytes": sum(sizes),
        "log_files": len(log),
    }


def read_health(objects: ObjectStore) -> Iterator[dict[str, Any]]:
    """The last known health of every table that was maintained."""
    kept = {info.key for info in objects.list(HEALTH)}
    for name in sorted(TABLES):
        if health_key(name) in kept:
            yield json.loads(objects.get(health_key(name)))
