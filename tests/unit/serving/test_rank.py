"""Scores and candidate streams; the oracle of the streams is scoring every match."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from serving_factories import build, document, profile, serving_settings, word_encoder

import serving.rank as rank_module
from serving.columns import lower_share, prominence_of, tiers_of
from serving.filters import compile_filters
from serving.lexical import joined_spans
from serving.models import CountRange, Filters, Weights
from serving.plan import branch_of, plan_of
from serving.question import make_question
from serving.rank import Question, Scorer, continued, rank_all, rank_static, rank_streams, size_fit
from serving.requests import parse_request
from serving.search import Searcher
from serving.snapshot import Snapshot
from serving.work import Work

QUERIES = ("vegan", "messi runner", "daily vlog café", "runner", "fitness")


def _scorer(searcher: Searcher, query: str, **weights: float) -> Scorer:
    request = parse_request({"query": query, "weights": weights})
    filters = compile_filters(request.filters, searcher.snapshot.vocabulary)
    work = Work(request, filters, "key", 0, date(2026, 3, 1))
    return Scorer(searcher.snapshot.columns, make_question(searcher.snapshot, work))


@pytest.fixture
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_module, "ROUNDS", (32, 128, 256))
    monkeypatch.setattr(rank_module, "MEETING_ROUND", 32)


@pytest.mark.usefixtures("small_rounds")
@pytest.mark.parametrize("filters", [Filters(), Filters(has_contact=True)])
def test_streams_find_what_scoring_every_match_finds(ivf_searcher: Searcher, filters: Filters) -> None:
    snapshot = ivf_searcher.snapshot
    matches = snapshot.matching(compile_filters(filters, snapshot.vocabulary))
    hits = 0
    for query in QUERIES:
        scorer = _scorer(ivf_searcher, query)
        truth = rank_all(snapshot.shards, matches, scorer)
        found = rank_streams(snapshot.shards, matches, scorer, window=20)
        assert len(found.gids) == 20
        assert found.candidates < matches.total
        hits += len(set(found.gids[:10].tolist()) & set(truth.gids[:10].tolist()))
    assert hits >= 0.95 * 10 * len(QUERIES)


@pytest.mark.usefixtures("small_rounds")
def test_a_window_is_completed_without_repetition(ivf_searcher: Searcher) -> None:
    snapshot = ivf_searcher.snapshot
    matches = snapshot.matching(compile_filters(Filters(), snapshot.vocabulary))
    scorer = _scorer(ivf_searcher, "vegan")
    window = rank_streams(snapshot.shards, matches, scorer, window=20)
    every = continued(window, rank_all(snapshot.shards, matches, scorer))
    assert every.gids[: len(window.gids)].tolist() == window.gids.tolist()
    assert sorted(every.gids.tolist()) == matches.gids.tolist()


@pytest.mark.usefixtures("small_rounds")
def test_static_weight_alone_is_found_by_the_static_stream(ivf_searcher: Searcher) -> None:
    snapshot = ivf_searcher.snapshot
    matches = snapshot.matching(compile_filters(Filters(), snapshot.vocabulary))
    scorer = _scorer(ivf_searcher, "vegan", similarity=0.0, lexical=0.0, niche=0.0, quality=5.0)
    truth = rank_all(snapshot.shards, matches, scorer)
    found = rank_streams(snapshot.shards, matches, scorer, window=20)
    best = scorer.scores(truth.gids[:20], truth.similarities[:20])
    assert scorer.scores(found.gids, found.similarities).tolist() == best.tolist()


@pytest.mark.parametrize("weights", [{}, {"niche": 0.0, "lexical": 0.0}, {"similarity": 0.2, "size": 3.0}])
@pytest.mark.parametrize("window", [1, 20, 100])
def test_a_window_holds_the_head_of_all_with_the_same_similarities(
    ivf_searcher: Searcher, window: int, weights: dict[str, float]
) -> None:
    snapshot = ivf_searcher.snapshot
    matches = snapshot.matching(compile_filters(Filters(), snapshot.vocabulary))
    for query in QUERIES:
        scorer = _scorer(ivf_searcher, query, **weights)
        every = rank_all(snapshot.shards, matches, scorer)
        found = rank_all(snapshot.shards, matches, scorer, window=window)
        assert found.gids.tolist() == every.gids[:window].tolist()
        assert found.similarities.tolist() == every.similarities[:window].tolist()
        assert (found.candidates, found.is_complete) == (matches.total, False)


def test_few_matches_are_all_scored_and_many_take_streams(ivf_searcher: Searcher) -> None:
    answer = ivf_searcher.search({"query": "vegan", "filters": {"followers": {"min": 10**6}}})
    assert (answer.plan.name, answer.plan.stop) == ("exhaustive", "exhausted")
    assert answer.plan.candidates == answer.plan.matches


def test_the_branch_follows_the_number_of_matches(ivf_searcher: Searcher) -> None:
    calibration = ivf_searcher.snapshot.manifest.calibration
    few = calibration.exact_max_matches

    def branch(matches: int, *, is_flat: bool = False) -> str:
        return branch_of(matches=matches, rows=1_000, is_flat=is_flat, calibration=calibration)

    assert branch(0) == "empty"
    assert branch(few) == "gather"
    assert branch(few + 1) == "probe"
    assert branch(1_000) == "probe_all"
    assert branch(1_000, is_flat=True) == "scan"


def test_the_plan_of_a_request() -> None:
    assert plan_of(matches=0, has_vector=True, exhaustive_limit=5) == "empty"
    assert plan_of(matches=9, has_vector=False, exhaustive_limit=5) == "sort_only"
    assert plan_of(matches=5, has_vector=True, exhaustive_limit=5) == "exhaustive"
    assert plan_of(matches=6, has_vector=True, exhaustive_limit=5) == "streams"


def test_more_matches_than_can_be_scored_in_full_are_streams(
    ivf_searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.search.EXHAUSTIVE_MATCHES", 1)
    body = {"query": "vegan", "filters": {"followers": {"min": 10**6}}}
    assert ivf_searcher.search(body).plan.name == "exhaustive"
    monkeypatch.setattr("serving.search.EXHAUSTIVE_MOST", 1)
    assert ivf_searcher.search(body | {"limit": 7}).plan.name == "streams"


def test_ties_go_by_creator_id(searcher: Searcher) -> None:
    nothing = dict.fromkeys(Weights.model_fields, 0.0)
    answer = searcher.search({"query": "football", "weights": nothing})
    found = [hit.creator_id for hit in answer.hits]
    assert {hit.score for hit in answer.hits} == {0.0}
    assert found == sorted(found)


def test_size_fit() -> None:
    followers = np.array([np.nan, 0.0, 999.0, 1e9, 31_622.0, 1_000_000.0])
    plain = size_fit(followers, None)
    assert np.isnan(plain[0])
    assert plain[1:4].tolist() == pytest.approx([0.0, 1 / 3, 1.0], abs=1e-9)
    ranged = size_fit(followers, CountRange(min=1_000, max=1_000_000))
    assert ranged[4] == pytest.approx(1.0, abs=1e-3)
    assert ranged[5] == pytest.approx(0.5)


def test_lower_share_compares_within_the_group() -> None:
    values = np.array([0.1, 0.2, 0.3, 5.0, np.nan, 7.0])
    groups = np.array([0, 0, 0, 1, 1, 2], dtype=np.uint8)
    assert lower_share(values, groups).tolist() == pytest.approx([0.0, 0.5, 1.0, 0.5, np.nan, 0.5], nan_ok=True)


def test_tiers_are_left_closed() -> None:
    assert tiers_of(np.array([0.0, 999.0, 1_000.0, 9_999_999.0, 10_000_000.0, np.nan])).tolist() == [0, 0, 1, 8, 9, 10]


def test_neighbouring_words_are_also_looked_for_as_one() -> None:
    assert joined_spans(("mr", "beast")) == {"mrbeast": (0, 1), "mr": (0,), "beast": (1,)}
    assert joined_spans(("duran", "duran")) == {"duranduran": (0,), "duran": (0,)}
    assert joined_spans(("a", "b", "c", "d", "e"))["abcde"] == (0, 1, 2, 3, 4)


def test_prominence_of_unknown_audiences_is_the_median() -> None:
    assert prominence_of(np.array([np.nan, 0.0, 999.0, 1e12])).tolist() == pytest.approx([1 / 3, 0.0, 1 / 3, 1.0])
    assert prominence_of(np.array([np.nan])).tolist() == [0.5]


def test_of_equal_names_the_large_one_comes_first(tmp_path: Path) -> None:
    """The small one says nothing but the name, so its text is closest to the query."""
    small = [
        document(f"c_{n}", profile("x", f"fan{n}", display_name="Leo Messi", followers_count=n), doc_text="Leo Messi")
        for n in range(1, 4)
    ]
    large = document(
        "c_large",
        profile("instagram", "leomessi", display_name="Leo Messi", followers_count=400_000_000),
        doc_text="leo messi football barcelona paris miami argentina champion",
    )
    other = document("c_other", profile("x", "messi.leo.football", followers_count=900_000_000), doc_text="leo messi")
    folder = build(tmp_path, [*small, large, other])
    searcher = Searcher(Snapshot.open(folder, serving_settings(tmp_path / "home"), encoder=word_encoder()))
    hits = searcher.search({"query": "leo messi"}).hits
    assert [hit.creator_id for hit in hits] == ["c_large", "c_other", "c_3", "c_2", "c_1"]
    assert hits[0].reasons[0] == "The query is its name or handle; 400M followers on its largest profile."
    unweighted = searcher.search({"query": "leo messi", "weights": {"similarity": 1.0, "lexical": 0.0, "size": 0.0}})
    assert unweighted.hits[-1].creator_id == "c_large"
    searcher.close()


def test_a_name_of_one_repeated_word_and_a_famous_part_of_a_name(tmp_path: Path) -> None:
    band = document("c_band", profile("x", "band", display_name="Duran Duran"), doc_text="music")
    tiny = document("c_tiny", profile("x", "tiny", display_name="Ronaldo", followers_count=20), doc_text="ronaldo")
    famous = document(
        "c_famous",
        profile("instagram", "cristiano", display_name="Cristiano Ronaldo", followers_count=500_000_000),
        doc_text="cristiano ronaldo",
    )
    folder = build(tmp_path, [band, tiny, famous])
    searcher = Searcher(Snapshot.open(folder, serving_settings(tmp_path / "home"), encoder=word_encoder()))
    hit = searcher.search({"query": "Duran Duran"}).hits[0]
    assert (hit.creator_id, hit.reasons[0]) == ("c_band", "The query is its name or handle.")
    assert searcher.search({"query": "ronaldo"}).hits[0].creator_id == "c_famous"
    searcher.close()


@pytest.mark.usefixtures("small_rounds")
def test_named_rows_are_found_by_streams_however_far_their_meaning(ivf_searcher: Searcher) -> None:
    snapshot = ivf_searcher.snapshot
    matches = snapshot.matching(compile_filters(Filters(), snapshot.vocabulary))
    for row in snapshot.documents.read([3, 200, 450, 700]):
        query = row["profiles"][0]["handle"]
        scorer = _scorer(ivf_searcher, query)
        truth = rank_all(snapshot.shards, matches, scorer)
        found = rank_streams(snapshot.shards, matches, scorer, window=20)
        is_named = scorer.question.are_named(truth.gids[:10])
        assert is_named.any()
        assert set(truth.gids[:10][is_named].tolist()) <= set(found.gids.tolist())
        scores = scorer.word_scores(scorer.question.lexical)
        named = scorer.question.are_named(scorer.question.lexical.gids)
        assert (scores[named] >= 250_000).all()


@pytest.mark.parametrize("filters", [{}, {"has_contact": True}])
@pytest.mark.parametrize("exhaustive", [10_000, 10])
def test_deep_pages_neither_repeat_nor_miss_a_row(
    ivf_searcher: Searcher, monkeypatch: pytest.MonkeyPatch, filters: dict[str, bool], exhaustive: int
) -> None:
    monkeypatch.setattr("serving.search.EXHAUSTIVE_MATCHES", exhaustive)
    monkeypatch.setattr("serving.search.EXHAUSTIVE_MOST", exhaustive)
    monkeypatch.setattr(rank_module, "ROUNDS", (32, 128, 256))
    searcher = Searcher(ivf_searcher.snapshot)
    found: list[str] = []
    body = {"query": f"vegan runner {exhaustive}", "filters": filters, "limit": 90}
    while True:
        answer = searcher.search(body)
        found += [hit.creator_id for hit in answer.hits]
        if answer.next_cursor is None:
            break
        body["cursor"] = answer.next_cursor
    assert len(found) == len(set(found)) == answer.total > 300


@pytest.mark.parametrize(
    "filters", [Filters(), Filters(has_contact=True), Filters(followers=CountRange(min=5, max=10**6))]
)
@pytest.mark.parametrize("weights", [{}, {"quality": 0.0, "engagement": 0.0, "recency": 0.0, "size": 0.0}])
def test_without_a_question_the_head_of_the_order_is_the_page(
    ivf_searcher: Searcher, monkeypatch: pytest.MonkeyPatch, filters: Filters, weights: dict[str, float]
) -> None:
    monkeypatch.setattr(rank_module, "STATIC_ROUND", 60)
    snapshot = ivf_searcher.snapshot
    matches = snapshot.matching(compile_filters(filters, snapshot.vocabulary))
    question = Question(Weights(**weights), followers=filters.followers)
    scorer = Scorer(snapshot.columns, question)
    truth = rank_all(snapshot.shards, matches, scorer)
    found = rank_static(snapshot.shards, matches, scorer, window=20)
    assert found.gids.tolist() == truth.gids[:20].tolist()
    assert (found.candidates < matches.total) == (not weights)
