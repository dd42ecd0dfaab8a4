"""Landing objects: records and quarantine entries as gzip JSON lines with the same bytes for the same content.

Lines are plain ASCII: NUL and lone surrogates are escapes, so every reader gets them unharmed. In a record's line the
payload comes last, which lets bronze cut it out verbatim.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from lakehouse.ingest.batches import BatchObject, QuarantineObject
from lakehouse.ingest.convert import LandedRecord
from lakehouse.ingest.entries import STAGE, Entry
from lakehouse.storage.objects import ObjectStore

PART_BYTES = 64 * 1024 * 1024
"""Raw size at which a landing object is closed: one Spark task reads one object (gzip cannot be split)."""
PENDING_BYTES = 256 * 1024
"""Lines joined before they are compressed: one call for some hundred records."""
GZIP_LEVEL = 4
"""Measured on landing lines: a third less time than level 6 for 5 to 8 % more bytes. Level 3 would take 0.7 of its time
for 3 to 6 % more bytes, level 1 0.6 of it for 10 %: not enough for objects that are kept for years."""
ENTRIES_PER_REASON_LIMIT = 10_000
"""Entries kept singly for one reason in one file; further ones are summed up in one, so a broken file stays small."""
HASH_CHARS = 12
"""Hex digits of a sha256 in an object's name: enough to tell files apart."""


canonical_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False).encode
"""JSON with sorted keys, no spaces, ASCII only. What was read from a file has no circles to look for."""
_COMPACT = json.JSONEncoder(separators=(",", ":")).encode


class GzipLines:
    """An in-memory gzip file of lines."""

    def __init__(self) -> None:
        """Start an empty file without name and time, so that equal lines give equal bytes."""
        self._buffer = io.BytesIO()
        self._gzip = gzip.GzipFile(filename="", fileobj=self._buffer, mode="wb", compresslevel=GZIP_LEVEL, mtime=0)
        self._pending: list[str] = []
        self._pending_bytes = 0
        self.raw_bytes = 0
        self.lines_count = 0

    def add(self, line: str) -> None:
        """Append one line of ASCII text."""
        self._pending.append(line)
        self._pending_bytes += len(line) + 1
        self.raw_bytes += len(line) + 1
        self.lines_count += 1
        if self._pending_bytes >= PENDING_BYTES:
            self._flush()

    def close(self) -> bytes:
        """The finished file."""
        self._flush()
        self._gzip.close()
        return self._buffer.getvalue()

    def _flush(self) -> None:
        if self._pending:
            self._gzip.write(("\n".join(self._pending) + "\n").encode("ascii"))
            self._pending, self._pending_bytes = [], 0


@dataclass(frozen=True, slots=True)
class _Part:
    """An open object: its lines, and what is the same in every one of them, encoded once."""

    lines: GzipLines
    head: str
    """Source, platform and record type."""
    tail: str
    """File name."""


@dataclass(slots=True)
class PartWriter:
    """Writes the records of one file into objects by platform and record type, in parts of bounded size."""

    objects: ObjectStore
    folder_of: Callable[[str], str]
    """Platform to the landing folder of the file's day."""
    source_code: str
    mapping_version: int
    file_name: str
    file_sha256: str
    written: list[BatchObject] = field(default_factory=list)
    _open: dict[tuple[str, str], _Part] = field(default_factory=dict)
    _parts: dict[tuple[str, str], int] = field(default_factory=dict)
    _record_seq: int = 0

    def add(self, record: LandedRecord) -> None:
        """Append a record; its ordinal in the batch is counted here."""
        key = (record.platform, record.record_type)
        part = self._open.get(key)
        if part is None:
            part = self._open[key] = self._part(*key)
        part.lines.add(self._line(record, part))
        self._record_seq += 1
        if part.lines.raw_bytes >= PART_BYTES:
            self._close(key)

    def close(self) -> tuple[BatchObject, ...]:
        """Write what is open; all objects of the file."""
        for key in sorted(self._open):
            self._close(key)
        return tuple(self.written)

    def _part(self, platform: str, record_type: str) -> _Part:
        head = {"source_code": self.source_code, "platform": platform, "record_type": record_type}
        return _Part(GzipLines(), _COMPACT(head)[1:-1], _COMPACT({"file_name": self.file_name})[1:-1])

    def _line(self, record: LandedRecord, part: _Part) -> str:
        """The record's line. Only the payload is encoded anew; observed_at is ours, and plain ASCII."""
        payload = canonical_json(record.payload)
        return (
            f'{{"record_id":"{record_id(record, self.source_code, payload)}",{part.head},'
            f'"observed_at":"{record.observed_at}",{part.tail},"line_number":{record.line_number},'
            f'"record_seq":{self._record_seq},"payload":{payload}}}'
        )

    def _close(self, key: tuple[str, str]) -> None:
        platform, record_type = key
        lines = self._open.pop(key).lines
        data = lines.close()
        part = self._parts.get(key, 0)
        self._parts[key] = part + 1
        digest = hashlib.sha256(data).hexdigest()
        origin = f"{self.source_code}-{self.file_sha256[:HASH_CHARS]}-v{self.mapping_version}"
        name = f"{origin}-{record_type}-{part:04d}-{digest[:HASH_CHARS]}.jsonl.gz"
        path = f"{self.folder_of(platform)}/{name}"
        self.objects.put_once(path, data)
        self.written.append(BatchObject(path, platform, record_type, digest, lines.lines_count, len(data)))


def record_id(record: LandedRecord, source_code: str, payload: str) -> str:
    """Sha256 (hex) over canonical JSON of [platform, record_type, source_code, observed_at, payload].

    All but the payload are codes and a time of ours: they need no escapes.
    """
    head = f'"{record.platform}","{record.record_type}","{source_code}","{record.observed_at}"'
    return hashlib.sha256(f"[{head},{payload}]".encode("ascii")).hexdigest()


@dataclass(slots=True)
class QuarantineWriter:
    """Writes the quarantine entries of one batch into one object; beyond a limit entries of one reason are summed up."""

    objects: ObjectStore
    folder: str
    source_code: str
    batch_key: str
    """What makes the entries' ids unlike those of other batches: file hash, mapping version, layout, declared time."""
    _lines: GzipLines = field(default_factory=GzipLines)
    _by_reason: dict[str, int] = field(default_factory=dict)
    _summed: dict[str, int] = field(default_factory=dict)

    def add(self, entry: Entry, file_name: str) -> None:
        """Append an entry about a file."""
        count = self._by_reason.get(entry.reason_code, 0) + 1
        self._by_reason[entry.reason_code] = count
        if count <= ENTRIES_PER_REASON_LIMIT:
            self._append(entry, file_name)
        else:
            self._summed[entry.reason_code] = self._summed.get(entry.reason_code, 0) + entry.rows_count

    def close(self, file_name: str) -> QuarantineObject | None:
        """Write the object, None without entries."""
        for reason, rows in sorted(self._summed.items()):
            more = self._by_reason[reason] - ENTRIES_PER_REASON_LIMIT
            self._append(Entry(reason, rows_count=rows, detail=f"{more} further cases are summed up here."), file_name)
        if not self._lines.lines_count:
            return None
        data = self._lines.close()
        digest = hashlib.sha256(data).hexdigest()
        path = f"{self.folder}/{self.source_code}-{digest[:HASH_CHARS]}.jsonl.gz"
        self.objects.put_once(path, data)
        return QuarantineObject(path, digest, self._lines.lines_count)

    def _append(self, entry: Entry, file_name: str) -> None:
        body = {
            "stage_code": STAGE,
            "source_code": self.source_code,
            "file_name": file_name,
            "line_number": entry.line_number,
            "field_name": entry.field_name,
            "reason_code": entry.reason_code,
            "reason_text": entry.reason_text,
            "raw_value": _escaped(entry.raw_value),
            "rows_count": entry.rows_count,
        }
        text = canonical_json([self.batch_key, self._lines.lines_count, body])
        self._lines.add(canonical_json({"quarantine_id": hashlib.sha256(text.encode("ascii")).hexdigest(), **body}))


def _escaped(value: str | None) -> str | None:
    """The value as ASCII, for tables and terminals that cannot carry what was wrong with it."""
    return None if value is None else value.encode("ascii", "backslashreplace").decode("ascii").replace("\0", "\\x00")
