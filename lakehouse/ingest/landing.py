"""The landing writer: files of the input folder become immutable objects and one manifest each.

Killed anywhere, the next run ends at the same content: objects are named by their bytes, a batch exists when its
manifest does, and a file is done when a manifest says so.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.crash import AFTER_DATA, crashpoint, point
from lakehouse.errors import NotFoundError, SettingsError
from lakehouse.ingest.batches import UNCLAIMED, Batch, LandedIndex, commit, load_index, save_index
from lakehouse.ingest.claims import claim, observed_rules
from lakehouse.ingest.entries import Entry
from lakehouse.ingest.files import peek_header
from lakehouse.ingest.folder import FoundFile, find_files, fingerprint
from lakehouse.ingest.mapping import Mapping, load_mappings
from lakehouse.ingest.parts import QuarantineWriter
from lakehouse.ingest.times import declared_text, iso
from lakehouse.ingest.writing import QUARANTINE, STEP, Task, unreadable, write_all
from lakehouse.ops.steps import Report, StepContext
from lakehouse.settings import Settings
from lakehouse.storage.objects import ObjectStore, sha256_file

if TYPE_CHECKING:
    from lakehouse.storage.lake import Lake

CLOCK_STEP = dt.timedelta(microseconds=1)
"""Least distance of two batches' landing times, so that their order is strict whatever the clock does."""

Clock = Callable[[], dt.datetime]


@dataclass(slots=True)
class Outcome:
    """What one call landed, skipped and reported."""

    batches: list[Batch] = field(default_factory=list)
    already_count: int = 0
    not_data_count: int = 0
    reported: list[tuple[FoundFile, Entry]] = field(default_factory=list)
    """Files that were not landed, with the reason."""


def build_landing(ctx: StepContext) -> Report:
    """Land what is new in the input folder of the settings.

    Raises:
        SettingsError: no input folder is set, or a mapping is wrong.
        NotFoundError: the input folder does not exist, or the lake is empty and nothing in the folder can be landed.
    """
    if ctx.settings.input is None:
        raise SettingsError("There is no input folder: set CREATORLAKE_INPUT or run `make run INPUT=folder`.")
    mappings = load_mappings(ctx.settings.mappings_dir)
    report = land(ctx.lake.objects, ctx.settings.input, mappings=mappings, log=ctx.log, settings=ctx.settings)
    if not load_index(ctx.lake.objects).files:
        raise NotFoundError(
            f"Nothing in {ctx.settings.input} could be landed: no mapping claims any of its "
            f"{report.metadata['files_not_landed']:,} files; docs/ingest.md tells how to write one."
        )
    return report


def input_fingerprint(_lake: Lake, settings: Settings) -> str:
    """Changes when a file of the input folder or a mapping does; cheap, no file is read."""
    return "" if settings.input is None else fingerprint(settings.input, settings.mappings_dir)


def _now() -> dt.datetime:
    return dt.datetime.now(tz=dt.UTC)


def land(
    objects: ObjectStore,
    folder: Path,
    *,
    mappings: Sequence[Mapping],
    log: Callable[[str], None] = print,
    clock: Clock = _now,
    settings: Settings | None = None,
) -> Report:
    """Land the files of a folder that are not landed yet; everything else is counted and told.

    Args:
        objects: the lake's objects.
        folder: with the files.
        mappings: who may claim them.
        log: told of each landed file.
        clock: gives landing times.
        settings: of the lake; with them much input is read by several processes.

    Returns:
        Counts in rows; `by_source` likewise; `cursor.version` is the newest batch.
    """
    index = load_index(objects)
    outcome = Outcome()
    tasks = _plan(find_files(folder), mappings, index=index, outcome=outcome, clock=clock)
    for task, written in write_all(objects, tasks, settings):
        if isinstance(written, Entry):
            outcome.reported.append((task.found, written))
            continue
        crashpoint(point(STEP, AFTER_DATA))
        batch = replace(written, batch_seq=index.last_seq + 1)
        commit(objects, batch)
        index.add(batch)
        outcome.batches.append(batch)
        log(_line(batch))
    _report_files(objects, index, outcome, log=log, clock=clock)
    if outcome.batches:
        save_index(objects, index)
    return _report(outcome, index)


def _plan(
    files: Iterable[FoundFile], mappings: Sequence[Mapping], *, index: LandedIndex, outcome: Outcome, clock: Clock
) -> list[Task]:
    """What is to be written, in order of its landing times; what is not is noted in `outcome`."""
    tasks: list[Task] = []
    known = set(index.files)
    newest = index.last_landed_at
    for found in files:
        planned = _planned(found, mappings, landed_at=next_time(newest, clock), outcome=outcome)
        if isinstance(planned, Entry):
            outcome.reported.append((found, planned))
        elif planned is not None and planned.draft.key in known:
            outcome.already_count += 1
        elif planned is not None:
            tasks.append(planned)
            known.add(planned.draft.key)
            newest = planned.draft.landed_at
    return tasks


def _planned(
    found: FoundFile, mappings: Sequence[Mapping], *, landed_at: dt.datetime, outcome: Outcome
) -> Task | Entry | None:
    """The landing of one file, why there is none, or nothing where the file is known to hold no data."""
    if found.problem:
        return Entry(found.problem, detail=found.detail)
    try:
        claimed = claim(mappings, found.name, lambda mapping: peek_header(found.path, found.name, mapping))
        if claimed.mapping is None:
            return Entry("unclaimed", detail=claimed.detail)
        if not claimed.is_data:
            outcome.not_data_count += 1
            return None
        sha256 = sha256_file(found.path)
    except OSError as error:
        return unreadable(error)
    draft = Batch(
        batch_seq=0,
        landed_at=iso(landed_at),
        source_code=claimed.mapping.source,
        mapping_version=claimed.mapping.version,
        layout=claimed.layout.name if claimed.layout is not None else "",
        file_name=found.name,
        file_sha256=sha256,
        observed_at=_declared(claimed.mapping, found.name, iso(landed_at)),
    )
    return Task(found, claimed, draft)


def _declared(mapping: Mapping, name: str, landed_at: str) -> str:
    """The time of observation that the mapping declares for a file by its name; empty without one that is possible yet."""
    rules = observed_rules(mapping, name)
    texts = (declared_text(rule.date, rule.zone, landed_at) for rule in rules if rule.date is not None)
    return next(texts, None) or ""


def next_time(newest: str, clock: Clock) -> dt.datetime:
    """Now, but later than the newest landing time (ISO; empty for none)."""
    return max(clock(), dt.datetime.fromisoformat(newest) + CLOCK_STEP) if newest else clock()


def _report_files(
    objects: ObjectStore, index: LandedIndex, outcome: Outcome, *, log: Callable[[str], None], clock: Clock
) -> None:
    """One batch without records for all files that were not landed and not told of before."""
    fresh = [(found, entry) for found, entry in outcome.reported if _report_key(found, entry) not in index.reported]
    if not fresh:
        return
    landed_at = next_time(index.last_landed_at, clock)
    entries = QuarantineWriter(objects, QUARANTINE, UNCLAIMED, f"{UNCLAIMED}:{index.last_seq + 1}")
    for found, entry in fresh:
        entries.add(entry, found.name)
        if entry.reason_code != "unclaimed":
            log(f"{found.name}: {entry.reason_text}")
    batch = Batch(
        batch_seq=index.last_seq + 1,
        landed_at=iso(landed_at),
        source_code=UNCLAIMED,
        mapping_version=0,
        layout="",
        file_name="",
        file_sha256="",
        rows_in=0,
        rows_landed=0,
        rows_quarantined=0,
        fields_quarantined=len(fresh),
        quarantine=entries.close(""),
        reported=tuple(_report_key(found, entry) for found, entry in fresh),
    )
    commit(objects, batch)
    index.add(batch)
    outcome.batches.append(batch)
    unclaimed = [found.name for found, entry in fresh if entry.reason_code == "unclaimed"]
    if unclaimed:
        log(
            f"No mapping claims {len(unclaimed):,} files, for example {unclaimed[0]}; they are listed in the quarantine."
        )


def _report_key(found: FoundFile, entry: Entry) -> str:
    return f"{entry.reason_code}:{found.size}:{found.name}"


def _line(batch: Batch) -> str:
    stopped = f", {batch.rows_quarantined:,} quarantined" if batch.rows_quarantined else ""
    fields = f", {batch.fields_quarantined:,} fields noted" if batch.fields_quarantined else ""
    return f"{batch.source_code}: {batch.file_name}: {batch.rows_landed:,} rows landed{stopped}{fields}"


def _report(outcome: Outcome, index: LandedIndex) -> Report:
    files = [batch for batch in outcome.batches if batch.source_code != UNCLAIMED]
    by_source: dict[str, dict[str, int]] = {}
    for batch in files:
        counts = by_source.setdefault(batch.source_code, {"in": 0, "out": 0, "quarantined": 0, "duplicate": 0})
        counts["in"] += batch.rows_in
        counts["out"] += batch.rows_landed
        counts["quarantined"] += batch.rows_quarantined
    return Report(
        rows_in=sum(batch.rows_in for batch in files),
        rows_out=sum(batch.rows_landed for batch in files),
        rows_quarantined=sum(batch.rows_quarantined for batch in files),
        conserves=True,
        by_source=by_source,
        metadata={
            "files_landed": len(files),
            "files_already_landed": outcome.already_count,
            "files_not_data": outcome.not_data_count,
            "files_not_landed": len(outcome.reported),
            "records": sum(batch.records_count for batch in files),
            "fields_quarantined": sum(batch.fields_quarantined for batch in files),
            "batches": index.last_seq,
        },
        cursor={"version": index.last_seq},
    )
