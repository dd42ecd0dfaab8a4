"""Accounts to hear of for the first time: an operator's list of ids and handles, asked for once; then the planner knows them.

A list is a CSV file with a header and the columns `platform`, `platform_account_id` and `handle`; each row needs one of the
latter two. A list that changed is queued anew, without the accounts that the lake knows: those are the planner's.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import pyarrow as pa

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.errors import NotFoundError, SettingsError
from lakehouse.fetch.plan import Assignment
from lakehouse.fetch.refresh import routes_of
from lakehouse.fetch.source import Source
from lakehouse.fetch.task import FetchTask, Priority
from lakehouse.silver.handles import handle_key
from lakehouse.storage.objects import sha256_file

ID, HANDLE = "id", "handle"
COLUMNS = {ID: "platform_account_id", HANDLE: "handle"}


def list_hash(path: Path) -> str:
    """Identity of a list.

    Raises:
        NotFoundError: there is no such file.
    """
    if not path.is_file():
        raise NotFoundError(f"The list of accounts {path} does not exist.")
    return sha256_file(path)


def seed_tasks(
    path: Path,
    assignment: Assignment,
    sources: Mapping[str, Source],
    known: Callable[[pa.Array], Iterable[tuple[str, str]]] = lambda _listed: (),
    *,
    cycle: str,
) -> Iterator[FetchTask]:
    """Batches of the accounts of a list that are not known, each for the source that refreshes its platform.

    Args:
        path: the list; its keys are held in memory.
        assignment: which source refreshes which platform; accounts of others are left out.
        sources: by code.
        known: those of the listed ids and handle keys that the lake knows, each with its platform.
        cycle: of the tasks.

    Raises:
        SettingsError: the file is no such list; the sentence names the line.
    """
    listed = {name: _keys(path, sources[name]) for name in sorted(assignment.by_platform.values())}
    by_platform = {sources[name].platform: keys for name, keys in listed.items()}
    every = [key for kinds in listed.values() for keys in kinds.values() for key in keys]
    for platform, key in known(pa.array(every, pa.string())):
        for keys in by_platform.get(platform, {}).values():
            keys.pop(key, None)
    for name, kinds in listed.items():
        for kind, keys in sorted(kinds.items()):
            endpoint = routes_of(sources[name])[kind]
            remaining = iter(keys)
            while batch := tuple(islice(remaining, sources[name].endpoints[endpoint].batch)):
                yield FetchTask(name, endpoint, batch, priority=Priority.FOLLOW_UP, cycle=cycle)


def _keys(path: Path, source: Source) -> dict[str, dict[str, None]]:
    """Keys of a platform's rows by kind, in order, each once: the id where the source takes ids, else the handle."""
    found: dict[str, dict[str, None]] = {kind: {} for kind in routes_of(source)}
    for row in _rows(path):
        if row["platform"] != source.platform:
            continue
        given, handle = row.get(COLUMNS[ID]) or "", handle_key(row.get(COLUMNS[HANDLE]) or "") or ""
        kind, key = (ID, given) if given and ID in found else (HANDLE, handle)
        if key and kind in found:
            found[kind][key] = None
    return found


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if "platform" not in (reader.fieldnames or ()) or not set(COLUMNS.values()) & set(reader.fieldnames or ()):
            raise SettingsError(f"{path} needs a header with platform and platform_account_id or handle.")
        for row in reader:
            if row["platform"] not in PLATFORMS:
                raise SettingsError(f"{path}, line {reader.line_num}: {row['platform']!r} is no platform.")
            yield row
