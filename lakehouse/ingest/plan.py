"""A layout bound to the header of one file: a row goes in, records come out. Values stay raw.

Columns are looked up once per file. A row then costs one call for each of its cells that a field takes as a whole, and one
for each field that is made of several, or of a path.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from lakehouse.contracts.payload import ACCOUNT_KEYS, RECORD_KEYS, RESCUED
from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.ingest.header import Getter, Header, JsonPaths, Lookup, Place, Row, json_lookup, json_place
from lakehouse.ingest.mapping import Column, Layout, Link, ObservedAt, Record, Requirement, Source
from lakehouse.ingest.times import declared_text, observed_text
from lakehouse.ingest.values import (
    Cells,
    column_reader,
    compile_source,
    first_getter,
    list_reader,
    object_reader,
    plain_column,
    present,
    source_columns,
)

VERBATIM_FIELDS = frozenset(
    {"platform_account_id", "account_id", "post_id", "handle", "display_name", "other_names", "account_name", "title"}
    | {"caption", "bio"}
)
"""Fields whose missing value is only the empty one: an account may be called N/A, or nan."""
CACHED_PLATFORMS = 256
"""Spellings of platforms remembered for a file: a handful, unless the column holds something else."""


def columns_of(layout: Layout) -> set[tuple[str, int]]:
    """Every (header, occurrence) that the layout's records name."""
    named: set[tuple[str, int]] = set()
    for record in layout.records:
        if isinstance(record.platform, Column):
            named |= source_columns(record.platform)
        for source in (*record.fields.values(), *_link_sources(record.links)):
            named |= source_columns(source)
    return named


@dataclass(frozen=True, slots=True)
class Format:
    """How the rows of a file are read: any column by a getter, many whole cells at once."""

    lookup: Lookup
    place: Callable[[str, int], Place | None]
    reader: Callable[[Cells], Getter]


JSON = Format(json_lookup, json_place, object_reader)


class Made(NamedTuple):
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
    whole: Getter
    """Reads the fields that are one cell each, as a dict."""
    fields: tuple[tuple[str, Getter], ...]
    """The others."""
    links: tuple[Getter, ...]
    keys: frozenset[str]
    """Fields of which the record needs one."""
    required: tuple[str, ...]
    """Fields of which it needs each."""
    required_if: tuple[tuple[Callable[[Row], bool], tuple[str, ...]], ...] = ()
    """Further ones, of rows that a test holds for."""

    def make(self, row: Row) -> Made:
        """The record of a row, with the reason if it cannot stand."""
        payload = self.whole(row)
        for name, get in self.fields:
            if (value := get(row)) is not None:
                payload[name] = value
        platform = str(self.platform(row))
        problem, culprit = self._problem(payload, platform, row)
        if self.links:
            self._link(payload, row)
        constants = self.record.constants
        return Made(self.record.type, platform, constants | payload if constants else payload, problem, culprit)

    def _problem(self, payload: dict[str, Any], platform: str, row: Row) -> tuple[str, str]:
        if self.keys.isdisjoint(payload):
            return "no_account_key", ""
        for name in self._required(row):
            if name not in payload:
                return "missing_required_value", name
        return ("", "") if platform in PLATFORMS else ("unknown_platform", platform)

    def _required(self, row: Row) -> Sequence[str]:
        if not self.required_if:
            return self.required
        return (*self.required, *chain.from_iterable(names for holds, names in self.required_if if holds(row)))

    def _link(self, payload: dict[str, Any], row: Row) -> None:
        links = [link for get in self.links for link in get(row)]
        if links:
            payload["links"] = [*_as_list(payload.get("links")), *links]


@dataclass(frozen=True, slots=True)
class Plan:
    """A layout bound to a file: how to read every record and the time of a row, and what is left of it to keep and show.

    `trim` takes the dropped keys out of a JSON object before anything reads it; a tabular row keeps its cells, of which those
    at `dropped` are not shown.
    """

    records: tuple[RecordPlan, ...]
    observed_at: Callable[[Row], str | None]
    rescue: Callable[[Row], dict[str, Any]]
    dropped: frozenset[int] = frozenset()
    trim: Callable[[Row], Row] | None = None

    @property
    def may_drop(self) -> bool:
        """Whether a row may hold what must not be shown."""
        return bool(self.dropped) or self.trim is not None


def tabular_plan(layout: Layout, rules: Iterable[ObservedAt], header: Header, landed_at: str) -> Plan:
    """Bind a layout to a header. `rules` are those that apply to the file, `landed_at` the time of landing (ISO)."""
    rules = tuple(rules)
    known = known_positions(layout, rules, header)
    extra = [
        (_unique_name(header, position), position) for position in range(len(header.names)) if position not in known
    ]

    def rescue(row: Row) -> dict[str, Any]:
        return {name: row[position] for name, position in extra if row[position].strip()}

    return Plan(
        records=_record_plans(layout, Format(header.lookup, header.position, list_reader), ()),
        observed_at=_observed(rules, header.lookup, landed_at),
        rescue=rescue,
        dropped=frozenset(position for name in layout.drop for position in header.spellings(name)),
    )


def json_plan(layout: Layout, rules: Iterable[ObservedAt], landed_at: str) -> Plan:
    """Bind a layout to JSON objects, whose keys may differ from record to record; required values are judged by record."""
    rules = tuple(rules)
    names = {name for name, _ in columns_of(layout)} | {rule.column for rule in rules if rule.column}
    known = names | set(layout.ignore)
    parents = {name[:at] for name in known for at, sign in enumerate(name) if sign == "."}

    def rescue(row: Row) -> dict[str, Any]:
        return {} if known.issuperset(row) else dict(_unknown_leaves(row, "", known, parents))

    return Plan(
        records=_record_plans(layout, JSON, layout.required, layout.required_if),
        observed_at=_observed(rules, json_lookup, landed_at),
        rescue=rescue,
        trim=_trim(JsonPaths(layout.drop), known),
    )


def _trim(dropped: JsonPaths, known: Iterable[str]) -> Callable[[Row], Row] | None:
    """Takes the dropped keys out; a row with none but known keys that are off their paths passes as it is."""
    if not dropped:
        return None
    kept = frozenset(key for key in known if dropped.are_off((key,)))
    return lambda row: row if kept.issuperset(row) else dropped.without(row)


def _unknown_leaves(row: Row, above: str, known: Container[str], parents: Container[str]) -> Iterator[tuple[str, Any]]:
    """Paths and values that nothing names; an object of which a part is known is searched, any other is one value."""
    for key, value in row.items():
        path = f"{above}{key}"
        if path in known or value in (None, "", [], {}):
            continue
        if path in parents and isinstance(value, dict):
            yield from _unknown_leaves(value, f"{path}.", known, parents)
        else:
            yield path, value


def known_positions(layout: Layout, rules: Iterable[ObservedAt], header: Header) -> set[int]:
    """Columns that the layout uses, ignores or drops."""
    named = columns_of(layout) | {(rule.column, 1) for rule in rules if rule.column}
    used = {position for name, at in named if (position := header.position(name, at)) is not None}
    ignored = {position for name in layout.ignore for position in header.positions(name)}
    return used | ignored | {position for name in layout.drop for position in header.spellings(name)}


def _unique_name(header: Header, position: int) -> str:
    """The header, with its occurrence where it repeats."""
    name = header.names[position]
    earlier = header.names[:position].count(name)
    return f"{name}#{earlier + 1}" if earlier else name


def _record_plans(
    layout: Layout, form: Format, required: Sequence[str], required_if: Sequence[Requirement] = ()
) -> tuple[RecordPlan, ...]:
    tokens = frozenset(token.strip().casefold() for token in layout.missing)
    return tuple(_record_plan(record, form, tokens, required, required_if) for record in layout.records)


def _record_plan(
    record: Record, form: Format, tokens: frozenset[str], required: Sequence[str], required_if: Sequence[Requirement]
) -> RecordPlan:
    whole, fields = _bound(record, form, tokens)
    return RecordPlan(
        record=record,
        platform=_platform(record.platform, form.lookup),
        whole=form.reader(whole),
        fields=fields,
        links=tuple(_link_getter(link, form.lookup, tokens) for link in record.links),
        keys=frozenset(record.needs or ACCOUNT_KEYS[record.type]),
        required=(*RECORD_KEYS[record.type], *(name for name in required if name in record.fields)),
        required_if=tuple((_holds(one), tuple(n for n in one.fields if n in record.fields)) for one in required_if),
    )


def _holds(requirement: Requirement) -> Callable[[Row], bool]:
    """Whether a JSON row has a value, or the one that is named, under the header."""
    get, value = json_lookup(requirement.column, 1), requirement.value.casefold()

    def holds(row: Row) -> bool:
        found = present(get(row))
        return found is not None and (not value or str(found).strip().casefold() == value)

    return holds


def _bound(record: Record, form: Format, tokens: frozenset[str]) -> tuple[Cells, tuple[tuple[str, Getter], ...]]:
    """The record's fields: those that take a whole cell, each a cell of its own, and getters of all others."""
    whole: Cells = {}
    others: dict[str, Getter] = {}
    for name, source in record.fields.items():
        missing = frozenset() if name in VERBATIM_FIELDS else tokens
        cell = source if isinstance(source, Column) and not source.unless else None
        place = form.place(cell.column, cell.at) if cell is not None else None
        if cell is not None and place is not None and place not in whole:
            whole[place] = (name, column_reader(cell, missing))
        elif (getter := compile_source(source, form.lookup, missing)) is not None:
            others[name] = getter
    return whole, tuple(others.items())


def _platform(platform: str | Column, lookup: Lookup) -> Getter:
    if isinstance(platform, str):
        return lambda _row: platform
    get = lookup(platform.column, platform.at)
    aliases = {alias.casefold(): code for alias, code in platform.values.items()}

    @lru_cache(maxsize=CACHED_PLATFORMS)
    def code(text: str) -> str:
        bare = text.strip().casefold()
        return aliases.get(bare, bare)

    return lambda row: code(str((get(row) if get else None) or ""))


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
    """The first rule that has a value; "" where a value is no possible time in its format, None where no rule has one."""
    getters = [_observed_rule(rule, lookup, landed_at) for rule in rules]
    return first_getter([getter for getter in getters if getter is not None])


def _observed_rule(rule: ObservedAt, lookup: Lookup, landed_at: str) -> Getter | None:
    if rule.column is None:
        constant = landed_at if rule.date is None else declared_text(rule.date, rule.zone, landed_at) or ""
        return lambda _row: constant
    get = compile_source(plain_column(rule.column), lookup, frozenset())
    if get is None:
        return None

    def value_of(row: Row) -> str | None:
        text = get(row)
        return None if text is None else observed_text(str(text), rule.format, rule.zone, landed_at) or ""

    return value_of


def with_rescued(payload: dict[str, Any], rescued: Mapping[str, Any]) -> dict[str, Any]:
    """The payload with unknown columns kept beside the known ones."""
    return payload | {RESCUED: dict(rescued)} if rescued else payload
