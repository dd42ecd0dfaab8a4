"""Shortcuts of a plan give what the long way gives: whole cells read at once, rows with nothing to drop or to rescue."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.ingest.header import Header, Lookup, json_lookup
from lakehouse.ingest.mapping import Layout, Mapping
from lakehouse.ingest.plan import VERBATIM_FIELDS, Plan, json_plan, tabular_plan
from lakehouse.ingest.values import compile_source

pytestmark = pytest.mark.properties

LANDED_AT = "2024-01-02T03:04:05Z"
KEYS = st.sampled_from(["User", "user", "Name", "Fans", "stats", "stats.fans", "stats.likes", "Kind"])
CELLS = st.sampled_from(["", "  ", "N/A", "n/a ", "ann", " bob ", "a|b", "10", "é\0", "\ud800"])
VALUES = st.recursive(
    CELLS | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["fans", "likes", "Key"]), inner),
    max_leaves=4,
)
COLUMNS = st.fixed_dictionaries(
    {"column": KEYS},
    optional={
        "split": st.just("|"),
        "values": st.just({"10": "Music"}),
        "missing": st.just(["ann"]),
        "not_match": st.just("b.*"),
    },
)
SOURCES = (
    KEYS
    | COLUMNS
    | st.lists(COLUMNS, min_size=1, max_size=2)
    | st.just({"all": ["User", "Name"]})
    | st.just({"text": "{Fans}!"})
)
LAYOUTS = st.builds(
    lambda fields, missing, drop: layout(fields, missing=missing, drop=drop),
    st.dictionaries(
        st.sampled_from(["handle", "display_name", "bio", "followers", "likes", "links"]), SOURCES, min_size=1
    ),
    st.sampled_from([[], ["N/A"]]),
    st.lists(st.sampled_from(["Gender", "name", "stats.Likes", " KIND"]), max_size=2),
)
HEADERS = st.lists(KEYS, min_size=1, max_size=6)


def layout(fields: dict[str, Any], *, missing: list[str], drop: list[str]) -> Layout:
    """A layout of Instagram profiles."""
    body = {"source": "acme", "version": 1, "files": "acme*", "observed_at": "landing", "platform": "instagram"}
    return Mapping.model_validate(body | {"fields": fields, "missing": missing, "drop": drop}).layouts[0]


def field_by_field(made_by: Layout, lookup: Lookup, row: object) -> dict[str, Any]:
    """The payload by one getter a field."""
    tokens = frozenset(token.casefold() for token in made_by.missing)
    found: dict[str, Any] = {}
    for name, source in made_by.records[0].fields.items():
        getter = compile_source(source, lookup, frozenset() if name in VERBATIM_FIELDS else tokens)
        value = getter(row) if getter is not None else None
        if value is not None:
            found[name] = value
    return found


def bound(made_by: Layout) -> Plan:
    """The layout as a plan for JSON."""
    return json_plan(made_by, (), LANDED_AT)


@given(LAYOUTS, st.dictionaries(KEYS, VALUES))
@settings(max_examples=200, deadline=None)
def test_the_keys_of_an_object_give_what_its_fields_ask_for(made_by: Layout, row: dict[str, Any]) -> None:
    assert bound(made_by).records[0].make(row).payload == field_by_field(made_by, json_lookup, row)


@given(LAYOUTS, HEADERS, st.data())
@settings(max_examples=200, deadline=None)
def test_the_cells_of_a_row_give_what_its_fields_ask_for(
    made_by: Layout, names: list[str], data: st.DataObject
) -> None:
    row = data.draw(st.lists(CELLS, min_size=len(names), max_size=len(names)))
    header = Header(names)
    plan = tabular_plan(made_by, (), header, LANDED_AT)
    assert plan.records[0].make(row).payload == field_by_field(made_by, header.lookup, row)


@given(LAYOUTS, st.dictionaries(KEYS, VALUES))
@settings(max_examples=200, deadline=None)
def test_a_row_with_a_dropped_key_keeps_what_it_keeps_without(made_by: Layout, row: dict[str, Any]) -> None:
    trim = bound(made_by.model_copy(update={"drop": (*made_by.drop, "Shoe size")})).trim
    assert trim is not None
    assert list(trim({"shoe  SIZE": "44"} | row).items()) == list(trim(row).items())


@given(LAYOUTS, st.dictionaries(KEYS, VALUES))
@settings(max_examples=200, deadline=None)
def test_a_row_with_one_more_unknown_key_rescues_one_more(made_by: Layout, row: dict[str, Any]) -> None:
    rescue = bound(made_by).rescue
    assert list(rescue({"Shoe size": "44"} | row).items()) == [("Shoe size", "44"), *rescue(row).items()]
