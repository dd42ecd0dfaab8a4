"""Snapshots of anybody's columns and vectors: each column is a filter, vectors are given, unknown names are errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from serving_factories import FEW_QUERIES, serving_settings

from index_build.build import build_from
from index_build.export import open_files
from index_build.spec import IndexSpec
from serving.dictionaries import dictionaries
from serving.errors import RequestError
from serving.search import Searcher

DIMENSIONS = 8
ROWS = [
    {"creator_id": f"f{n}", "name": f"Package {n}", "platform": "pypi" if n % 2 else "npm", "downloads": n * 100}
    | {
        "ratio": None if n == 3 else math.nan if n == 7 else n / 10,
        "quality_score": n - 2.0,
        "is_new": n > 5,
        "tags": ["web"] if n < 4 else ["data", "ml"],
    }
    | {"released_at": datetime(2026, 1, 1 + n, tzinfo=UTC)}
    for n in range(10)
]


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searcher]:
    folder = tmp_path_factory.mktemp("foreign")
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "docs.parquet")
    np.save(folder / "vectors.npy", np.eye(len(ROWS), DIMENSIONS, dtype=np.float32) + 0.1)
    export = open_files(folder / "docs.parquet", folder / "vectors.npy")
    build_from(export, folder / "snapshot", IndexSpec(**FEW_QUERIES), log=lambda _: None)
    found = Searcher.open(folder / "snapshot", settings=serving_settings(folder / "home"))
    yield found
    found.close()


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"platform": "npm"}, {0, 2, 4, 6, 8}),
        ({"platform": ["npm", "pypi"], "downloads": {"min": 800}}, {8, 9}),
        ({"platforms": ["npm"], "is_new": True}, {6, 8}),
        ({"ratio": {"max": 0.3}}, {0, 1, 2}),
        ({"ratio": {"max": 0.3}, "include_unknown": True}, {0, 1, 2, 3, 7}),
        ({"ratio": {"min": 0.6}}, {6, 8, 9}),
        ({"tags": ["ml"]}, {4, 5, 6, 7, 8, 9}),
        ({"released_at": {"min": "2026-01-09"}}, {8, 9}),
        ({"name": "Package 4"}, {4}),
        ({"text": {"include": ["package 4"], "match": "phrase"}}, {4}),
    ],
)
def test_columns_are_filters(searcher: Searcher, filters: dict[str, Any], expected: set[int]) -> None:
    answer = searcher.search({"filters": filters, "limit": 100})
    assert {hit.creator_id for hit in answer.hits} == {f"f{n}" for n in expected}


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        ({"gid": 3}, "Unknown filter 'gid'"),
        ({"downlods": 3}, "did you mean 'downloads'"),
        ({"downloads": "many"}, "holds numbers"),
        ({"downloads": {"min": 5, "max": 1}}, "min is above max"),
        ({"is_new": 1}, "true and false"),
        ({"tags": {"min": "a"}}, "where the column is no list"),
        ({"platform": []}, "empty list"),
        ({"platform": "\ud800"}, "not valid Unicode"),
        ({"downloads": 10**60}, "64 bits"),
        ({"ratio": {"min": float("nan")}}, "finite"),
        ({"tags": ["\udfff"]}, "not valid Unicode"),
        ({"ratio": {"max": float("inf")}}, "finite"),
        ({"released_at": {"min": "0001-01-01T00:00:00+14:00"}}, "ISO 8601"),
        ({"followers": {"min": 3}}, "no column 'followers_count'"),
        ({"platforms": {"all": ["npm"]}}, "no column 'platforms'"),
    ],
)
def test_wrong_filters_are_named(searcher: Searcher, filters: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        searcher.search({"filters": filters})


def test_a_given_vector_ranks_and_columns_come_back(searcher: Searcher) -> None:
    query = np.eye(1, DIMENSIONS, 4, dtype=np.float32)[0]
    hit = searcher.search({"filters": {"platform": "npm"}}, vector=query).hits[0]
    assert hit.creator_id == "f4"
    assert hit.display_name == "Package 4"
    assert hit.columns is not None
    assert hit.columns["released_at"] == "2026-01-05T00:00:00Z"


def test_columns_have_their_own_names_in_explanations_and_lists(searcher: Searcher) -> None:
    explain = searcher.search({"filters": {"downloads": {"min": 800}}, "explain": True}).explain
    assert explain is not None
    assert explain["filter"] == {"downloads": {"min": 800}}
    assert explain["clauses"] == {"downloads": 2}
    assert "downloads" in searcher.sorts()
    assert "gid" not in [*searcher.sorts(), *dictionaries(searcher)["filters"]]


def test_a_quality_on_another_scale_stays_a_component(searcher: Searcher) -> None:
    hits = searcher.search({"limit": 100}).hits
    values = [part.value for hit in hits for part in hit.contributions if part.name == "quality"]
    assert sorted(values) == [0.0] * 3 + [1.0] * 7


def test_seeds_and_sorts_work_without_an_encoder(searcher: Searcher) -> None:
    assert "f2" not in [hit.creator_id for hit in searcher.search({"similar_to": ["f2"]}).hits]
    assert searcher.search({"sort": "downloads", "limit": 1}).hits[0].creator_id == "f9"


def test_a_text_needs_an_encoder(searcher: Searcher) -> None:
    with pytest.raises(RequestError) as caught:
        searcher.search({"query": "web server"})
    assert caught.value.code == "no_encoder"
