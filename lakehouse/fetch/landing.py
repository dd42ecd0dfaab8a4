"""Landed answers into records: each object of answers becomes one batch, read by the mapping of its source like any file.

Answers stay as they came; when a mapping's version rises, they are read anew, like files. What an answer says of accounts
besides their profiles (deleted, suspended, private) becomes records of its own.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from lakehouse.contracts.payload import PROFILE
from lakehouse.crash import AFTER_DATA, MID_DATA, crashpoint, point
from lakehouse.errors import IntegrityError, SettingsError
from lakehouse.fetch.capture import Answer, AnswersManifest, read_answers, read_manifests
from lakehouse.fetch.connector import Connector
from lakehouse.fetch.task import Fate, Reading
from lakehouse.ingest.batches import Batch, LandedIndex, commit, load_index, save_index
from lakehouse.ingest.convert import Converter, Counts, LandedRecord
from lakehouse.ingest.entries import Entry
from lakehouse.ingest.landing import next_time
from lakehouse.ingest.mapping import Layout
from lakehouse.ingest.mapping import Mapping as FieldMapping
from lakehouse.ingest.parts import canonical_json
from lakehouse.ingest.plan import Plan, json_plan
from lakehouse.ingest.rows import RawRow
from lakehouse.ingest.times import iso
from lakehouse.ingest.writing import write_batch
from lakehouse.storage.objects import ObjectStore

STEP = "raw_answers"
LAYOUT = "answers"
"""Layout in the key of such batches: each answer names its own."""

FETCHED_AT, REQUEST = "_fetched_at", "_request"
"""What a record is told besides its own fields: when it was fetched, and what was asked for."""

Clock = Callable[[], dt.datetime]


@dataclass(frozen=True, slots=True)
class Reader:
    """What reads the answers of one source: its connector and its mapping."""

    connector: Connector
    mapping: FieldMapping

    def layout(self, name: str) -> Layout:
        """The layout of that name.

        Raises:
            SettingsError: the mapping has none.
        """
        found = next((layout for layout in self.mapping.layouts if layout.name == name), None)
        if found is None:
            raise SettingsError(f"Mapping {self.mapping.source} has no layout {name} for its source's answers.")
        return found


@dataclass(slots=True)
class Outcome:
    """What one call landed. `newest` is the highest number of a manifest that was looked at."""

    newest: int
    batches: list[Batch] = field(default_factory=list)
    already_count: int = 0
    unread: dict[str, int] = field(default_factory=dict)
    """Sources without a reader, to objects of theirs that wait."""


def land_answers(
    objects: ObjectStore, readers: Mapping[str, Reader], *, after: int, log: Callable[[str], None], clock: Clock
) -> Outcome:
    """Read the objects of answers numbered above `after` into batches; those that are read already are only counted.

    Args:
        objects: the lake's objects.
        readers: by source code; objects of others wait.
        after: number of the last manifest that was read.
        log: told of each object.
        clock: gives landing times.

    Raises:
        IntegrityError: an object is not what its manifest says.
        TransientError: another process is landing.
    """
    index = load_index(objects)
    outcome = Outcome(newest=after)
    for manifest in read_manifests(objects, after):
        reader = readers.get(manifest.source)
        if reader is None:
            outcome.unread[manifest.source] = outcome.unread.get(manifest.source, 0) + 1
            continue
        if not outcome.unread:
            outcome.newest = manifest.number
        if not manifest.answers_count:  # its rows expired
            continue
        batch = _land_one(objects, reader, manifest, index=index, clock=clock)
        if batch is None:
            outcome.already_count += 1
            continue
        outcome.batches.append(batch)
        log(f"{batch.source_code}: {manifest.answers_count:,} answers, {batch.records_count:,} records")
    if outcome.batches:
        save_index(objects, index)
    return outcome


def _land_one(
    objects: ObjectStore, reader: Reader, manifest: AnswersManifest, *, index: LandedIndex, clock: Clock
) -> Batch | None:
    """The batch of one object of answers, committed; None where it is landed already."""
    draft = Batch(
        batch_seq=index.last_seq + 1,
        landed_at=iso(next_time(index.last_landed_at, clock)),
        source_code=reader.mapping.source,
        mapping_version=reader.mapping.version,
        layout=LAYOUT,
        file_name=manifest.path,
        file_sha256=manifest.sha256,
    )
    if draft.key in index.files:
        return None
    batch = _write(objects, reader, manifest, draft)
    crashpoint(point(STEP, AFTER_DATA))
    commit(objects, batch)
    index.add(batch)
    return batch


def _write(objects: ObjectStore, reader: Reader, manifest: AnswersManifest, draft: Batch) -> Batch:
    counts = Counts()
    items = counts.counted(_records(objects, reader, manifest, draft.landed_at, counts))
    day = dt.datetime.fromisoformat(manifest.first_at).date()
    return write_batch(objects, draft, day, items, counts, at=point(STEP, MID_DATA))


def _records(
    objects: ObjectStore, reader: Reader, manifest: AnswersManifest, landed_at: str, counts: Counts
) -> Iterator[LandedRecord | Entry]:
    """Records and entries of every answer of an object, in order; an answer's number stands for the line."""
    data = objects.get(manifest.path)
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise IntegrityError(f"{objects.layout.uri(manifest.path)} does not match the sha256 of its manifest.")
    converters: dict[str, Converter] = {}
    for answer in read_answers(data):
        reading = reader.connector.read(answer.task, answer.response)
        yield from _of_answer(reader, answer, reading, converters, landed_at, counts)


def _of_answer(
    reader: Reader,
    answer: Answer,
    reading: Reading,
    converters: dict[str, Converter],
    landed_at: str,
    counts: Counts,
) -> Iterator[LandedRecord | Entry]:
    if reading.fate is Fate.DONE and not reading.reason:
        for layout, record in reader.connector.rows(answer.task, answer.response.document):
            row = {**record, FETCHED_AT: answer.fetched_at, REQUEST: _request(answer)}
            if layout not in converters:
                converters[layout] = Converter(_plan(reader, layout, landed_at), counts)
            yield from converters[layout].convert(RawRow(answer.number, row, canonical_json(row).encode("ascii")))
    yield from _sightings(reader, answer, reading, counts)


def _request(answer: Answer) -> dict[str, str]:
    task = answer.task
    return {"endpoint": task.endpoint, "key": task.keys[0] if len(task.keys) == 1 else ""}


def _plan(reader: Reader, layout: str, landed_at: str) -> Plan:
    return json_plan(reader.layout(layout), reader.mapping.observed_at, landed_at)


def _sightings(reader: Reader, answer: Answer, reading: Reading, counts: Counts) -> Iterator[LandedRecord]:
    """What was said of accounts besides their profiles, as records of them."""
    source, task = reader.connector.source, answer.task
    kind = source.endpoints[task.endpoint].key_kind
    for sighting in reading.sightings:
        if kind == "none":
            continue
        counts.rows_in += 1
        counts.rows_landed += 1
        known = task.id_of(sighting.key) if kind == "handle" else sighting.key
        name, key = ("platform_account_id", known) if known else ("handle", sighting.key)
        payload = {name: key, "account_state": str(sighting.state), "state_reason": sighting.reason}
        yield LandedRecord(PROFILE, source.platform, answer.fetched_at, answer.number, payload)
