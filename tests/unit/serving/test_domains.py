"""Domains in answers: creators are compared by their vectors of one kind of content, and only those that have one are found."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import serving_oracle as oracle
from serving_factories import (
    AS_OF,
    DIMENSIONS,
    build,
    document,
    make_snapshot,
    serving_settings,
    word_encoder,
    write_export,
)

from index_build.export import open_export
from index_build.manifest import seal
from index_build.renew import renew
from lakehouse.errors import IntegrityError
from serving.dictionaries import dictionaries, snapshot_info
from serving.domains import NONE
from serving.errors import BadRequestError, RequestError
from serving.models import COMPONENTS
from serving.search import Searcher
from serving.snapshot import Snapshot

ROWS = 900
SPEC = {"flat_max_rows": 100, "rows_per_list": 40, "shard_max_rows": 400, "queries_per_cell": 8}
BY_MEANING = dict.fromkeys(COMPONENTS, 0.0) | {"similarity": 1.0}
FILTERS: list[dict[str, Any]] = [{"is_private": "any"}, {}, {"platforms": ["tiktok"]}, {"has_contact": True}]

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class World:
    documents: list[dict[str, Any]]
    searcher: Searcher

    def expected(self, query: Vector, filters: dict[str, Any], *, without: str = "") -> dict[str, float]:
        """Cosine of the short-form vectors of all creators that pass and have one, below 0 counts as 0."""
        passing = [doc for doc in self.documents if oracle.matches(doc, filters, today=AS_OF)]
        return {
            doc["creator_id"]: max(0.0, float(np.dot(query, doc["short_vector"])))
            for doc in passing
            if doc["short_vector"] is not None and doc["creator_id"] != without
        }

    def of(self, creator_id: str) -> dict[str, Any]:
        return next(doc for doc in self.documents if doc["creator_id"] == creator_id)


def _documents() -> list[dict[str, Any]]:
    rng, noise = random.Random(11), np.random.default_rng(11)
    topics = noise.standard_normal((12, DIMENSIONS))
    documents = [oracle.random_document(rng, number) for number in range(ROWS)]
    for number, doc in enumerate(documents):
        for name in ("vector", "short_vector"):
            vector = topics[rng.randrange(12)] + 0.7 * noise.standard_normal(DIMENSIONS)
            doc[name] = (vector / np.linalg.norm(vector)).astype(np.float32).tolist()
        if number % 3 == 0:
            doc["short_vector"] = None
    return documents


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, documents = tmp_path_factory.mktemp("domains"), _documents()
    snapshot = build(folder, documents, spec=SPEC)
    searcher = Searcher(Snapshot.open(snapshot, serving_settings(folder / "home"), encoder=word_encoder()))
    yield World(documents, searcher)
    searcher.close()


def _query(seed: int) -> Vector:
    vector = np.random.default_rng(seed).standard_normal(DIMENSIONS)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _near(vector: list[float], seed: int) -> list[float]:
    moved = np.array(vector) + 0.3 * _query(seed)
    near: list[float] = (moved / np.linalg.norm(moved)).tolist()
    return near


@pytest.mark.parametrize("exhaustive", [10, 5_000], ids=["streams", "exhaustive"])
@pytest.mark.parametrize("filters", FILTERS)
def test_the_best_of_the_domain_are_found(
    world: World, filters: dict[str, Any], exhaustive: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.search.EXHAUSTIVE_MATCHES", exhaustive)
    monkeypatch.setattr("serving.search.EXHAUSTIVE_MOST", exhaustive)
    found = hits = 0
    for seed in range(8):
        query = _query(100 * exhaustive + seed)
        expected = world.expected(query, filters)
        body = {"domain": "short", "filters": filters, "weights": BY_MEANING, "explain": True}
        answer = world.searcher.search(body, vector=query)
        assert answer.total == len(expected)
        assert answer.explain is not None
        assert answer.explain["domain"] == "short"
        scores = [hit.score for hit in answer.hits]
        assert scores == pytest.approx([expected[hit.creator_id] for hit in answer.hits], abs=0.01)
        best = sorted(expected.values(), reverse=True)[: len(scores)]
        hits += sum(score >= best[-1] - 0.01 for score in scores)
        found += len(scores)
    assert found == 8 * 10
    assert hits / found >= 0.95


def test_the_whole_is_not_touched(world: World) -> None:
    query = _query(5)
    whole = world.searcher.search({"weights": BY_MEANING, "filters": {"is_private": "any"}}, vector=query)
    assert whole.total == ROWS
    assert whole.plan.rows == ROWS
    best = max(world.documents, key=lambda doc: float(np.dot(query, doc["vector"])))
    assert whole.hits[0].creator_id == best["creator_id"]
    assert whole.hits[0].creator_id != world.searcher.search({"domain": "short"}, vector=query).hits[0].creator_id


def test_similar_creators_are_those_of_similar_short_content(world: World) -> None:
    seed = world.documents[1]
    body = {
        "similar_to": [seed["creator_id"]],
        "domain": "short",
        "weights": BY_MEANING,
        "filters": {"is_private": "any"},
    }
    answer = world.searcher.search(body)
    expected = world.expected(
        np.array(seed["short_vector"], np.float32), {"is_private": "any"}, without=seed["creator_id"]
    )
    assert answer.total == len(expected)
    assert answer.hits[0].creator_id == max(expected, key=lambda name: expected[name])
    told = answer.hits[0].seed_similarities[0].similarity
    assert told == pytest.approx(answer.hits[0].score, abs=1e-3)


def test_pages_are_disjoint_and_complete(world: World) -> None:
    body: dict[str, Any] = {"similar_to": ["c0001"], "domain": "short", "filters": {"platforms": ["x"]}, "limit": 100}
    seen: list[str] = []
    cursor = None
    while True:
        answer = world.searcher.search(body | {"cursor": cursor})
        seen += [hit.creator_id for hit in answer.hits]
        cursor = answer.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == answer.total
    assert all(world.of(creator)["short_vector"] is not None for creator in seen)
    first = world.searcher.search(body)
    with pytest.raises(BadRequestError, match="another request"):
        world.searcher.search(body | {"domain": None, "cursor": first.next_cursor})


def test_facets_count_those_that_have_the_content(world: World) -> None:
    query = _query(7)
    for filters in ({"is_private": "any"}, {"platforms": ["tiktok"]}):
        answer = world.searcher.search({"domain": "short", "filters": filters}, vector=query)
        expected = [world.of(creator) for creator in world.expected(query, filters)]
        told = {entry.code: entry.count for entry in answer.facets["platform"]}
        assert told == {
            code: count
            for code in oracle.PLATFORMS
            if (count := sum(any(p["platform"] == code for p in doc["profiles"]) for doc in expected))
        }


def test_words_and_columns_count_as_ever(world: World) -> None:
    answer = world.searcher.search({"query": "vegan", "domain": "short", "limit": 50})
    assert {part.name for part in answer.hits[0].contributions} >= {"similarity", "lexical"}
    for hit in answer.hits:
        assert world.of(hit.creator_id)["short_vector"] is not None


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"domain": "shor", "query": "vegan"}, "domain", "did you mean 'short'"),
        ({"domain": "short"}, "domain", "needs a query"),
        ({"domain": "short", "similar_to": ["c0000"]}, "similar_to", "'c0000' has no vector in the domain"),
        ({"domain": "short", "query": "vegan", "dissimilar_to": ["c0003"]}, "dissimilar_to", "'c0003' has no vector"),
        ({"domain": 7, "query": "vegan"}, "domain", "string"),
    ],
)
def test_what_a_domain_cannot_do_is_said(world: World, body: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        world.searcher.search(body)
    assert caught.value.field == field


def test_of_nothing_found_the_domain_is_named_too(world: World) -> None:
    answer = world.searcher.search(
        {"query": "vegan", "domain": "short", "filters": {"followers_total": {"min": 10**12}}}
    )
    assert answer.explain is not None
    assert answer.explain["clauses"]["domain"] == world.searcher.snapshot.domains["short"].rows


def test_domains_are_listed(world: World) -> None:
    count = sum(doc["short_vector"] is not None for doc in world.documents)
    entry = {"code": "short", "label": "short-form content", "count": count}
    assert dictionaries(world.searcher)["domains"] == [entry]
    told = snapshot_info(world.searcher)["domains"]
    assert told[0].items() >= entry.items()
    assert told[0]["recall_minimum"] >= 0.95


def test_rows_and_gids_are_each_others_inverse(world: World) -> None:
    shards = world.searcher.snapshot.domains["short"]
    rows = np.arange(shards.rows)
    assert np.array_equal(shards.rows_of(shards.gids_of(rows)), rows)
    having = [doc["creator_id"] for doc in world.documents if doc["short_vector"] is not None]
    found = world.searcher.snapshot.documents.creator_ids(shards.gids_of(rows))
    assert sorted(found) == sorted(having)
    stored = shards.vectors(shards.gids_of(rows[:5]))
    expected = [world.of(creator)["short_vector"] for creator in found[:5]]
    assert stored == pytest.approx(np.array(expected), abs=0.02)


def test_a_snapshot_without_domains_says_so(searcher: Searcher) -> None:
    assert dictionaries(searcher)["domains"] == []
    with pytest.raises(RequestError, match="Unknown domain 'short'"):
        searcher.search({"query": "football", "domain": "short"})


def test_a_renewed_domain_finds_what_is_there_now(world: World, tmp_path: Path) -> None:
    """Creators that are gone, that lost their short-form content, that are new, and that changed it."""
    base = build(tmp_path / "base", world.documents, spec=SPEC)
    changed = [dict(doc) for doc in world.documents[5:]]
    for doc in changed[:12]:
        doc["short_vector"] = None
    like = [doc["short_vector"] for doc in world.documents if doc["short_vector"] is not None]
    for number, doc in enumerate(changed[20:40]):
        doc["short_vector"] = _near(like[number], 900 + number)
    changed += [document(f"new{number}", short_vector=_near(like[-1 - number], 500 + number)) for number in range(10)]
    export = open_export(write_export(tmp_path / "export", changed, export_id="night"))
    held = Snapshot.open(base, serving_settings(tmp_path / "home"), encoder=word_encoder())
    held.close()
    out = tmp_path / "out"
    manifest = renew(export, base, held.manifest, out, log=lambda _: None)
    assert manifest is not None
    assert manifest.domains[0].manifest.full_build is not None
    for entry in manifest.files():
        if not (out / entry.path).exists():
            (out / entry.path).parent.mkdir(parents=True, exist_ok=True)
            (out / entry.path).hardlink_to(base / entry.path)
    searcher = Searcher(Snapshot.open(out, serving_settings(tmp_path / "home"), encoder=word_encoder()))
    now = World(changed, searcher)
    for seed in (1, 2, 500, 903):
        query = _query(seed)
        body = {"domain": "short", "weights": BY_MEANING, "filters": {"is_private": "any"}}
        answer = searcher.search(body, vector=query)
        expected = now.expected(query, {"is_private": "any"})
        assert answer.total == len(expected)
        assert answer.plan.rows == len(expected)
        best = sorted(expected.values(), reverse=True)[:10]
        assert [hit.score for hit in answer.hits] == pytest.approx(best, abs=0.01)
        assert {hit.creator_id for hit in answer.hits} <= expected.keys()
    assert (searcher.snapshot.domains["short"].gids_of(np.arange(ROWS // 2)) == NONE).any()
    searcher.close()


def test_a_domain_of_other_creators_is_refused(tmp_path: Path) -> None:
    """A manifest may fit its files and still name creators that the documents do not have."""
    documents = [document(f"c{number}", short_vector=_query(number).tolist()) for number in range(40)]
    export = write_export(tmp_path / "export", documents)
    manifest = make_snapshot(export, tmp_path / "snapshot")
    other = [document(f"d{number}", short_vector=_query(number).tolist()) for number in range(40)]
    foreign = make_snapshot(write_export(tmp_path / "other", other), tmp_path / "foreign")
    domain = foreign.domains[0]
    for file in domain.files():
        (tmp_path / "snapshot" / file.path).write_bytes((tmp_path / "foreign" / file.path).read_bytes())
    swapped = seal(manifest.model_copy(update={"domains": (domain,)}))
    (tmp_path / "snapshot" / "manifest.json").write_bytes(swapped.to_json())
    assert json.loads(swapped.to_json())["domains"][0]["name"] == "short"
    with pytest.raises(IntegrityError, match="40 creators of the domain short are not among the documents"):
        Snapshot.open(tmp_path / "snapshot", serving_settings(tmp_path / "home"), encoder=word_encoder())
