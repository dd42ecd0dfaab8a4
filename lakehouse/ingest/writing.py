"""Files of a landing as objects: in this process, or where there is much to do, in one process a core.

Reading and mapping a row is Python work; files do not depend on each other. Objects are named by their bytes, so it does
not matter who writes them, and what a killed run leaves is written again with the same names.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace

from lakehouse.contracts.layout import LANDING, landing_key
from lakehouse.crash import MID_DATA, crashpoint, point
from lakehouse.errors import PermanentError
from lakehouse.ingest.batches import Batch
from lakehouse.ingest.claims import Claim
from lakehouse.ingest.convert import Counts, LandedRecord
from lakehouse.ingest.entries import Entry
from lakehouse.ingest.files import SourceFile
from lakehouse.ingest.folder import FoundFile
from lakehouse.ingest.parts import PartWriter, QuarantineWriter
from lakehouse.settings import Settings, cores
from lakehouse.storage.objects import ObjectStore

QUARANTINE = f"{LANDING}/_quarantine"
STEP = "raw_landing"
"""Name of the step in crash points."""
WRITING = point(STEP, MID_DATA)
MANY_BYTES = 64 << 20
"""Input from which processes of their own are worth their start of a second or two."""

_objects: ObjectStore | None = None
"""Of a worker process."""


@dataclass(frozen=True, slots=True)
class Task:
    """One file to land: what was found, who claims it, and its manifest as far as it is known before reading."""

    found: FoundFile
    claimed: Claim
    draft: Batch


def write_all(
    objects: ObjectStore, tasks: Sequence[Task], settings: Settings | None = None
) -> Iterator[tuple[Task, Batch | Entry]]:
    """Write each task's objects, in order: its manifest, not yet written, or why the file cannot be landed.

    Args:
        objects: where to.
        tasks: what.
        settings: of the lake; with them, many bytes in more than one file are shared among processes.

    Raises:
        PermanentError: one of the processes was killed.
    """
    workers = min(len(tasks), cores())
    if settings is None or workers < 2 or sum(task.found.size for task in tasks) < MANY_BYTES:
        yield from ((task, write(objects, task)) for task in tasks)
        return
    spawned = multiprocessing.get_context("spawn")  # a fork would copy the JVM's sockets
    with ProcessPoolExecutor(workers, spawned, _start, (settings,)) as pool:
        futures = _submitted(pool, tasks)
        try:
            for task, future in zip(tasks, futures, strict=True):
                yield task, future.result()
        except BrokenProcessPool as error:
            raise PermanentError(
                "A process that read the input was killed, perhaps for want of memory; what was landed stays, start again."
            ) from error
        finally:
            for future in futures:
                future.cancel()


def _submitted(pool: ProcessPoolExecutor, tasks: Sequence[Task]) -> list[Future[Batch | Entry]]:
    """Each task's future. The largest file is begun first: begun last, it would run on alone while the others idle."""
    by_size = sorted(range(len(tasks)), key=lambda position: tasks[position].found.size, reverse=True)
    futures = {position: pool.submit(_write_there, tasks[position]) for position in by_size}
    return [futures[position] for position in range(len(tasks))]


def write(objects: ObjectStore, task: Task) -> Batch | Entry:
    """Write one file's objects."""
    try:
        batch = _write(objects, task)
        return Entry("changed_while_read") if has_changed(task.found) else batch
    except OSError as error:
        return unreadable(error)


def unreadable(error: OSError) -> Entry:
    """The entry for a file that the system does not hand over."""
    return Entry("unreadable_file", detail=f"{error.strerror or error}.")


def has_changed(found: FoundFile) -> bool:
    """Whether the file is no longer what it was when it was found."""
    status = found.path.stat()
    return (status.st_size, status.st_mtime_ns) != (found.size, found.mtime_ns)


def _start(settings: Settings) -> None:
    """Make a worker process ready; an interrupt is the parent's to handle."""
    global _objects  # noqa: PLW0603  (one store a process)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _objects = ObjectStore.open(settings)


def _write_there(task: Task) -> Batch | Entry:
    if _objects is None:
        raise RuntimeError("The worker was not started.")
    return write(_objects, task)


def _write(objects: ObjectStore, task: Task) -> Batch:
    draft = task.draft
    source = SourceFile(task.found.path, task.found.name, task.claimed, draft.landed_at)
    day = dt.datetime.fromisoformat(draft.observed_at or draft.landed_at).date()
    return write_batch(objects, draft, day, source, source.counts, at=WRITING)


def write_batch(
    objects: ObjectStore,
    draft: Batch,
    day: dt.date,
    items: Iterable[LandedRecord | Entry],
    counts: Counts,
    *,
    at: str,
) -> Batch:
    """Write the objects of a batch; its manifest, whole but not yet written.

    Args:
        objects: where to.
        draft: the manifest as far as it is known before reading.
        day: of the landing folders.
        items: records and entries, in order.
        counts: of the rows; complete when the items are at their end.
        at: crash point that every item passes.
    """
    records = PartWriter(
        objects,
        lambda platform: landing_key(platform, day, "").rstrip("/"),
        draft.source_code,
        draft.mapping_version,
        draft.file_name,
        draft.file_sha256,
    )
    entries = QuarantineWriter(objects, QUARANTINE, draft.source_code, draft.key)
    for item in items:
        crashpoint(at)
        if isinstance(item, Entry):
            entries.add(item, draft.file_name)
        else:
            records.add(item)
    return replace(
        draft,
        rows_in=counts.rows_in,
        rows_landed=counts.rows_landed,
        rows_quarantined=counts.rows_quarantined,
        fields_quarantined=counts.fields_quarantined,
        objects=records.close(),
        quarantine=entries.close(draft.file_name),
    )
