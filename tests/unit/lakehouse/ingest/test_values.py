"""Sources of the mapping as functions of a row."""

from __future__ import annotations

from typing import Any

import pytest

from lakehouse.ingest.header import Header, json_lookup
from lakehouse.ingest.mapping import Record
from lakehouse.ingest.values import compile_source

HEADER = Header(["Name", "Followers", " followers ", "Tags", "Day"])
ROW = ["Ann B", "1.2M", "1200000", "a, b ,,c", "15/06/2022"]


def value_of(source: Any, row: list[str] = ROW, missing: tuple[str, ...] = ()) -> Any:
    parsed = Record.model_validate({"platform": "x", "fields": {"bio": source}}).fields["bio"]
    getter = compile_source(parsed, HEADER.lookup, frozenset(missing))
    return getter(row) if getter else "no column"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("name", "Ann B"),
        ({"column": "Followers"}, "1.2M"),
        ({"column": "FOLLOWERS", "at": 2}, "1200000"),
        ({"column": "followers", "at": 3}, "no column"),
        (["Nope", "Name"], "Ann B"),
        ({"column": "Tags", "split": ","}, ["a", "b", "c"]),
        ({"all": ["Name", {"column": "Tags", "split": ","}, "Name"]}, ["Ann B", "a", "b", "c"]),
        ({"text": "https://x.com/{Name}?f={Followers}"}, "https://x.com/Ann B?f=1.2M"),
        ({"text": "{Nope}"}, "no column"),
        ({"column": "Name", "not_match": r".*\s.*"}, None),
        ({"column": "Name", "match": r"\w+ \w"}, "Ann B"),
        ({"column": "Name", "values": {"Ann B": "Bea"}}, "Bea"),
        ({"column": "Day", "time": {"format": "%d/%m/%Y", "zone": "Asia/Tokyo"}}, "2022-06-14T15:00:00Z"),
        ({"column": "Name", "time": {"format": "%d/%m/%Y"}}, "Ann B"),
        ({"column": "Name", "missing": "ANN b"}, None),
        ({"column": "Followers", "unless": {"name": "ann B"}}, None),
        ({"column": "Followers", "unless": {"Name": "Bea"}}, "1.2M"),
        ({"column": "Followers", "unless": {"Nope": "1"}}, "1.2M"),
        ([{"column": "Followers", "unless": {"Name": "Ann B"}}, "Day"], "15/06/2022"),
    ],
)
def test_sources(source: Any, expected: Any) -> None:
    assert value_of(source) == expected


def test_missing_tokens_make_way_for_the_next_alternative() -> None:
    row = ["Ann", " N/A ", "12", "", ""]
    assert value_of(["Followers", {"column": "followers", "at": 2}], row, ("n/a",)) == "12"
    assert value_of({"text": "{Followers}!"}, row, ("n/a",)) is None
    assert value_of({"all": ["Tags", "Day"]}, row) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BooksLifestyleModeling", ["Books", "Lifestyle", "Modeling"]),
        ("Arts and CraftsArtfamily", ["Arts and Crafts", "Art", "family"]),
        ("Sports\nSoccer", ["Sports", "Soccer"]),
        ("ArtisticSports", ["Artistic", "Sports"]),
    ],
)
def test_glued_labels(text: str, expected: list[str]) -> None:
    labels = ["Art", "Arts and Crafts", "Books", "Lifestyle", "Modeling", "Sports", "Soccer", "family"]
    assert value_of({"column": "Name", "labels": labels}, [text, "", "", "", ""]) == expected


def test_exact_spelling_wins_over_the_normalised_one() -> None:
    header = Header(["Instagram Name", "instagram name"])
    assert (header.position("instagram name", 1), header.position("Instagram Name", 1)) == (1, 0)
    assert header.position("INSTAGRAM NAME", 2) == 1


def test_json_values() -> None:
    row = {"a": {"b": {"c": "deep"}}, "a.b": "flat", "flag": True, "none": None, "empty": [], "list": ["x"]}
    found = {name: json_lookup(name, 1)(row) for name in ("a.b", "a.b.c", "a.x.y", "none")}
    assert found == {"a.b": "flat", "a.b.c": "deep", "a.x.y": None, "none": None}
    getters = {name: compile_source(_column(name), json_lookup, frozenset()) for name in ("flag", "empty", "list")}
    assert {name: getter(row) for name, getter in getters.items() if getter} == {
        "flag": "true",
        "empty": None,
        "list": ["x"],
    }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("urls.0.to", "a"),
        ("urls.2.to", None),
        ("urls.to", ["a", "b"]),
        ("urls.on.to", None),
        ("urls.tags", [["x"], ["y"]]),
        ("urls.tags.0", ["x", "y"]),
        ("pairs.0", [1]),
        ("text.to", None),
    ],
)
def test_json_paths_along_lists(path: str, expected: Any) -> None:
    row = {"urls": [{"to": "a", "tags": ["x"]}, {"to": "b", "tags": ["y"]}, 7], "pairs": [[1]], "text": "to"}
    assert json_lookup(path, 1)(row) == expected


def _column(name: str) -> Any:
    return Record.model_validate({"platform": "x", "fields": {"bio": name}}).fields["bio"]
