"""Filters against a plain-Python oracle, and what must hold for any request. One random world, random requests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import pytest
import serving_oracle as oracle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_factories import build, serving_settings, word_encoder, write_export

from index_build.bitmaps import unpack_mask
from index_build.lake import publish_export
from index_build.spec import IndexSpec
from lakehouse.contracts.layout import export_key, snapshot_key
from lakehouse.storage.objects import ObjectStore
from serving.filters import compile_filters
from serving.requests import parse_request
from serving.search import Searcher
from serving.snapshot import Snapshot

pytestmark = pytest.mark.properties

ROWS = 150
SQ8_ERROR = 5e-3
"""Between scores of two builds: each has a scale of its own."""
NEW, MOVED, GONE = 8, 5, 7
"""Of the renewed snapshot: creators that came, that got another vector, that went, in the night before it."""
RENEWED_SPEC = {"flat_max_rows": 100, "rows_per_list": 8, "queries_per_cell": 8, "recall_target": 0.5}
EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    rng = random.Random(11)
    return [oracle.random_document(rng, number) for number in range(ROWS)]


@pytest.fixture(scope="module", params=["built", "renewed"])
def searcher(
    documents: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Searcher]:
    """The documents as a full build, and as the night after another one."""
    folder = tmp_path_factory.mktemp("world")
    made = build(folder, documents) if request.param == "built" else _renewed(folder, documents)
    found = Searcher(Snapshot.open(made, serving_settings(folder), encoder=word_encoder()))
    yield found
    found.close()


@pytest.fixture(scope="module")
def both(documents: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Searcher]]:
    """A full build and a renewal of the same documents."""
    folder = tmp_path_factory.mktemp("both")
    made = (build(folder, documents, spec=RENEWED_SPEC), _renewed(folder, documents))
    found = [Searcher(Snapshot.open(one, serving_settings(folder), encoder=word_encoder())) for one in made]
    yield found
    for one in found:
        one.close()


def _renewed(folder: Path, documents: list[dict[str, Any]]) -> Path:
    """Snapshot of documents on a build of the day before: some were not there, some told of other things, some are gone since."""
    rng = random.Random(12)
    before = [oracle.random_document(rng, number) for number in range(len(documents) + GONE)]
    for old, new in zip(before[NEW + MOVED :], documents[NEW + MOVED :], strict=False):
        old |= {name: new[name] for name in ("doc_text", "vector")}
    store = ObjectStore.open(serving_settings(folder).lake)
    snapshots = [
        publish_export(
            store, export_id, scratch=folder / "scratch", spec=IndexSpec(**RENEWED_SPEC), log=lambda _line: None
        )
        for export_id, rows in (("before", before[NEW:]), ("after", documents))
        if write_export(Path(store.layout.root) / export_key(export_id, ""), rows, export_id=export_id)
    ]
    assert snapshots[1].built.snapshot_id == snapshots[0].snapshot_id
    assert snapshots[1].rows_count == len(documents) + GONE + MOVED
    return Path(store.layout.root) / snapshot_key(snapshots[1].snapshot_id, "")


def _range(*values: Any) -> st.SearchStrategy[dict[str, Any]]:
    pairs = st.tuples(st.sampled_from(values), st.sampled_from(values)).map(sorted)
    keys = st.sampled_from((("min",), ("max",), ("min", "max")))
    return st.builds(lambda pair, chosen: {key: pair[0] if key == "min" else pair[1] for key in chosen}, pairs, keys)


def _some(*values: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3)


_ENTRIES = st.lists(
    st.lists(st.sampled_from((*oracle.WORDS, "Cafe", "VEGAN", "mess", "no")), min_size=1, max_size=2).map(" ".join),
    min_size=1,
    max_size=2,
)

FILTERS: dict[str, st.SearchStrategy[Any]] = {
    "platforms": st.one_of(
        _some(*oracle.PLATFORMS),
        st.builds(lambda codes, key: {key: codes}, _some(*oracle.PLATFORMS), st.sampled_from(("any", "all"))),
    ),
    "followers": _range(0, 10, 999, 1_000, 1_000_000),
    "following": _range(0, 10, 1_000),
    "content_count": _range(0, 10, 1_000),
    "er_followers": _range(0.0, 0.02, 0.5, 1.0),
    "er_views": _range(0.0, 0.02, 0.5),
    "growth_90d": _range(-0.5, 0.0, 0.3),
    "last_post_at": _range(*(oracle.ago(days).isoformat() for days in (400, 31, 30, 5, 0))),
    "active_within_days": st.sampled_from((0, 5, 30, 1_000)),
    "max_age_days": st.sampled_from((0, 100, 365, 5_000)),
    "location": _some(*oracle.COUNTRIES).map(lambda codes: {"country": codes}),
    "language": _some(*oracle.LANGUAGES),
    "account_type": _some("creator", "brand", "business"),
    "verified": st.booleans(),
    "is_private": st.sampled_from((True, False, "any")),
    "followers_total": _range(0, 1_000, 1_000_000),
    "posts_per_week": _range(0.0, 1.5, 20.0),
    "niche": st.fixed_dictionaries(
        {},
        optional={
            "include": _some(*oracle.NICHES, "food"),
            "exclude": _some(*oracle.NICHES),
            "min_score": st.sampled_from((0.0, 0.3, 0.8)),
        },
    ),
    "risk": st.fixed_dictionaries(
        {},
        optional={
            "exclude": _some(*oracle.RISKS),
            "max_level": st.sampled_from(oracle.LEVELS),
            "categories": _some(*oracle.RISKS),
        },
    ).filter(lambda value: "categories" not in value or "max_level" in value),
    "quality_min": st.sampled_from((0.0, 0.5, 1.0)),
    "anomaly_max": st.sampled_from((0.0, 0.5, 1.0)),
    "identity_confidence_min": st.sampled_from((0.0, 0.9, 1.0)),
    "linked_platforms": _some(*oracle.PLATFORMS),
    "has_contact": st.booleans(),
    "exclude_handles": st.lists(
        st.integers(0, ROWS - 1).flatmap(lambda n: st.sampled_from([f"@{w}.{n}_0" for w in oracle.WORDS])), max_size=4
    ),
    "text": st.fixed_dictionaries(
        {},
        optional={
            "include": _ENTRIES,
            "exclude": _ENTRIES,
            "fields": _some("handle", "name", "bio", "content"),
            "match": st.sampled_from(("words", "phrase", "prefix")),
        },
    ),
    "include_unknown": st.booleans(),
}
"""Values of every filter, drawn from those that the documents hold, their neighbours and their absence."""


@st.composite
def requests(draw: st.DrawFn, most: int = 4) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(FILTERS)), max_size=most, unique=True))
    return {name: draw(FILTERS[name]) for name in names}


def _ids(searcher: Searcher, filters: dict[str, Any], **rest: Any) -> list[str]:
    """All pages of a request."""
    body = {"filters": filters, "limit": 100, **rest}
    found: list[str] = []
    while True:
        answer = searcher.search(body)
        found += [hit.creator_id for hit in answer.hits]
        if answer.next_cursor is None:
            assert answer.total == len(found)
            return found
        body["cursor"] = answer.next_cursor


@EXAMPLES
@given(filters=requests())
def test_filters_mean_what_the_oracle_says(
    searcher: Searcher, documents: list[dict[str, Any]], filters: dict[str, Any]
) -> None:
    today = datetime.combine(datetime.now(UTC).date(), time.min, tzinfo=UTC)
    expected = {doc["creator_id"] for doc in documents if oracle.matches(doc, filters, today=today)}
    assert set(_ids(searcher, filters)) == expected
    snapshot = searcher.snapshot
    compiled = compile_filters(parse_request({"filters": filters}).filters, snapshot.vocabulary)
    assert (
        unpack_mask(snapshot.matcher.rows(compiled), snapshot.catalog.rows).tolist()
        == snapshot.catalog.match(compiled).tolist()
    )


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_each_filter_alone_means_what_the_oracle_says(
    searcher: Searcher, documents: list[dict[str, Any]], name: str
) -> None:
    today = datetime.combine(datetime.now(UTC).date(), time.min, tzinfo=UTC)

    @settings(max_examples=8, deadline=None)
    @given(value=FILTERS[name])
    def check(value: Any) -> None:
        expected = {doc["creator_id"] for doc in documents if oracle.matches(doc, {name: value}, today=today)}
        assert set(_ids(searcher, {name: value})) == expected

    check()


@EXAMPLES
@given(filters=requests(2), more=requests(2))
def test_another_filter_never_adds_rows(searcher: Searcher, filters: dict[str, Any], more: dict[str, Any]) -> None:
    loosening = ("include_unknown", "is_private")  # the only two that may widen what is in scope
    narrower = {name: value for name, value in more.items() if name not in (*filters, *loosening)}
    assert set(_ids(searcher, filters | narrower)) <= set(_ids(searcher, filters))


@EXAMPLES
@given(
    filters=requests(2),
    query=st.lists(st.sampled_from(oracle.WORDS), min_size=1, max_size=3).map(" ".join),
    limit=st.integers(1, 100),
)
def test_hits_are_as_many_as_exist_and_scores_add_up(
    searcher: Searcher, filters: dict[str, Any], query: str, limit: int
) -> None:
    answer = searcher.search({"query": query, "filters": filters, "limit": limit})
    assert len(answer.hits) == min(limit, answer.total)
    keys = [(-hit.score, hit.creator_id) for hit in answer.hits]
    assert keys == sorted(keys)
    for hit in answer.hits:
        assert round(sum(part.contribution for part in hit.contributions), 6) == hit.score
        for part in hit.contributions:
            assert part.contribution == pytest.approx(part.weight * part.value, abs=2e-6)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(1, 60),
    body=st.sampled_from(
        [
            {"query": "vegan runner"},
            {},
            {"sort": {"by": "followers"}},
            {"sort": {"by": "name", "order": "asc"}},
            {"query": "messi", "sort": {"by": "last_post_at"}},
            {"similar_to": ["c0001", "c0002"]},
        ]
    ),
)
def test_pages_are_disjoint_and_complete(searcher: Searcher, limit: int, body: dict[str, Any]) -> None:
    found = _ids(searcher, {"is_private": "any"}, **body, limit=limit)
    seeds = set(body.get("similar_to", []))
    assert len(found) == len(set(found))
    assert set(found) == {f"c{number:04d}" for number in range(ROWS)} - seeds


@EXAMPLES
@given(filters=requests(2), query=st.sampled_from(("", "vegan runner", "messi daily")))
def test_a_renewed_snapshot_answers_as_a_full_build(both: list[Searcher], filters: dict[str, Any], query: str) -> None:
    body = {"filters": filters, "limit": 100} | ({"query": query} if query else {})
    one, other = (searcher.search(body) for searcher in both)
    assert (one.total, one.facets) == (other.total, other.facets)
    assert [hit.score for hit in one.hits] == pytest.approx([hit.score for hit in other.hits], abs=SQ8_ERROR)
    if one.total <= len(one.hits):
        assert {hit.creator_id for hit in one.hits} == {hit.creator_id for hit in other.hits}


@EXAMPLES
@given(filters=requests(3), seed=st.integers(0, 1_000))
def test_order_and_repetition_do_not_change_the_hash(searcher: Searcher, filters: dict[str, Any], seed: int) -> None:
    rng = random.Random(seed)

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            names = list(value)
            rng.shuffle(names)
            return {name: shuffled(value[name]) for name in names}
        if isinstance(value, list):
            return rng.sample(value, len(value)) + value[:1]
        return value

    again = shuffled(filters)
    first, second = (searcher.search({"filters": one, "explain": True, "limit": 1}).explain for one in (filters, again))
    assert first is not None
    assert second is not None
    assert first["filter_hash"] == second["filter_hash"]
