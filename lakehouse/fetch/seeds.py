"""Accounts to hear of for the first time: an operator's list of ids and handles, asked for once; then the planner knows them.

A list is a CSV file with a header and the columns `platform`, `platform_account_id` and `handle`; each row needs one of the
latter two. Which rows were queued is known by the file's hash: a list that grew is queued anew, and what is already in the
lake costs a refresh.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

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


def seed_tasks(path: Path, assignment: Assignment, sources: Mapping[str, Source], *, cycle: str) -> Iterator[FetchTask]:
    """Batches of the accounts of a list, each for the source that refreshes its platform; others are left out.

    Raises:
        SettingsError: the file is no such list; the sentence names the line.
    """
    for name in sorted(assignment.by_platform.values()):
        source = sources[name]
        for kind, endpoint in sorted(routes_of(source).items()):
            keys = _keys(path, source, kind, has_ids=ID in routes_of(source))
            while batch := tuple(islice(keys, source.endpoints[endpoint].batch)):
                yield FetchTask(name, endpoint, batch, priority=Priority.FOLLOW_UP, cycle=cycle)


def _keys(path: Path, source: Source, kind: str, *, has_ids: bool) -> Iterator[str]:
    """Keys of one kind of a platform's rows: the id where the source takes ids, the handle of the others."""
    for row in _rows(path):
        if row["platform"] != source.platform:
            continue
        given, handle = row.get(COLUMNS[ID], ""), handle_key(row.get(COLUMNS[HANDLE], "") or "") or ""
        is_by_id = has_ids and bool(given)
        key = given if kind == ID else handle
        if key and is_by_id == (kind == ID):
            yield key


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if "platform" not in (reader.fieldnames or ()) or not set(COLUMNS.values()) & set(reader.fieldnames or ()):
            raise SettingsError(f"{path} needs a header with platform and platform_account_id or handle.")
        for row in reader:
            if row["platform"] not in PLATFORMS:
                raise SettingsError(f"{path}, line {reader.line_num}: {row['platform']!r} is no platform.")
            yield row
