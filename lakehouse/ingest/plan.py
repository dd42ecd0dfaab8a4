"""A layout bound to the header of one file: a row goes in, records come out. Values stay raw.

Columns are looked up once per file, so that a row costs one closure call per field.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lakehouse.contracts.payload import ACCOUNT_KEYS, RECORD_KEYS, RESCUED
from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.ingest.mapping import Column, First, Gather, Layout, Link, ObservedAt, Record, Source, Text
from lakehouse.ingest.times import as_moment, iso, utc_text

Row = Any
"""A list of cells (tabular files) or a dict (JSON)."""
Getter = Callable[[Row], Any]
Lookup = Callable[[str, int], Getter | None]
"""Header and occurrence to a reader of raw values; None when the file has no such column."""

VERBATIM_FIELDS = frozenset(
    {"platform_account_id", "account_id", "post_id", "handle", "display_name", "other_names", "account_name", "title"}
    | {"caption", "bio"}
)
"""Fields whose missing value is only the empty one: an account may be called N/A, or nan."""


def normal(header: str) -> str:
    """A header without differences of case and white space (line breaks too)."""
    return " ".join(header.split()).casefold()


class Header:
    """Positions of a tabular file's columns. The exact spelling wins over the normalised one."""

    def __init__(self, names: Sequence[str]) -> None:
        """Index the names as they are in the file."""
        self.names = tuple(names)
        self._exact: dict[str, list[int]] = defaultdict(list)
        self._normal: dict[str, list[int]] = defaultdict(list)
        for position, name in enumerate(names):
            self._exact[name].append(position)
            self._normal[normal(name)].append(position)

    def positions(self, name: str) -> list[int]:
        """All columns of that header, left to right."""
        return self._exact.get(name) or self._normal.get(normal(name), [])

    def position(self, name: str, at: int) -> int | None:
        """The `at`-th column (from 1) of that header."""
        found = self.positions(name)
        return found[at - 1] if len(found) >= at else None

    def lookup(self, name: str, at: int) -> Getter | None:
        """Reader of that column's cells."""
        position = self.position(name, at)
        return None if position is None else lambda row: row[position]


def json_lookup(name: str, _at: int) -> Getter:
    """Reader of a key of a JSON object: the key itself, else a dotted path."""
    path = name.split(".")
    if len(path) == 1:
        return lambda row: row.get(name)

    def get(row: Row) -> Any:
        if name in row:
            return row[name]
        value = row
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    return get


def columns_of(layout: Layout) -> set[tuple[str, int]]:
    """Every (header, occurrence) that the layout's records name."""
    named: set[tuple[str, int]] = set()
    for record in layout.records:
        if isinstance(record.platform, Column):
            named |= source_columns(record.platform)
        for source in (*record.fields.values(), *_link_sources(record.links)):
            named |= source_columns(source)
    return named


def source_columns(source: Source) -> set[tuple[str, int]]:
    """Every (header, occurrence) that a source names."""
    if isinstance(source, Column):
        return {(source.column, source.at)}
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
    return all(header.position(name, at) is not None for name, at in source_columns(source))


def compile_source(source: Source, lookup: Lookup, missing: frozenset[str]) -> Getter | None:
    """A reader of the source's value: None where it is missing; None instead of a reader where the columns are."""
    if isinstance(source, Column):
        getter = lookup(source.column, source.at)
        return None if getter is None else _column_getter(source, getter, missing)
    if isinstance(source, Text):
        return _text_getter(source, lookup, missing)
    parts = source.first if isinstance(source, First) else source.all
    getters = [getter for part in parts if (getter := compile_source(part, lookup, missing)) is not None]
    if not getters:
        return None
    return _first_getter(getters) if isinstance(source, First) else _gather_getter(getters)


def _column_getter(column: Column, get: Getter, missing: frozenset[str]) -> Getter:
    tokens = missing | {token.casefold() for token in column.missing}
    finish = _finisher(column)

    def value_of(row: Row) -> Any:
        value = get(row)
        if value is None or isinstance(value, list | dict):
            return value or None
        text = value if isinstance(value, str) else str(value).lower()
        bare = text.strip()
        if not bare or bare.casefold() in tokens:
            return None
        return text if finish is None else finish(text, bare)

    return value_of


def _finisher(column: Column) -> Callable[[str, str], Any] | None:
    """What happens to a present value, or None when it stays as it is."""
    steps: list[Callable[[str, str], Any]] = []
    match = re.compile(column.match) if column.match else None
    not_match = re.compile(column.not_match) if column.not_match else None
    if column.values:
        steps.append(lambda text, bare: column.values.get(bare, text))
    if (time := column.time) is not None:
        steps.append(lambda text, _bare: utc_text(text, time.format, time.zone) or text)
    if column.split is not None or column.labels:
        steps.append(lambda text, _bare: _pieces(text, column.split, column.labels))
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


def _pieces(text: str, separator: str | None, labels: tuple[str, ...]) -> list[str] | None:
    parts = text.split(separator) if separator else text.splitlines()
    if labels:
        cut = _label_pattern(labels)
        parts = [piece for part in parts for piece in cut.split(part)]
    return [piece.strip() for piece in parts if piece.strip()] or None


def _label_pattern(labels: tuple[str, ...]) -> re.Pattern[str]:
    """Longest label first; a label ends where no small letter follows, or where a label written small begins."""
    ordered = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    small = "|".join(re.escape(label) for label in labels if label[:1].islower())
    return re.compile(rf"({ordered})(?=$|[^a-zß-öø-ÿ]{'|' + small if small else ''})")


def _text_getter(source: Text, lookup: Lookup, missing: frozenset[str]) -> Getter | None:
    getters = {name: compile_source(Column(column=name), lookup, missing) for name in source.headers}
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


def _first_getter(getters: Sequence[Getter]) -> Getter:
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


@dataclass(frozen=True, slots=True)
class Made:
    """One record made from a row; `problem` is a reason code where its key is missing, `culprit` the field or value."""

    record_type: str
    platform: str
    payload: dict[str, Any]
    problem: str = ""
    culprit: str = ""


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """One record of the layout, bound to a file."""

    record: Record
    platform: Getter
    fields: tuple[tuple[str, Getter], ...]
    links: tuple[Getter, ...]
    required: tuple[str, ...]
    constants: Mapping[str, str]

    def make(self, row: Row) -> Made:
        """The record of a row, with the reason if it cannot stand."""
        payload = {name: value for name, get in self.fields if (value := get(row)) is not None}
        platform = self.platform(row)
        problem, culprit = self._problem(payload, platform)
        links = [link for get in self.links for link in get(row)]
        if links:
            payload["links"] = [*_as_list(payload.get("links")), *links]
        return Made(self.record.type, str(platform), self.constants | payload, problem, culprit)

    def _problem(self, payload: Mapping[str, Any], platform: object) -> tuple[str, str]:
        if not any(name in payload for name in ACCOUNT_KEYS[self.record.type]):
            return "no_account_key", ""
        for name in (*RECORD_KEYS[self.record.type], *self.required):
            if name not in payload:
                return "missing_required_value", name
        return ("", "") if platform in PLATFORMS else ("unknown_platform", str(platform or ""))


@dataclass(frozen=True, slots=True)
class Plan:
    """A layout bound to a file: how to read every record and the time of a row."""

    records: tuple[RecordPlan, ...]
    observed_at: Callable[[Row], str | None]
    rescue: Callable[[Row], dict[str, Any]]
    dropped: frozenset[str] = field(default_factory=frozenset)


def tabular_plan(layout: Layout, rules: Iterable[ObservedAt], header: Header, landed_at: str) -> Plan:
    """Bind a layout to a header. `rules` are those that apply to the file, `landed_at` the time of landing (ISO)."""
    rules = tuple(rules)
    known = known_positions(layout, rules, header)
    extra = [(_unique_name(header, position), position) for position in range(len(header.names)) if position not in known]

    def rescue(row: Row) -> dict[str, Any]:
        return {name: row[position] for name, position in extra if row[position].strip()}

    dropped = frozenset(header.names[position] for name in layout.drop for position in header.positions(name))
    return Plan(_record_plans(layout, header.lookup, ()), _observed(rules, header.lookup, landed_at), rescue, dropped)


def json_plan(layout: Layout, rules: Iterable[ObservedAt], landed_at: str) -> Plan:
    """Bind a layout to JSON objects, whose keys may differ from record to record; required values are judged by record."""
    rules = tuple(rules)
    names = {name for name, _ in columns_of(layout)} | {rule.column for rule in rules if rule.column}
    known = {part for name in names | set(layout.ignore) | set(layout.drop) for part in (name, name.split(".")[0])}

    def rescue(row: Row) -> dict[str, Any]:
        return {name: value for name, value in row.items() if name not in known and value not in (None, "", [], {})}

    records = _record_plans(layout, json_lookup, layout.required)
    return Plan(records, _observed(rules, json_lookup, landed_at), rescue, frozenset(layout.drop))


def known_positions(layout: Layout, rules: Iterable[ObservedAt], header: Header) -> set[int]:
    """Columns that the layout uses, ignores or drops."""
    named = columns_of(layout) | {(rule.column, 1) for rule in rules if rule.column}
    used = {position for name, at in named if (position := header.position(name, at)) is not None}
    return used.union(*(header.positions(name) for name in (*layout.ignore, *layout.drop)))


def _unique_name(header: Header, position: int) -> str:
    """The header, with its occurrence where it repeats."""
    name = header.names[position]
    earlier = header.names[:position].count(name)
    return f"{name}#{earlier + 1}" if earlier else name


def _record_plans(layout: Layout, lookup: Lookup, required: Sequence[str]) -> tuple[RecordPlan, ...]:
    tokens = frozenset(token.strip().casefold() for token in layout.missing)
    return tuple(_record_plan(record, lookup, tokens, required) for record in layout.records)


def _record_plan(record: Record, lookup: Lookup, tokens: frozenset[str], required: Sequence[str]) -> RecordPlan:
    compiled = {
        name: compile_source(source, lookup, frozenset() if name in VERBATIM_FIELDS else tokens)
        for name, source in record.fields.items()
    }
    return RecordPlan(
        record=record,
        platform=_platform(record.platform, lookup),
        fields=tuple((name, getter) for name, getter in compiled.items() if getter is not None),
        links=tuple(_link_getter(link, lookup, tokens) for link in record.links),
        required=tuple(name for name in required if name in record.fields),
        constants=record.constants,
    )


def _platform(platform: str | Column, lookup: Lookup) -> Getter:
    if isinstance(platform, str):
        return lambda _row: platform
    get = lookup(platform.column, platform.at)
    aliases = {alias.casefold(): code for alias, code in platform.values.items()}

    def code_of(row: Row) -> str:
        text = str((get(row) if get else None) or "").strip().casefold()
        return aliases.get(text, text)

    return code_of


def _link_sources(links: Iterable[Link]) -> list[Source]:
    return [source for link in links for source in (link.target, link.url, link.urls) if source is not None]


def _link_getter(link: Link, lookup: Lookup, tokens: frozenset[str]) -> Getter:
    """Reader of a list of links: plain addresses, or one {platform, target, url} without its missing parts."""
    if link.urls is not None:
        urls = compile_source(link.urls, lookup, tokens)
        return lambda row: _as_list(urls(row)) if urls else []
    sources = {"target": link.target, "url": link.url}
    compiled = {
        name: getter
        for name, source in sources.items()
        if source is not None and (getter := compile_source(source, lookup, tokens)) is not None
    }

    def links_of(row: Row) -> list[Any]:
        found = {name: value for name, get in compiled.items() if (value := get(row)) is not None}
        return [{"platform": link.platform} | found] if found else []

    return links_of


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _observed(rules: Sequence[ObservedAt], lookup: Lookup, landed_at: str) -> Callable[[Row], str | None]:
    """The first rule that has a value; "" where a value does not have its format, None where no rule has one."""
    getters = [_observed_rule(rule, lookup, landed_at) for rule in rules]
    return _first_getter([getter for getter in getters if getter is not None])


def _observed_rule(rule: ObservedAt, lookup: Lookup, landed_at: str) -> Getter | None:
    if rule.column is None:
        constant = iso(as_moment(rule.date, rule.zone)) if rule.date is not None else landed_at
        return lambda _row: constant
    get = compile_source(Column(column=rule.column), lookup, frozenset())
    if get is None:
        return None

    def value_of(row: Row) -> str | None:
        text = get(row)
        return None if text is None else utc_text(str(text), rule.format, rule.zone) or ""

    return value_of


def with_rescued(payload: dict[str, Any], rescued: Mapping[str, Any]) -> dict[str, Any]:
    """The payload with unknown columns kept beside the known ones."""
    return payload | {RESCUED: dict(rescued)} if rescued else payload
