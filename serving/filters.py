"""What each filter means: request -> clauses -> canonical form and hash -> one SQL condition.

Two requests that ask for the same thing have one canonical form, one hash and so one cached result. The rules are read
top to bottom in `RULES`; shapes of values are in `models.py`, SQL in `predicates.py`. Which rows match is found by
`matching.py`. Semantics for people: `docs/api.md`.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel

from lakehouse.contracts.taxonomy import NICHES, PLATFORMS, RISKS
from serving import predicates as sql
from serving.errors import RequestError
from serving.models import (
    Filters,
    Location,
    NicheFilter,
    Platforms,
    Range,
    RiskFilter,
    TextFilter,
    levels_above,
)
from serving.predicates import GID, Predicate
from serving.raw_columns import raw_predicate
from serving.requests import COLUMN_MARK, require_known, unknown_filter
from serving.words import split_words

Scope = Literal["profile", "creator"]

ACCOUNT_TYPES = ("personal", "business", "creator", "brand")
COUNTRY = re.compile(r"[A-Z]{2}")
LANGUAGE = re.compile(r"[a-z]{2,3}")
NO_SPACES = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Thai, Lao, Kana and Han: words are not separated, so an entry may match anywhere."""

TEXT_FIELDS: dict[str, str] = {
    "handle": "_text_handle",
    "name": "_text_name",
    "bio": "_text_bio",
    "category": "_text_category",
    "content": "_text_content",
}
"""Fields of the text filter and the normalised columns behind them."""

MAX_TEXT_CONDITIONS = 1_000
"""Conditions of a text filter, each a scan of one text column: up to 7 ms at 100,000 creators."""

NICHE_GROUPS: dict[str, tuple[str, ...]] = {
    group.replace(" ", "_"): tuple(niche.code for niche in NICHES if niche.group == group)
    for group in dict.fromkeys(niche.group for niche in NICHES)
}
NICHE_CODES = frozenset(niche.code for niche in NICHES)
RISK_CODES = frozenset(risk.code for risk in RISKS)


@dataclass(frozen=True)
class Vocabulary:
    """What a snapshot can be filtered by.

    `docs` and `profiles` map column names to DuckDB types; `is_foreign` snapshots take any column as a filter. `codes` holds the
    codes that occur, by facet.
    """

    docs: Mapping[str, str]
    profiles: Mapping[str, str]
    is_foreign: bool
    as_of: datetime
    codes: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def has(self, scope: Scope, column: str) -> bool:
        """Whether a column is there."""
        return column in (self.profiles if scope == "profile" else self.docs)

    @cached_property
    def foreign_columns(self) -> tuple[str, ...]:
        """Columns that are filters of their own name."""
        own = (name for name in self.docs if name != GID and not name.startswith("_text_"))
        return tuple(own) if self.is_foreign else ()


@dataclass(frozen=True, slots=True)
class Clause:
    """One filter of a request in canonical form, with its conditions."""

    name: str
    value: Any
    parts: tuple[tuple[Scope, Predicate], ...]

    @property
    def label(self) -> str:
        """Its name as the caller wrote it."""
        return self.name.removeprefix(COLUMN_MARK)

    def predicate(self) -> Predicate:
        """The clause alone, over creators."""
        return _joined(self.parts)


@dataclass(frozen=True, slots=True)
class FilterSet:
    """All clauses of a request. Equal `key`, equal result in one snapshot."""

    clauses: tuple[Clause, ...]
    key: str

    def predicate(self) -> Predicate:
        """All clauses; those on profiles hold on one profile."""
        return _joined([part for clause in self.clauses for part in clause.parts])

    def canonical(self) -> dict[str, Any]:
        """Canonical form, as JSON."""
        return {clause.label: clause.value for clause in self.clauses}


@dataclass(frozen=True, slots=True)
class Context:
    """What a rule may look at beside its own value."""

    vocabulary: Vocabulary
    today: date
    is_unknown_included: bool

    def known(self, predicate: Predicate, column: str) -> Predicate:
        """The condition, also true for unknown values when the request asks for that."""
        return predicate.or_unknown(column) if self.is_unknown_included else predicate


Parts = list[tuple[Scope, Predicate]]
Build = Callable[[Any, Context], Parts]


@dataclass(frozen=True, slots=True)
class Rule:
    """A filter: its name, the columns it needs, and how its value becomes conditions."""

    name: str
    needs: tuple[tuple[Scope, str], ...]
    build: Build


def compile_filters(filters: Filters, vocabulary: Vocabulary, *, today: date | None = None) -> FilterSet:
    """Clauses of a request against one snapshot.

    Args:
        filters: validated filters.
        vocabulary: what the snapshot has.
        today: UTC day that `max_age_days` counts back from; the current one when None.

    Raises:
        RequestError: a code or field does not exist, or the snapshot lacks the column that a filter needs.
    """
    context = Context(vocabulary, today or datetime.now(UTC).date(), filters.include_unknown)
    clauses = [clause for rule in RULES if (clause := _clause(rule, filters, context)) is not None]
    clauses += [_raw_clause(name, value, context) for name, value in (filters.model_extra or {}).items()]
    clauses.sort(key=lambda clause: clause.name)
    canonical = [[clause.name, clause.value] for clause in clauses]
    text = json.dumps([canonical, filters.include_unknown], sort_keys=True, ensure_ascii=True)
    return FilterSet(tuple(clauses), hashlib.sha256(text.encode()).hexdigest())


def _clause(rule: Rule, filters: Filters, context: Context) -> Clause | None:
    value = getattr(filters, rule.name)
    if rule.name == "is_private" and value is None:
        return _public_clause(context)
    canonical = _canonical(value)
    if canonical in (None, [], {}) or value == "any":
        return None
    for scope, column in rule.needs:
        _require_column(rule.name, scope, column, context)
    parts = rule.build(value, context)
    stated = [canonical, context.today.isoformat()] if rule.name == "max_age_days" else canonical
    return Clause(rule.name, stated, tuple(parts)) if parts else None


def _require_column(name: str, scope: Scope, column: str, context: Context) -> None:
    if not context.vocabulary.has(scope, column):
        raise RequestError(
            "unknown_filter",
            f"This snapshot has no column {column!r}, which the filter {name!r} needs.",
            field=f"filters.{name}",
            details={"nearest": None},
        )


def _public_clause(context: Context) -> Clause | None:
    """The default: profiles known to be private are out of scope."""
    if not context.vocabulary.has("profile", "is_private"):
        return None
    public = sql.not_known_true(Predicate(sql.quoted("is_private")))
    return Clause("is_private", "not_known_private", (("profile", public),))


def _raw_clause(name: str, value: Any, context: Context) -> Clause:
    column = name.removeprefix(COLUMN_MARK)
    if column not in context.vocabulary.foreign_columns:
        raise unknown_filter(column, context.vocabulary.foreign_columns)
    predicate = raw_predicate(column, value, context.vocabulary.docs[column])
    return Clause(name, _canonical(value), (("creator", context.known(predicate, column)),))


def _joined(parts: Iterable[tuple[Scope, Predicate]]) -> Predicate:
    listed = list(parts)
    on_profile = [predicate for scope, predicate in listed if scope == "profile"]
    on_creator = [predicate for scope, predicate in listed if scope == "creator"]
    return sql.conjunction([*on_creator, *([sql.on_one_profile(on_profile)] if on_profile else [])])


def _canonical(value: Any) -> Any:
    """JSON form in which order, repetition and absent keys do not matter."""
    if isinstance(value, BaseModel):
        return _canonical({name: getattr(value, name) for name in type(value).model_fields})
    if isinstance(value, Mapping):
        listed = {str(name): _canonical(item) for name, item in value.items()}
        return {name: item for name, item in sorted(listed.items()) if item not in (None, [], {})}
    if isinstance(value, list | tuple):
        return sorted(
            {json.dumps(_canonical(item), sort_keys=True): _canonical(item) for item in value}.values(), key=str
        )
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _range(scope: Scope, column: str) -> Build:
    def build(value: Range[Any], context: Context) -> Parts:
        return [(scope, context.known(sql.between(column, value.min, value.max), column))]

    return build


def _at_least(column: str) -> Build:
    return lambda value, context: [("creator", context.known(sql.between(column, value, None), column))]


def _at_most(column: str) -> Build:
    return lambda value, context: [("creator", context.known(sql.between(column, None, value), column))]


def _flag(scope: Scope, column: str) -> Build:
    return lambda value, context: [(scope, context.known(sql.equals(column, value), column))]


def _platforms(value: Platforms, context: Context) -> Parts:
    parts: Parts = []
    for codes, is_all in ((value.any, False), (value.all, True)):
        if codes:
            lowered = _platform_codes(codes, context, field_name="filters.platforms")
            parts.append(("profile", sql.one_of("platform", lowered)))
            if is_all:
                _require_column("platforms", "creator", "platforms", context)
                parts.append(("creator", sql.has_all("platforms", lowered)))
    return parts


def _linked(value: tuple[str, ...], context: Context) -> Parts:
    return [
        ("creator", sql.has_all("platforms", _platform_codes(value, context, field_name="filters.linked_platforms")))
    ]


def _platform_codes(codes: Iterable[str], context: Context, *, field_name: str) -> list[str]:
    known = _occurring(context, "platform", PLATFORMS)
    read = [code if code in known else code.casefold() for code in codes]
    require_known(read, known, field=field_name, what="platform")
    return read


def _country(value: Location, context: Context) -> Parts:
    codes = [code.upper() for code in value.country]
    _require_shape(codes, COUNTRY, field_name="filters.location.country", what="an ISO 3166-1 alpha-2 code such as US")
    return [("profile", context.known(sql.one_of("country_code", codes), "country_code"))]


def _language(value: tuple[str, ...], context: Context) -> Parts:
    codes = [code.casefold() for code in value]
    _require_shape(codes, LANGUAGE, field_name="filters.language", what="an ISO 639-1 code such as en")
    return [("profile", context.known(sql.one_of("language_code", codes), "language_code"))]


def _account_type(value: tuple[str, ...], context: Context) -> Parts:
    require_known(value, ACCOUNT_TYPES, field="filters.account_type", what="account type")
    return [("profile", context.known(sql.one_of("account_type_code", value), "account_type_code"))]


def _active(value: int, context: Context) -> Parts:
    since = context.vocabulary.as_of - timedelta(days=value)
    return [("profile", context.known(sql.between("last_post_at", since, None), "last_post_at"))]


def _fresh(value: int, context: Context) -> Parts:
    since = datetime.combine(context.today, time.min, tzinfo=UTC) - timedelta(days=value)
    return [("profile", context.known(sql.between("observed_at", since, None), "observed_at"))]


def _niche(value: NicheFilter, context: Context) -> Parts:
    include = _niche_codes(value.include or (), context, field_name="filters.niche.include")
    exclude = _niche_codes(value.exclude, context, field_name="filters.niche.exclude")
    parts: Parts = []
    if include and value.min_score is None:
        parts.append(("creator", sql.has_any("niche_codes", include)))
    elif include:
        condition = "list_contains(?, i.code) AND i.score >= ?"
        parts.append(("creator", sql.any_item("niches", condition, (include, value.min_score))))
    elif value.min_score is not None:
        parts.append(("creator", context.known(sql.between("niche_score", value.min_score, None), "niche_score")))
    if exclude:
        parts.append(("creator", sql.not_known_true(sql.has_any("niche_codes", exclude))))
    return parts


def _niche_codes(codes: Iterable[str], context: Context, *, field_name: str) -> list[str]:
    """Codes with groups replaced by their members."""
    named = [code.casefold().replace(" ", "_") for code in codes]
    known = _occurring(context, "niche", NICHE_CODES) | NICHE_GROUPS.keys()
    require_known(named, known, field=field_name, what="niche")
    return sorted({member for code in named for member in NICHE_GROUPS.get(code, (code,))})


def _risk(value: RiskFilter, context: Context) -> Parts:
    known = _occurring(context, "risk", RISK_CODES)
    for name, codes in (("exclude", value.exclude), ("categories", value.categories or ())):
        require_known(codes, known, field=f"filters.risk.{name}", what="risk category")
    parts: Parts = []
    if value.exclude:
        clean = sql.negated(sql.has_any("risk_codes", value.exclude))
        parts.append(("creator", context.known(clean, "risk_codes")))
    if value.max_level is not None:
        condition, values = "list_contains(?, i.level)", [levels_above(value.max_level)]
        if value.categories:
            condition, values = f"{condition} AND list_contains(?, i.code)", [*values, list(value.categories)]
        parts.append(("creator", context.known(sql.negated(sql.any_item("risks", condition, values)), "risks")))
    return parts


def _exclude_handles(value: tuple[str, ...], context: Context) -> Parts:  # noqa: ARG001
    keys = sorted({key for handle in value for key in handle_keys(handle)})
    return [("creator", sql.has_none("handles", keys))]


def handle_keys(handle: str) -> set[str]:
    """Forms in which a handle may be stored: lower case as written, and folded."""
    plain = handle.strip().lstrip("@").strip()
    return {plain.lower(), unicodedata.normalize("NFKC", plain).casefold()}


def _text(value: TextFilter, context: Context) -> Parts:
    fields = value.fields or tuple(name for name, column in TEXT_FIELDS.items() if column in context.vocabulary.docs)
    require_known(fields, tuple(TEXT_FIELDS), field="filters.text.fields", what="text field")
    columns = [TEXT_FIELDS[name] for name in fields]
    missing = [column for column in columns if column not in context.vocabulary.docs]
    if missing or not columns:
        raise RequestError("unknown_filter", "This snapshot has no such text.", field="filters.text.fields")

    include, exclude = (
        list(dict.fromkeys(_needles(entry, value.match) for entry in entries))
        for entries in (value.include, value.exclude)
    )
    _require_few(len(columns) * sum(map(len, [*include, *exclude])))

    def anywhere(entries: Iterable[tuple[str, ...]]) -> Predicate:
        return sql.disjunction([_in_column(needles, column) for needles in entries for column in columns])

    parts: Parts = [("creator", anywhere(include))] if include else []
    return [*parts, ("creator", sql.negated(anywhere(exclude)))] if exclude else parts


def _require_few(conditions: int) -> None:
    if conditions > MAX_TEXT_CONDITIONS:
        raise RequestError(
            "invalid_value",
            f"Words times fields make {conditions:,} conditions, at most {MAX_TEXT_CONDITIONS:,} are allowed.",
            field="filters.text",
        )


def _in_column(needles: Iterable[str], column: str) -> Predicate:
    return sql.conjunction([sql.contains_text(column, needle) for needle in needles])


def _needles(entry: str, match: str) -> tuple[str, ...]:
    """What one column must hold for an entry. Columns are words in single blanks, ` | ` between values, blanks at both ends."""
    words = split_words(entry)
    if not words:
        raise RequestError("invalid_value", f"{entry!r} has no letter or digit to look for.", field="filters.text")
    if NO_SPACES.search(entry):
        return tuple(dict.fromkeys(words))
    if match == "words":
        return tuple(f" {word} " for word in dict.fromkeys(words))
    return (f" {' '.join(words)}" + (" " if match == "phrase" else ""),)


def _occurring(context: Context, facet: str, declared: Collection[str]) -> frozenset[str]:
    return frozenset(declared) | context.vocabulary.codes.get(facet, frozenset())


def _require_shape(codes: Iterable[str], pattern: re.Pattern[str], *, field_name: str, what: str) -> None:
    for code in codes:
        if not pattern.fullmatch(code):
            raise RequestError("invalid_value", f"{code!r} is not {what}.", field=field_name)


def _on(scope: Scope, *columns: str) -> tuple[tuple[Scope, str], ...]:
    return tuple((scope, column) for column in columns)


RULES: tuple[Rule, ...] = (
    Rule("platforms", _on("profile", "platform"), _platforms),
    Rule("followers", _on("profile", "followers_count"), _range("profile", "followers_count")),
    Rule("following", _on("profile", "following_count"), _range("profile", "following_count")),
    Rule("content_count", _on("profile", "content_count"), _range("profile", "content_count")),
    Rule("er_followers", _on("profile", "er_followers_ratio"), _range("profile", "er_followers_ratio")),
    Rule("er_views", _on("profile", "er_views_ratio"), _range("profile", "er_views_ratio")),
    Rule("growth_90d", _on("profile", "growth_90d_ratio"), _range("profile", "growth_90d_ratio")),
    Rule("last_post_at", _on("profile", "last_post_at"), _range("profile", "last_post_at")),
    Rule("active_within_days", _on("profile", "last_post_at"), _active),
    Rule("max_age_days", _on("profile", "observed_at"), _fresh),
    Rule("location", _on("profile", "country_code"), _country),
    Rule("language", _on("profile", "language_code"), _language),
    Rule("account_type", _on("profile", "account_type_code"), _account_type),
    Rule("verified", _on("profile", "is_verified"), _flag("profile", "is_verified")),
    Rule("is_private", _on("profile", "is_private"), _flag("profile", "is_private")),
    Rule("followers_total", _on("creator", "followers_total_count"), _range("creator", "followers_total_count")),
    Rule("posts_per_week", _on("creator", "posts_per_week"), _range("creator", "posts_per_week")),
    Rule("niche", _on("creator", "niche_codes", "niches"), _niche),
    Rule("risk", _on("creator", "risk_codes", "risks"), _risk),
    Rule("quality_min", _on("creator", "quality_score"), _at_least("quality_score")),
    Rule("anomaly_max", _on("creator", "anomaly_score"), _at_most("anomaly_score")),
    Rule(
        "identity_confidence_min",
        _on("creator", "identity_confidence_score"),
        _at_least("identity_confidence_score"),
    ),
    Rule("linked_platforms", _on("creator", "platforms"), _linked),
    Rule("has_contact", _on("creator", "has_email"), _flag("creator", "has_email")),
    Rule("exclude_handles", _on("creator", "handles"), _exclude_handles),
    Rule("text", (), _text),
)
"""Every filter but `include_unknown`, in the order of `docs/api.md`."""
