"""One file, streamed: raw rows into landed records and quarantine entries. No row is lost, none is read twice.

Meaning comes from the mapping (`plan.py`), framing from `tabular.py` and `jsonrows.py`; values are not interpreted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from lakehouse.ingest.claims import Claim, file_format, observed_rules
from lakehouse.ingest.convert import Converter, Counts, LandedRecord
from lakehouse.ingest.entries import Entry, shown, withheld
from lakehouse.ingest.header import Header
from lakehouse.ingest.jsonrows import JsonArrayReader, read_jsonl
from lakehouse.ingest.lines import LineReader
from lakehouse.ingest.mapping import Mapping
from lakehouse.ingest.plan import Plan, json_plan, known_positions, tabular_plan
from lakehouse.ingest.rows import RawRow
from lakehouse.ingest.tabular import TabularReader
from lakehouse.ingest.values import is_satisfied

DELIMITERS = {"csv": ",", "tsv": "\t"}


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
        yield from self.counts.counted(self._events())

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
        converter = Converter(plan, self.counts, header)
        for row in rows:
            self._fallback_lines += row.encoding_index > 0
            yield from converter.convert(row)


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
