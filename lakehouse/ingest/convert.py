"""A raw row into landed records or a reason, by the plan of its file. The same for files and for answers of platforms."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lakehouse.ingest.entries import Entry, shown, withheld
from lakehouse.ingest.plan import Made, Plan, RecordPlan, with_rescued
from lakehouse.ingest.rows import RawRow


class LandedRecord(NamedTuple):
    """One record of a row, values raw."""

    record_type: str
    platform: str
    observed_at: str
    line_number: int
    payload: dict[str, Any]


@dataclass(slots=True)
class Counts:
    """What became of a file's rows. `rows_in == rows_landed + rows_quarantined` at the end of the file."""

    rows_in: int = 0
    rows_landed: int = 0
    rows_quarantined: int = 0
    fields_quarantined: int = 0
    records: int = 0

    def counted(self, items: Iterable[LandedRecord | Entry]) -> Iterator[LandedRecord | Entry]:
        """The same items; entries and records are counted as they pass, rows that land where they are converted."""
        for item in items:
            if isinstance(item, Entry):
                self.add(item)
            else:
                self.records += 1
            yield item

    def add(self, entry: Entry) -> None:
        """Count an entry; the rows that it withholds were read too."""
        self.rows_in += entry.rows_count
        self.rows_quarantined += entry.rows_count
        self.fields_quarantined += entry.rows_count == 0


@dataclass(slots=True)
class Converter:
    """Converts the rows of one plan and counts them; of a tabular file `header` names the cells."""

    plan: Plan
    counts: Counts
    header: Sequence[str] = ()
    _seen_keys: set[str] = field(default_factory=set)

    def convert(self, row: RawRow) -> Sequence[LandedRecord | Entry]:
        """The records of a row, or the entry that says why there is none; a row that lands is counted here."""
        plan, header = self.plan, self.header
        if plan.trim is not None and row.cells is not None:
            row.cells = plan.trim(row.cells)
        if problem := _row_problem(row):
            return (Entry(problem, row.line_number, None, _shown_row(row, plan, header), 1, row.detail),)
        observed_at = plan.observed_at(row.cells)
        if not observed_at:
            return (Entry("bad_observed_at", row.line_number, "observed_at", _shown_row(row, plan, header), 1),)
        made = [record.make(row.cells) for record in plan.records]
        standing = [one for one in made if not one.problem]
        if not standing:
            worst = made[0]
            return (Entry(worst.problem, row.line_number, worst.culprit or None, _shown_row(row, plan, header), 1),)
        self.counts.rows_in += 1
        self.counts.rows_landed += 1
        rescued = plan.rescue(row.cells)
        records = _landed_records(standing, rescued, observed_at, row.line_number)
        if len(standing) == len(made) and (header or not rescued):
            return records
        new_keys = () if header else _new_keys(rescued, self._seen_keys, row.line_number)
        return (*_keyless(plan.records, made, row.line_number), *new_keys, *records)


def _row_problem(row: RawRow) -> str:
    if row.problem:
        return row.problem
    cells = row.cells.values() if isinstance(row.cells, dict) else row.cells
    for cell in cells:
        if cell.strip() if isinstance(cell, str) else cell not in (None, [], {}):
            return ""
    return "empty_row"


def _shown_row(row: RawRow, plan: Plan, header: Sequence[str]) -> str:
    """The row for an entry, without dropped columns; where those cannot be cut out, only its size and hash."""
    if not plan.may_drop:
        return shown(row.raw)
    if row.cells is None:
        return withheld(row.raw)
    if isinstance(row.cells, dict):
        return shown(json.dumps(row.cells, ensure_ascii=False))
    cells = enumerate(zip(header, row.cells, strict=False))
    return shown(json.dumps(dict(cell for at, cell in cells if at not in plan.dropped), ensure_ascii=False))


def _keyless(plans: Sequence[RecordPlan], made: Sequence[Made], line_number: int) -> Iterator[Entry]:
    """One entry for each record that the row lacks, unless it may."""
    for plan, one in zip(plans, made, strict=True):
        if one.problem and not (plan.record.optional and one.problem == "no_account_key"):
            yield Entry("record_without_key", line_number, one.culprit or None, detail=f"It is a {one.record_type}.")


def _new_keys(rescued: dict[str, Any], seen: set[str], line_number: int) -> Iterator[Entry]:
    """JSON has no header: a key is unknown at the first record that carries it."""
    for name in rescued:
        if name not in seen:
            seen.add(name)
            yield Entry("unknown_header", line_number, name)


def _landed_records(
    standing: Sequence[Made], rescued: dict[str, Any], observed_at: str, line_number: int
) -> list[LandedRecord]:
    """The records of a row; the first carries the rescued columns."""
    records = [LandedRecord(one.record_type, one.platform, observed_at, line_number, one.payload) for one in standing]
    if rescued:
        records[0] = records[0]._replace(payload=with_rescued(records[0].payload, rescued))
    return records
