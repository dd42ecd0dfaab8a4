"""The declared mapping of a source: which files it covers, what their columns mean, what they never keep.

A mapping is data (one YAML file a source); this module is its grammar and its errors. Choosing a mapping for a file
is `claims.py`, turning rows into records is `plan.py`. The format is documented for customers in `docs/ingest.md`.
"""

from __future__ import annotations

import codecs
import datetime as dt
import difflib
import re
from collections.abc import Mapping as AbstractMapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from lakehouse.contracts.payload import PAYLOAD_FIELDS
from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.errors import SettingsError

SOURCE_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
LANDING = "landing"
"""Observed-at rule: the time of landing."""
UNIX, UNIX_MS = "unix", "unix_ms"
"""Time formats besides strptime's: seconds and milliseconds since 1970."""
SHIPPED = "mappings"
"""Folder of the shipped mappings beside this module."""
PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"there is no time zone {name!r}") from error
    return name


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    return pattern


RecordType = Literal["profile", "post"]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Zone = Annotated[str, AfterValidator(_check_zone)]
Pattern = Annotated[str, AfterValidator(_check_pattern)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class Time(_Strict):
    """How a time is written. `format` is strptime's, `unix` or `unix_ms`; without it ISO 8601. `zone` where none is written."""

    format: str | None = None
    zone: Zone = "UTC"


class Column(_Strict):
    """One value from one column.

    `at` picks among columns of the same header (1 is the first). `split` cuts text into a list, `labels` cuts labels
    that are glued together. `values` replaces single values. A value that does not fully match `match`, or that fully
    matches `not_match`, counts as missing, as do the mapping's missing tokens and `missing`, and any value of a row that
    has, for a header of `unless`, the value that stands there.
    """

    column: str
    at: int = Field(default=1, ge=1)
    split: str | None = None
    labels: tuple[str, ...] = ()
    values: dict[str, str] = Field(default_factory=dict)
    match: Pattern | None = None
    not_match: Pattern | None = None
    missing: Names = ()
    unless: dict[str, str] = Field(default_factory=dict)
    time: Time | None = None


class First(_Strict):
    """The first alternative that has a value."""

    first: tuple[Source, ...] = Field(min_length=1)


class Gather(_Strict):
    """All values as one list without repeats."""

    all: tuple[Source, ...] = Field(min_length=1)


class Text(_Strict):
    """Text with `{header}` placeholders; missing when one of them is."""

    text: str
    time: Time | None = None

    @property
    def headers(self) -> tuple[str, ...]:
        """Headers between braces, in order."""
        return tuple(PLACEHOLDER.findall(self.text))


def _as_source(value: object) -> object:
    """Short forms: a header name, or a list of alternatives."""
    if isinstance(value, str):
        return {"column": value}
    return {"first": value} if isinstance(value, list) else value


def _kind(value: object) -> str | None:
    """Which form a source has: its first telling key, or the model it already is."""
    given = (
        value if isinstance(value, AbstractMapping) else type(value).model_fields if isinstance(value, _Strict) else ()
    )
    return next((kind for kind in ("column", "first", "all", "text") if kind in given), None)


Source = Annotated[
    Annotated[Column, Tag("column")]
    | Annotated[First, Tag("first")]
    | Annotated[Gather, Tag("all")]
    | Annotated[Text, Tag("text")],
    Discriminator(
        _kind,
        custom_error_type="source",
        custom_error_message="a value is a header, a list of alternatives, or a block with column, first, all or text",
    ),
    BeforeValidator(_as_source),
]
First.model_rebuild()
Gather.model_rebuild()


class Link(_Strict):
    """A declared link: `urls` for one or many addresses, or `platform` with a `target` (handle or id) and maybe a `url`."""

    platform: str | None = None
    target: Source | None = None
    url: Source | None = None
    urls: Source | None = None

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if (self.urls is None) == (self.platform is None):
            raise ValueError("a link has either urls, or platform with target or url")
        if self.platform is not None and self.target is None and self.url is None:
            raise ValueError("a link with a platform needs a target or a url")
        return self


class ObservedAt(_Strict):
    """When the source saw the values: a `date`, or a `column`; `files` limits the rule to file names."""

    files: Names = ()
    date: dt.datetime | dt.date | None = None
    column: str | None = None
    format: str | None = None
    zone: Zone = "UTC"
    landing: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"landing": True} if value == LANDING else value

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if sum((self.date is not None, self.column is not None, self.landing)) != 1:
            raise ValueError("observed_at is a date, a column or the word landing")
        return self


class Record(_Strict):
    """One record that a row yields.

    It stands when one of the fields in `needs` has a value: by default id, handle or name. An `optional` record may be
    absent without a word.
    """

    type: RecordType = "profile"
    platform: str | Column
    fields: dict[str, Source]
    constants: dict[str, str] = Field(default_factory=dict)
    links: tuple[Link, ...] = ()
    needs: Names = ()
    optional: bool = False

    @model_validator(mode="after")
    def _is_canonical(self) -> Self:
        if isinstance(self.platform, str) and self.platform not in PLATFORMS:
            raise ValueError(f"platform {self.platform!r} is none of {', '.join(PLATFORMS)}")
        known = PAYLOAD_FIELDS[self.type]
        for name in (*self.fields, *self.constants):
            if name not in known:
                raise ValueError(f"a {self.type} has no field {name!r}{_hint(name, known)}")
        for name in self.needs:
            if name not in self.fields:
                raise ValueError(f"needs names {name!r}, which is no field of the record")
        if "stated_er" in self.fields and "stated_er_unit" not in {*self.fields, *self.constants}:
            raise ValueError("stated_er needs the constant stated_er_unit: fraction or percent")
        return self


class Requirement(_Strict):
    """Fields that a JSON record needs which has a value, or this one, under a header."""

    column: str
    value: str = ""
    fields: Names


def _as_rules(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


class _Body(_Strict):
    """What a mapping and each of its variants can say."""

    files: Names = ()
    platform: str | Column | None = None
    record: RecordType = "profile"
    fields: dict[str, Source] = Field(default_factory=dict)
    constants: dict[str, str] = Field(default_factory=dict)
    links: tuple[Link, ...] = ()
    records: tuple[dict[str, Any], ...] = ()
    required: Names = ()
    required_if: tuple[Requirement, ...] = ()
    ignore: Names = ()
    drop: Names = ()
    missing: Names = ()


class Variant(_Body):
    """One layout of the source's files. What it leaves out comes from the mapping; the lists add up."""

    name: str


class Layout(_Strict):
    """A variant with everything inherited: what readers work with."""

    name: str
    files: tuple[str, ...]
    records: tuple[Record, ...]
    required: tuple[str, ...]
    required_if: tuple[Requirement, ...] = ()
    ignore: tuple[str, ...]
    drop: tuple[str, ...]
    missing: tuple[str, ...]


class Mapping(_Body):
    """A declared source.

    `files` are patterns on the file's name or relative path. `not_data` are patterns of files that belong to the source
    and hold nothing to land. `by_header` lets the mapping claim any file whose header fits. `partial` allows any subset
    of the declared columns. `json_path` is the dotted path of the array in a JSON file.
    """

    source: str = Field(pattern=SOURCE_PATTERN)
    version: int = Field(ge=1)
    description: str = ""
    format: Literal["csv", "tsv", "json", "jsonl"] | None = None
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    json_path: str = ""
    encoding: Names = ("utf-8",)
    observed_at: Annotated[tuple[ObservedAt, ...], BeforeValidator(_as_rules)] = Field(min_length=1)
    not_data: Names = ()
    by_header: bool = False
    partial: bool = False
    variants: tuple[Variant, ...] = ()

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not self.files and not self.by_header:
            raise ValueError("a mapping needs files, or by_header: true")
        _check_encodings(self.encoding)
        names = [layout.name for layout in self.layouts]
        if len(set(names)) != len(names):
            raise ValueError("two variants have the same name")
        return self

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The variants with everything inherited; one layout where the mapping has no variants."""
        return tuple(_layout(self, body) for body in self.variants or (self,))


def _layout(mapping: Mapping, body: _Body) -> Layout:
    def merged(name: str) -> tuple[Any, ...]:
        own, common = getattr(body, name), getattr(mapping, name)
        return tuple(own) if body is mapping else (*common, *own)

    return Layout(
        name=getattr(body, "name", "default"),
        files=() if body is mapping else body.files,
        records=_records(mapping, body),
        required=merged("required"),
        required_if=merged("required_if"),
        ignore=merged("ignore"),
        drop=merged("drop"),
        missing=merged("missing"),
    )


def _records(mapping: Mapping, body: _Body) -> tuple[Record, ...]:
    """The short form (`fields`) and the long one (`records`) as records; what a variant lacks comes from the mapping."""
    own = body if body.fields or body.records else mapping
    if bool(own.fields) == bool(own.records):
        raise ValueError("say what the columns mean: fields for one record a row, or records for several")
    platform = body.platform or mapping.platform
    if own.records:
        return tuple(Record.model_validate({"platform": platform} | raw) for raw in own.records)
    short = {
        "type": body.record if "record" in body.model_fields_set else mapping.record,
        "platform": platform,
        "fields": own.fields,
        "constants": mapping.constants | body.constants,
        "links": body.links or mapping.links,
    }
    return (Record.model_validate(short),)


def _check_encodings(names: tuple[str, ...]) -> None:
    for name in names:
        try:
            codecs.lookup(name)
        except LookupError as error:
            raise ValueError(f"there is no encoding {name!r}") from error


def parse_mapping(text: str, *, name: str) -> Mapping:
    """Read one mapping; `name` is what error messages call it.

    Raises:
        SettingsError: not YAML, or not a mapping; the sentence names the place and the remedy.
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"Mapping {name} is not YAML: {error}") from error
    try:
        return Mapping.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(_sentence(problem) for problem in error.errors())
        raise SettingsError(f"Mapping {name}: {problems}.") from error


def load_mappings(extra: Path | None = None) -> tuple[Mapping, ...]:
    """The user's mappings first, then the shipped ones; those that claim by header alone come last of each.

    Raises:
        SettingsError: a mapping is wrong, the folder is missing, or two in one folder have the same source.
    """
    own = _load_folder(extra) if extra is not None else ()
    shipped = _load_folder(resources.files(__package__) / SHIPPED)
    taken = {mapping.source for mapping in own}
    return (*own, *(mapping for mapping in shipped if mapping.source not in taken))


def _load_folder(folder: Traversable) -> tuple[Mapping, ...]:
    if not folder.is_dir():
        raise SettingsError(f"The mappings folder {folder} does not exist.")
    files = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith((".yaml", ".yml"))), key=lambda entry: entry.name
    )
    found: dict[str, Mapping] = {}
    for entry in files:
        mapping = parse_mapping(entry.read_text(encoding="utf-8"), name=entry.name)
        if mapping.source in found:
            raise SettingsError(
                f"Mapping {entry.name}: another file of the folder has the source {mapping.source!r} too."
            )
        found[mapping.source] = mapping
    return tuple(sorted(found.values(), key=lambda mapping: mapping.by_header))


def _sentence(problem: AbstractMapping[str, Any]) -> str:
    """One pydantic problem in words, with the nearest allowed key where one is unknown."""
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = {name for model in (Mapping, Variant, Record, Column) for name in model.model_fields}
        return f"unknown key {place!r}{_hint(str(problem['loc'][-1]), frozenset(known))}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _hint(name: str, known: frozenset[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {near[0]!r}?" if near else ""
