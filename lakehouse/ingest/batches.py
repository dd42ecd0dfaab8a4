"""Batches: one write-once manifest for each landed file, and what is known from them. Reading and writing, no parsing.

The manifest is the commit of a batch: objects without one are leftovers of a killed run and are never read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from lakehouse.contracts.layout import BATCHES, LANDING, batch_key
from lakehouse.errors import IntegrityError, TransientError
from lakehouse.storage.objects import ObjectStore

INDEX_KEY = f"{LANDING}/_index.json"
"""Summary of all manifests, so that a run need not read each of them again. Always derivable, so it may be lost."""
UNCLAIMED = "unclaimed"
"""Source code of batches that only report files which were not landed."""


@dataclass(frozen=True, slots=True)
class BatchObject:
    """One landing object: its key, what it holds, and its checksum."""

    path: str
    platform: str
    record_type: str
    sha256: str
    records_count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class QuarantineObject:
    """The object with a batch's quarantine entries."""

    path: str
    sha256: str
    entries_count: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The manifest of a batch. `landed_at` (ISO, UTC) increases strictly with `batch_seq`."""

    batch_seq: int
    landed_at: str
    source_code: str
    mapping_version: int
    layout: str
    file_name: str
    file_sha256: str
    rows_in: int = 0
    rows_landed: int = 0
    rows_quarantined: int = 0
    fields_quarantined: int = 0
    objects: tuple[BatchObject, ...] = ()
    quarantine: QuarantineObject | None = None
    observed_at: str = ""
    """The time of observation that the mapping declares for the file by name, if it does (ISO, UTC)."""
    reported: tuple[str, ...] = ()
    """Files that an `unclaimed` batch reports, as `report_key` writes them."""

    @property
    def records_count(self) -> int:
        """Records in all objects; one row may have several."""
        return sum(item.records_count for item in self.objects)

    @property
    def key(self) -> str:
        """What tells this landing from others."""
        return file_key(self.file_sha256, self.source_code, self.mapping_version, self.layout, self.observed_at)

    def to_json(self) -> bytes:
        """Canonical bytes of the manifest."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Batch:
        """Read a manifest back."""
        quarantine = body["quarantine"]
        read = {
            "objects": tuple(BatchObject(**item) for item in body["objects"]),
            "quarantine": QuarantineObject(**quarantine) if quarantine else None,
            "reported": tuple(body["reported"]),
        }
        return cls(**(body | read))


@dataclass(slots=True)
class LandedIndex:
    """What has been landed or reported so far."""

    last_seq: int = 0
    last_landed_at: str = ""
    files: set[str] = field(default_factory=set)
    reported: set[str] = field(default_factory=set)

    def add(self, batch: Batch) -> None:
        """Take a batch into account."""
        self.last_seq = batch.batch_seq
        self.last_landed_at = batch.landed_at
        if batch.source_code == UNCLAIMED:
            self.reported.update(batch.reported)
        else:
            self.files.add(batch.key)


def file_key(sha256: str, source_code: str, mapping_version: int, layout: str, observed_at: str) -> str:
    """What makes a landing of a file one that is done: same bytes, mapping, layout and declared time of observation."""
    return f"{sha256}:{source_code}:{mapping_version}:{layout}:{observed_at}"


def read_batches(objects: ObjectStore, after_seq: int = 0) -> Iterator[Batch]:
    """Manifests of batches newer than `after_seq`, oldest first."""
    keys = sorted(info.key for info in objects.list_after(BATCHES, batch_key(after_seq)))
    for key in keys:
        yield Batch.from_json(json.loads(objects.get(key)))


def load_index(objects: ObjectStore) -> LandedIndex:
    """The index as of now: the kept summary, and the manifests written after it."""
    body = objects.read_json(INDEX_KEY)
    index = LandedIndex()
    if body is not None:
        index = LandedIndex(body["last_seq"], body["last_landed_at"], set(body["files"]), set(body["reported"]))
    for batch in read_batches(objects, index.last_seq):
        index.add(batch)
    return index


def save_index(objects: ObjectStore, index: LandedIndex) -> None:
    """Keep the summary for the next run."""
    body = asdict(index) | {"files": sorted(index.files), "reported": sorted(index.reported)}
    objects.replace(INDEX_KEY, json.dumps(body).encode())


def commit(objects: ObjectStore, batch: Batch) -> None:
    """Write the manifest: from here on the batch exists.

    Raises:
        TransientError: another process took the same sequence number.
    """
    try:
        objects.put_once(batch_key(batch.batch_seq), batch.to_json())
    except IntegrityError as error:
        raise TransientError("Another run is landing files into this lake; start again when it has ended.") from error
