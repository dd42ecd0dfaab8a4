"""A source of the mapping as a function from row to raw value. Missing is None; nothing is interpreted but what is declared."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from lakehouse.ingest.header import Getter, Header, Lookup, Place, Row
from lakehouse.ingest.mapping import Column, First, Gather, Source, Text, Time
from lakehouse.ingest.times import utc_text

Finisher = Callable[[str, str], Any]
"""What happens to a present value: takes it as read and stripped."""
Reader = Callable[[Any], Any]
"""What a column makes of a present value; None where that counts as missing."""
Cells = dict[Place, tuple[str, Reader | None]]
"""Places of cells to the field that each fills, and its reader; None instead of one that changes nothing."""


def source_columns(source: Source) -> set[tuple[str, int]]:
    """Every (header, occurrence) that a source names."""
    if isinstance(source, Column):
        return {(source.column, source.at), *((name, 1) for name in source.unless)}
    if isinstance(source, Text):
        return {(name, 1) for name in source.headers}
    parts = source.first if isinstance(source, First) else source.all
    return set().union(*(source_columns(part) for part in parts))


def is_satisfied(source: Source, header: Header) -> bool:
    """Whether the file has the columns that the source needs."""
    if isinstance(source, First):
        return any(is_satisfied(part, header) for part in source.first)
    if isinstance(source, Gather):
        return all(is_satisfied(part, header) for part in source.all)
    if isinstance(source, Column):
        return header.position(source.column, source.at) is not None
    return all(header.position(name, at) is not None for name, at in source_columns(source))


def plain_column(name: str) -> Column:
    """The short form of a column."""
    return Column.model_validate({"column": name})


def compile_source(source: Source, lookup: Lookup, missing: frozenset[str]) -> Getter | None:
    """A reader of the source's value: None where it is missing; None instead of a reader where the columns are."""
    if isinstance(source, Column):
        getter = lookup(source.column, source.at)
        if getter is None:
            return None
        return _unless(_column_getter(getter, column_reader(source, missing)), source.unless, lookup)
    if isinstance(source, Text):
        return _text_getter(source, lookup, missing)
    parts = source.first if isinstance(source, First) else source.all
    getters = [getter for part in parts if (getter := compile_source(part, lookup, missing)) is not None]
    if not getters:
        return None
    return first_getter(getters) if isinstance(source, First) else _gather_getter(getters)


def list_reader(cells: Cells) -> Getter:
    """Reader of all these cells of a tabular row, which are texts: field to value."""
    ordered = [(place, name, read) for place, (name, read) in cells.items()]

    def fields_of(row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for place, name, read in ordered:
            cell = row[place]
            if cell.strip() and (value := cell if read is None else read(cell)) is not None:
                found[name] = value
        return found

    return fields_of


def object_reader(cells: Cells) -> Getter:
    """Reader of all these cells of a JSON object: it walks the keys that the object has, not all that it might have."""
    target_at = cells.get

    def fields_of(row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, cell in row.items():
            if (target := target_at(key)) is None:
                continue
            name, read = target
            value = cell if type(cell) is str and cell.strip() else present(cell)
            if value is not None and (read is None or (value := read(value)) is not None):
                found[name] = value
        return found

    return fields_of


def present(cell: Any) -> Any:
    """The cell as it was read, a JSON boolean as it was written; None where it is empty."""
    if type(cell) is str:
        return cell if cell.strip() else None
    if cell is None or isinstance(cell, list | dict):
        return cell or None
    return str(cell).lower()


def column_reader(column: Column, missing: frozenset[str]) -> Reader | None:
    """The reader of a column; None for the many that keep their values as they are."""
    tokens = missing | {token.casefold() for token in column.missing}
    finish = _finisher(column)
    if not tokens and finish is None:
        return None

    def value_of(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        bare = value.strip()
        if tokens and bare.casefold() in tokens:
            return None
        return value if finish is None else finish(value, bare)

    return value_of


def _column_getter(get: Getter, read: Reader | None) -> Getter:
    if read is None:
        return lambda row: present(get(row))

    def value_of(row: Row) -> Any:
        value = present(get(row))
        return None if value is None else read(value)

    return value_of


def _unless(get: Getter, unless: dict[str, str], lookup: Lookup) -> Getter:
    """The reader, with no value for rows that have one of these values."""
    found = [(other, value.casefold()) for name, value in unless.items() if (other := lookup(name, 1)) is not None]
    if not found:
        return get

    def value_of(row: Row) -> Any:
        is_void = any(str(present(other(row)) or "").strip().casefold() == value for other, value in found)
        return None if is_void else get(row)

    return value_of


def _finisher(column: Column) -> Finisher | None:
    """The steps of a column after the missing test, or None when there are none."""
    steps = _steps(column)
    match = re.compile(column.match) if column.match else None
    not_match = re.compile(column.not_match) if column.not_match else None
    if not steps and match is None and not_match is None:
        return None

    def finish(text: str, bare: str) -> Any:
        if (match and not match.fullmatch(bare)) or (not_match and not_match.fullmatch(bare)):
            return None
        value: Any = text
        for step in steps:
            value = step(value, bare)
        return value

    return finish


def _steps(column: Column) -> list[Finisher]:
    steps: list[Finisher] = []
    if column.values:
        steps.append(lambda text, bare: column.values.get(bare, text))
    if column.time is not None:
        steps.append(_time_step(column.time))
    if column.split is not None or column.labels:
        steps.append(_list_step(column))
    return steps


def _time_step(time: Time) -> Finisher:
    return lambda text, _bare: utc_text(text, time.format, time.zone) or text


def _list_step(column: Column) -> Finisher:
    """Cut a text into a list: at the separator (or line breaks), then between glued labels."""
    cut = _label_pattern(column.labels) if column.labels else None

    def pieces(text: str, _bare: str) -> list[str] | None:
        parts = text.split(column.split) if column.split else text.splitlines()
        if cut is not None:
            parts = [piece for part in parts for piece in cut.split(part)]
        return [piece.strip() for piece in parts if piece.strip()] or None

    return pieces


def _label_pattern(labels: tuple[str, ...]) -> re.Pattern[str]:
    """Longest label first; a label ends where no small letter follows, or where a label written small begins."""
    ordered = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    small = "|".join(re.escape(label) for label in labels if label[:1].islower())
    return re.compile(rf"({ordered})(?=$|[^a-zß-öø-ÿ]{'|' + small if small else ''})")


def _text_getter(source: Text, lookup: Lookup, missing: frozenset[str]) -> Getter | None:
    getters = {name: compile_source(plain_column(name), lookup, missing) for name in source.headers}
    if any(getter is None for getter in getters.values()):
        return None
    time = source.time

    def value_of(row: Row) -> str | None:
        text = source.text
        for name, getter in getters.items():
            value = getter(row) if getter else None
            if value is None:
                return None
            text = text.replace(f"{{{name}}}", str(value).strip())
        return (utc_text(text, time.format, time.zone) or text) if time else text

    return value_of


def first_getter(getters: Sequence[Getter]) -> Getter:
    """Reader of the first value there is."""

    def value_of(row: Row) -> Any:
        for getter in getters:
            value = getter(row)
            if value is not None:
                return value
        return None

    return value_of


def _gather_getter(getters: Sequence[Getter]) -> Getter:
    def value_of(row: Row) -> list[Any] | None:
        found: list[Any] = []
        for getter in getters:
            value = getter(row)
            found += [] if value is None else value if isinstance(value, list) else [value]
        return [value for position, value in enumerate(found) if value not in found[:position]] or None

    return value_of
