"""One file, streamed: raw rows into landed records and quarantine entries. No row is lost, none is read twice.

Meaning comes from the mapping (`plan.py`), framing from `tabular.py` and `jsonrows.py`; values are not interpreted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from lakehouse.ingest.claims import Claim, file_format, observed_rules
from lakehouse.ingest.entries import Entry, shown, withheld
from lakehouse.ingest.header import Header
from lakehouse.ingest.jsonrows import JsonArrayReader, read_jsonl
from lakehouse.ingest.lines import LineReader
from lakehouse.ingest.mapping import Mapping
from lakehouse.ingest.plan import Made, Plan, RecordPlan, json_plan, known_positions, tabular_plan, with_rescued
from lakehouse.ingest.rows import RawRow
from lakehouse.ingest.tabular import TabularReader
from lakehouse.ingest.values import is_satisfied

DELIMITERS = {"csv": ",", "tsv": "\t"}


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

    def add(self, entry: Entry) -> None:
        """Count an entry; the rows that it withholds were read too."""
        self.rows_in += entry.rows_count
        self.rows_quarantined += entry.rows_count
        self.fields_quarantined += entry.rows_count == 0


@dataclass(slots=True)
class SourceFile:
    """A file of a claimed source, read once by iterating; `counts` is complete afterwards."""

    path: Path
    name: str
    claim: Claim
    landed_at: str
    counts: Counts = field(default_factory=Counts)
    _fallback_lines: int = 0

    def __iter__(self) -> Iterator[LandedRecord | Entry]:
        """Records and entries in file order.

        Raises:
            OSError: the file cannot be read.
        """
        for event in self._events():
            if isinstance(event, Entry):
                self.counts.add(event)
            else:
                self.counts.records += 1
            yield event

    def _events(self) -> Iterator[LandedRecord | Entry]:
        mapping = self.claim.mapping
        if mapping is None:
            return
        source = LineReader(self.path)
        rows = raw_rows(source, self.name, mapping)
        yield from self._withheld(rows, mapping) if self.claim.layout is None else self._landed(rows, mapping)
        if self._fallback_lines:
            yield Entry("fallback_encoding", detail=f"{self._fallback_lines} rows are concerned.")
        if source.damage:
            may_drop = self.claim.layout is not None and bool(self.claim.layout.drop)
            tail = (withheld if may_drop else shown)(source.tail) if source.tail else None
            yield Entry("damaged_gzip", source.lines_count + 1, None, tail, int(bool(source.tail)), f"{source.damage}.")

    def _withheld(self, rows: Iterator[RawRow], mapping: Mapping) -> Iterator[Entry]:
        """One entry for the whole file: its rows cannot be understood, or there are none."""
        is_tabular = (file_format(self.name, mapping) or "") in DELIMITERS
        count = sum(1 for _ in rows)
        reason = self.claim.reason_code if count else "empty_file"
        yield Entry(reason, rows_count=max(count - is_tabular, 0), detail=self.claim.detail if count else "")

    def _landed(self, rows: Iterator[RawRow], mapping: Mapping) -> Iterator[LandedRecord | Entry]:
        first = next(rows, None)
        if first is None or self.claim.layout is None:
            yield Entry("empty_file")
            return
        rules = observed_rules(mapping, self.name)
        if (file_format(self.name, mapping) or "") in DELIMITERS:
            header = Header(first.cells)
            yield from _header_entries(self.claim, header, is_partial=mapping.partial)
            plan = tabular_plan(self.claim.layout, rules, header, self.landed_at)
            yield from self._converted(rows, plan, header.names)
        else:
            plan = json_plan(self.claim.layout, rules, self.landed_at)
            yield from self._converted(chain((first,), rows), plan, ())

    def _converted(self, rows: Iterable[RawRow], plan: Plan, header: Sequence[str]) -> Iterator[LandedRecord | Entry]:
        seen_keys: set[str] = set()
        for row in rows:
            self._fallback_lines += row.encoding_index > 0
            yield from self._convert(row, plan, header, seen_keys)

    def _convert(
        self, row: RawRow, plan: Plan, header: Sequence[str], seen_keys: set[str]
    ) -> Sequence[LandedRecord | Entry]:
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
        new_keys = () if header else _new_keys(rescued, seen_keys, row.line_number)
        return (*_keyless(plan.records, made, row.line_number), *new_keys, *records)


def raw_rows(source: LineReader, name: str, mapping: Mapping) -> Iterator[RawRow]:
    """Rows of a file in the mapping's format; of a tabular file the first is the header."""
    form = file_format(name, mapping)
    if form in DELIMITERS:
        delimiter = mapping.delimiter or DELIMITERS[form]
        return iter(TabularReader(source, delimiter=delimiter, encodings=mapping.encoding))
    if form == "jsonl":
        return read_jsonl(source, mapping.encoding)
    return iter(JsonArrayReader(source.chunks(), path=mapping.json_path))


def peek_header(path: Path, name: str, mapping: Mapping) -> tuple[str, ...]:
    """Column names of a tabular file, or the keys of the first object of a JSON file; empty where there are none.

    Raises:
        OSError: the file cannot be read.
    """
    rows = raw_rows(LineReader(path), name, mapping)
    is_tabular = (file_format(name, mapping) or "") in DELIMITERS
    for row in rows:
        if row.cells is not None or is_tabular:
            return tuple(row.cells or ())
    return ()


def _header_entries(claim: Claim, header: Header, *, is_partial: bool) -> Iterator[Entry]:
    """One entry for each column that only the file has, and for each that only the mapping has."""
    if claim.layout is None or claim.mapping is None:
        return
    known = known_positions(claim.layout, claim.mapping.observed_at, header)
    for position, name in enumerate(header.names):
        if position not in known:
            yield Entry("unknown_header", 1, name, f"column {position + 1}")
    if is_partial:
        return
    for record in claim.layout.records:
        for name, source in record.fields.items():
            if not is_satisfied(source, header):
                yield Entry("missing_column", 1, name)


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
