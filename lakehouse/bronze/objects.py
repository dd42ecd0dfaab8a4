"""Which landing objects a bronze table still lacks, and whether they are what their manifests say. No Spark."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lakehouse.errors import NotFoundError
from lakehouse.ingest.batches import Batch
from lakehouse.storage.objects import ObjectStore

GZIP_WINDOW = 16 + zlib.MAX_WBITS
"""zlib's code for a gzip stream."""
VERIFY_THREADS = 4
"""Objects checked at once: hashing and inflating release the interpreter lock, reading waits for the network."""


@dataclass(frozen=True, slots=True)
class Part:
    """One landing object to load, with what the envelope takes from its batch."""

    path: str
    sha256: str
    lines_count: int
    batch_seq: int
    landed_at: str
    source_code: str


def record_parts(batches: Iterable[Batch], *, platform: str, record_type: str) -> list[Part]:
    """The objects of one platform and record type, in batch order."""
    return [
        Part(item.path, item.sha256, item.records_count, batch.batch_seq, batch.landed_at, batch.source_code)
        for batch in batches
        for item in batch.objects
        if (item.platform, item.record_type) == (platform, record_type)
    ]


def quarantine_parts(batches: Iterable[Batch]) -> list[Part]:
    """The quarantine objects, in batch order."""
    return [
        Part(
            batch.quarantine.path,
            batch.quarantine.sha256,
            batch.quarantine.entries_count,
            batch.batch_seq,
            batch.landed_at,
            batch.source_code,
        )
        for batch in batches
        if batch.quarantine is not None
    ]


@dataclass(frozen=True, slots=True)
class Damage:
    """A part that is not what its manifest says: a code of `DAMAGE`, and one sentence."""

    part: Part
    code: str
    text: str


DAMAGE = {
    "damaged_object": "The stored object is not what was written; its rows are withheld.",
    "missing_object": "The stored object is gone; its rows are withheld.",
    "wrong_line_count": "The stored object holds another number of lines than its manifest says; its rows are withheld.",
}
"""Reason code to sentence."""


def sift(objects: ObjectStore, parts: Sequence[Part]) -> tuple[list[Part], list[Damage]]:
    """Compare every object's bytes and lines with its manifest, before anything is loaded: the sound and the damaged."""
    with ThreadPoolExecutor(VERIFY_THREADS) as pool:
        found = list(pool.map(lambda part: _examine(objects, part), parts))
    damaged = [damage for damage in found if damage is not None]
    return [part for part, damage in zip(parts, found, strict=True) if damage is None], damaged


def _examine(objects: ObjectStore, part: Part) -> Damage | None:
    uri = objects.layout.uri(part.path)
    try:
        sha256, lines = _measure(objects, part.path)
    except NotFoundError:
        return Damage(part, "missing_object", f"{uri} of batch {part.batch_seq} does not exist.")
    if sha256 != part.sha256:
        return Damage(part, "damaged_object", f"{uri} does not match the sha256 of batch {part.batch_seq}.")
    if lines != part.lines_count:
        said = f"{uri} holds {lines} lines, batch {part.batch_seq} says {part.lines_count}."
        return Damage(part, "wrong_line_count", said)
    return None


def _measure(objects: ObjectStore, path: str) -> tuple[str, int]:
    """Sha256 of the bytes, and lines of the text; 0 lines where it cannot be inflated (the hash then differs too)."""
    data = objects.get(path)
    try:
        lines = zlib.decompress(data, GZIP_WINDOW).count(b"\n")
    except zlib.error:
        lines = 0
    return hashlib.sha256(data).hexdigest(), lines
