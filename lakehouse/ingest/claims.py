"""Which mapping reads a file, and which of its layouts: by file name first, then by header. No rows are read here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lakehouse.contracts.payload import ACCOUNT_KEYS, RECORD_KEYS
from lakehouse.ingest.header import Header
from lakehouse.ingest.mapping import Column, Layout, Mapping, ObservedAt, Record
from lakehouse.ingest.plan import known_positions
from lakehouse.ingest.values import is_satisfied

FORMATS: dict[str, str] = {".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
"""File ending (before an optional .gz) to format."""

Peek = Callable[[Mapping], Sequence[str]]
"""Reads the header of the file as a mapping would: column names, or the keys of the first object; empty if none."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Outcome for one file. Without a mapping it is unclaimed; without a layout its rows are withheld for `reason_code`."""

    mapping: Mapping | None = None
    layout: Layout | None = None
    is_data: bool = True
    reason_code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a layout fits a header: fields without a column, required ones among them, columns without a field."""

    layout: Layout
    missing: tuple[str, ...]
    required_missing: tuple[str, ...]
    unknown_count: int
    known_count: int
    is_keyed: bool

    @property
    def is_usable(self) -> bool:
        """Whether rows can land at all."""
        return self.is_keyed and not self.required_missing


def file_format(name: str, mapping: Mapping | None = None) -> str | None:
    """Format of a file by its mapping or its name; None when it is no data file."""
    if mapping is not None and mapping.format is not None:
        return mapping.format
    bare = name.casefold().removesuffix(".gz")
    return next((form for ending, form in FORMATS.items() if bare.endswith(ending)), None)


def is_matched(patterns: Iterable[str], relative_path: str) -> bool:
    """Whether a pattern fits the file's name or the end of its relative path, case aside."""
    path = relative_path.casefold()
    name = path.rsplit("/", 1)[-1]
    return any(
        fnmatchcase(name, p) or fnmatchcase(path, p) or fnmatchcase(path, f"*/{p}") for p in map(str.casefold, patterns)
    )


def observed_rules(mapping: Mapping, relative_path: str) -> tuple[ObservedAt, ...]:
    """The observed-at rules that apply to a file, in order."""
    return tuple(rule for rule in mapping.observed_at if not rule.files or is_matched(rule.files, relative_path))


def claim(mappings: Sequence[Mapping], relative_path: str, peek: Peek) -> Claim:
    """Choose the mapping and layout of a file.

    Mappings that name the file are asked in order; the first whose layouts fit the header reads it. If none fits, the
    first withholds the file. A file that nobody names goes to the first `by_header` mapping that it fits.
    """
    if owner := next((m for m in mappings if is_matched(m.not_data, relative_path)), None):
        return Claim(owner, is_data=False)
    naming = [m for m in mappings if is_matched(m.files, relative_path) and file_format(relative_path, m)]
    claims = [choose_layout(m, relative_path, peek(m)) for m in naming]
    if claims:
        return next((c for c in claims if c.layout is not None), claims[0])
    return _claim_by_header(mappings, relative_path, peek)


def choose_layout(mapping: Mapping, relative_path: str, header: Sequence[str]) -> Claim:
    """The layout of a mapping that fits a header best, or the reason why none does.

    Keys of JSON records differ from record to record: there a single layout is taken as it is, and rows are judged.
    """
    layouts = [layout for layout in mapping.layouts if not layout.files or is_matched(layout.files, relative_path)]
    if _is_json(mapping, relative_path) and len(layouts) == 1:
        return Claim(mapping, layouts[0])
    if not header:
        return Claim(mapping, reason_code="no_header")
    rules = observed_rules(mapping, relative_path)
    fits = [fit_layout(layout, rules, Header(header)) for layout in layouts]
    is_lenient = mapping.partial or len(mapping.layouts) == 1 or _is_json(mapping, relative_path)
    usable = [fit for fit in fits if fit.is_usable and (is_lenient or not fit.missing)]
    if not usable:
        return _refusal(mapping, fits, is_lenient=is_lenient)
    usable.sort(key=lambda fit: (len(fit.missing), fit.unknown_count))
    best, *others = usable
    if others and _rank(others[0]) == _rank(best) and not mapping.partial:
        detail = f"Both {best.layout.name} and {others[0].layout.name} fit."
        return Claim(mapping, reason_code="ambiguous_header", detail=detail)
    return Claim(mapping, best.layout)


def fit_layout(layout: Layout, rules: Sequence[ObservedAt], header: Header) -> Fit:
    """Compare a layout with a header."""
    missing = tuple(dict.fromkeys(name for record in layout.records for name in _missing_fields(record, header)))
    known = known_positions(layout, rules, header)
    return Fit(
        layout=layout,
        missing=missing,
        required_missing=tuple(name for name in layout.required if name in missing),
        unknown_count=len(header.names) - len(known),
        known_count=len(known),
        is_keyed=any(_is_keyed(record, header) for record in layout.records),
    )


def _rank(fit: Fit) -> tuple[int, int]:
    return len(fit.missing), fit.unknown_count


def _is_json(mapping: Mapping, relative_path: str) -> bool:
    return (file_format(relative_path, mapping) or "").startswith("json")


def _missing_fields(record: Record, header: Header) -> list[str]:
    return [name for name, source in record.fields.items() if not is_satisfied(source, header)]


def _is_keyed(record: Record, header: Header) -> bool:
    present = {name for name, source in record.fields.items() if is_satisfied(source, header)}
    has_platform = (
        isinstance(record.platform, str) or header.position(record.platform.column, record.platform.at) is not None
    )
    has_account = any(name in present for name in record.needs or ACCOUNT_KEYS[record.type])
    return has_platform and has_account and present.issuperset(RECORD_KEYS[record.type])


def _refusal(mapping: Mapping, fits: Sequence[Fit], *, is_lenient: bool) -> Claim:
    """Why no layout fits, with what the nearest one lacks."""
    if not fits:
        return Claim(mapping, reason_code="unknown_header_variant", detail="No variant covers this file name.")
    nearest = min(fits, key=_rank)
    lacking = nearest.required_missing or nearest.missing
    if is_lenient:
        detail = f"It has no column for {', '.join(lacking or ('an account key',))}."
        return Claim(mapping, reason_code="missing_required_column", detail=detail)
    detail = f"The nearest, {nearest.layout.name}, has no column for {', '.join(lacking or ('an account key',))}."
    return Claim(mapping, reason_code="unknown_header_variant", detail=detail)


def _claim_by_header(mappings: Sequence[Mapping], relative_path: str, peek: Peek) -> Claim:
    """A header claims a file when it names an account and most of its columns are known."""
    for mapping in (m for m in mappings if m.by_header and file_format(relative_path, m)):
        header = peek(mapping)
        chosen = choose_layout(mapping, relative_path, header)
        if not header or chosen.layout is None or not _is_declared(chosen.layout):
            continue
        fit = fit_layout(chosen.layout, observed_rules(mapping, relative_path), Header(header))
        if fit.is_usable and fit.known_count > fit.unknown_count:
            return chosen
    return Claim()


def _is_declared(layout: Layout) -> bool:
    """Whether the file itself must say the platform: only then is a header proof enough."""
    return all(isinstance(record.platform, Column) for record in layout.records)
