"""Which landing objects a bronze table still lacks, and whether they are what their manifests say. No Spark."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lakehouse.errors import IntegrityError
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


def verify(objects: ObjectStore, parts: Sequence[Part]) -> None:
    """Compare every object's bytes and lines with its manifest, before anything is loaded.

    Raises:
        IntegrityError: an object is damaged or holds another number of lines; it is named.
        NotFoundError: an object is gone.
    """
    with ThreadPoolExecutor(VERIFY_THREADS) as pool:
        for part, (sha256, lines) in zip(
            parts, pool.map(lambda part: _measure(objects, part.path), parts), strict=True
        ):
            if sha256 != part.sha256:
                raise IntegrityError(
                    f"{objects.layout.uri(part.path)} does not match the sha256 of batch {part.batch_seq}."
                )
            if lines != part.lines_count:
                raise IntegrityError(
                    f"{objects.layout.uri(part.path)} holds {lines} lines, batch {part.batch_seq} says {part.lines_count}."
                )


def _measure(objects: ObjectStore, path: str) -> tuple[str, int]:
    """Sha256 of the bytes, and lines of the text; 0 lines where it cannot be inflated (the hash then differs too)."""
    data = objects.get(path)
    try:
        lines = zlib.decompress(data, GZIP_WINDOW).count(b"\n")
    except zlib.error:
        lines = 0
    return hashlib.sha256(data).hexdigest(), lines
