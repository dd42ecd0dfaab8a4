"""A layout bound to the header of one file: a row goes in, records come out. Values stay raw.

Columns are looked up once per file, so that a row costs one closure call per field.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lakehouse.contracts.payload import ACCOUNT_KEYS, RECORD_KEYS, RESCUED
from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.ingest.header import Getter, Header, JsonPaths, Lookup, Row, json_lookup
from lakehouse.ingest.mapping import Column, Layout, Link, ObservedAt, Record, Source
from lakehouse.ingest.times import declared_text, observed_text
from lakehouse.ingest.values import compile_source, first_getter, plain_column, source_columns

VERBATIM_FIELDS = frozenset(
    {"platform_account_id", "account_id", "post_id", "handle", "display_name", "other_names", "account_name", "title"}
    | {"caption", "bio"}
)
"""Fields whose missing value is only the empty one: an account may be called N/A, or nan."""


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
    constants: dict[str, str]

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
        if not any(name in payload for name in self.record.needs or ACCOUNT_KEYS[self.record.type]):
            return "no_account_key", ""
        for name in (*RECORD_KEYS[self.record.type], *self.required):
            if name not in payload:
                return "missing_required_value", name
        return ("", "") if platform in PLATFORMS else ("unknown_platform", str(platform or ""))


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
        records=_record_plans(layout, header.lookup, ()),
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
        return dict(_unknown_leaves(row, "", known, parents))

    dropped = JsonPaths(layout.drop)
    return Plan(
        records=_record_plans(layout, json_lookup, layout.required),
        observed_at=_observed(rules, json_lookup, landed_at),
        rescue=rescue,
        trim=dropped.without if dropped else None,
    )


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
