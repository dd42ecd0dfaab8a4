"""Answers over a world of known people: order, reasons, seeds, sorts, pages, empty results."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from serving_factories import encode_words

from lakehouse.settings import cores
from serving.dictionaries import dictionaries
from serving.errors import BadRequestError, GoneError, RequestError, UnknownError
from serving.models import COMPONENTS, SearchRequest
from serving.search import Searcher


def ids(searcher: Searcher, **body: Any) -> list[str]:
    return [hit.creator_id for hit in searcher.search(body).hits]


def test_meaning_decides(searcher: Searcher) -> None:
    assert set(ids(searcher, query="football player")[:2]) == {"c_messi", "c_cr7"}
    assert ids(searcher, query="vegan recipes")[0] == "c_vegan"


@pytest.mark.parametrize("query", ["leo messi", "LeoMessi", "Léo Messi", "leomessi"])
def test_a_name_finds_its_owner_first(searcher: Searcher, query: str) -> None:
    answer = searcher.search({"query": query})
    assert answer.hits[0].creator_id == "c_messi"
    lexical = next(part for part in answer.hits[0].contributions if part.name == "lexical")
    assert lexical.value == 1.0
    assert lexical.text in answer.hits[0].reasons


def test_private_profiles_are_out_of_scope_unless_asked_for(searcher: Searcher) -> None:
    assert "c_private" not in ids(searcher, query="football")
    assert ids(searcher, filters={"is_private": True}) == ["c_private"]
    assert len(ids(searcher, filters={"is_private": "any"})) == 6


def test_profile_filters_hold_on_one_profile(searcher: Searcher) -> None:
    assert ids(searcher, filters={"platforms": ["tiktok"], "followers": {"min": 1_000}}) == ["c_messi"]
    assert ids(searcher, filters={"platforms": ["tiktok"], "followers": {"min": 10_000}}) == []
    assert ids(searcher, filters={"platforms": {"all": ["tiktok", "instagram"]}}) == ["c_messi"]


def test_niche_groups_include_their_members(searcher: Searcher) -> None:
    assert ids(searcher, filters={"niche": {"include": ["food"]}}) == ["c_vegan"]
    assert ids(searcher, filters={"niche": {"include": ["food"], "min_score": 0.9}}) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cafe", ["c_cafe"]),
        ({"include": ["INÉS"], "fields": ["name"]}, ["c_cafe"]),
        ({"include": ["グルメ"]}, ["c_tokyo"]),
        ({"include": ["player football"], "match": "phrase"}, []),
        ({"include": ["player football"], "match": "words"}, ["c_messi", "c_cr7"]),
        ({"include": ["vegan_kit"], "fields": ["handle"], "match": "prefix"}, ["c_vegan"]),
        ({"exclude": ["football", "food"]}, ["c_vegan", "c_cafe"]),
        ({"include": ["%"], "fields": ["name"]}, None),
    ],
)
def test_text_filter(searcher: Searcher, text: Any, expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(RequestError, match="no letter"):
            searcher.search({"filters": {"text": text}})
        return
    assert sorted(ids(searcher, filters={"text": text})) == sorted(expected)


def test_a_text_filter_has_at_most_a_thousand_conditions(searcher: Searcher) -> None:
    entries = [" ".join(f"w{entry}x{word}" for word in range(10)) for entry in range(100)]
    fields = {"fields": ["name"]}
    assert ids(searcher, filters={"text": {"include": [*entries[:99], "football"], **fields}}) == []
    assert ids(searcher, filters={"text": {"exclude": entries, **fields}})
    assert ids(searcher, filters={"text": {"include": ["football " * 20] * 100}})
    with pytest.raises(RequestError, match=r"1,001 conditions, at most 1,000"):
        searcher.search({"filters": {"text": {"include": ["football"], "exclude": entries, **fields}}})
    with pytest.raises(RequestError, match=r"\d,000 conditions"):
        searcher.search({"filters": {"text": entries}})


def test_many_excluded_handles_are_one_join(searcher: Searcher) -> None:
    strangers = [f"@stranger{number}" for number in range(9_999)]
    assert "c_messi" not in ids(searcher, filters={"exclude_handles": [*strangers, "@LeoMessi"]})
    assert len(ids(searcher, filters={"exclude_handles": strangers})) == 5


def test_weights_change_the_order_and_are_echoed(searcher: Searcher) -> None:
    only_size = dict.fromkeys(COMPONENTS, 0.0) | {"size": 1.0}
    answer = searcher.search({"query": "vegan", "weights": only_size})
    assert answer.hits[0].creator_id == "c_cr7"
    assert (answer.weights.size, answer.weights.recency) == (1.0, 0.0)


def test_size_prefers_the_middle_of_a_range(searcher: Searcher) -> None:
    body = {"filters": {"followers": {"min": 1_000, "max": 150_000}}, "weights": {"size": 1.0}}
    answer = searcher.search(body)
    assert [hit.creator_id for hit in answer.hits] == ["c_vegan", "c_messi"]
    sizes = [next(part for part in hit.contributions if part.name == "size") for hit in answer.hits]
    assert [part.value for part in sizes] == [pytest.approx(1.0, abs=0.01), 0.0]
    assert "within" in sizes[0].text
    assert "outside" in sizes[1].text


def test_similar_to_leaves_the_seeds_out_and_tells_their_similarity(searcher: Searcher) -> None:
    answer = searcher.search({"similar_to": ["c_old_messi"]})
    found = [hit.creator_id for hit in answer.hits]
    assert found[0] == "c_cr7"
    assert "c_messi" not in found
    assert answer.total == len(found) == 4
    assert answer.hits[0].seed_similarities[0].creator_id == "c_old_messi"
    assert sum(count.count for count in answer.facets["platform"]) == 4


def test_dissimilar_to_turns_away_from_some_creators_and_leaves_them_out(searcher: Searcher) -> None:
    weights = dict.fromkeys(COMPONENTS, 0.0) | {"similarity": 1.0}
    plain = searcher.search({"query": "football vegan", "weights": weights})
    turned = searcher.search({"query": "football vegan", "dissimilar_to": ["c_old_messi"], "weights": weights})
    similarity = {hit.creator_id: hit.score for hit in plain.hits}
    after = {hit.creator_id: hit.score for hit in turned.hits}
    assert "c_messi" not in after
    assert after["c_cr7"] < similarity["c_cr7"]
    assert after["c_vegan"] > similarity["c_vegan"]
    for body in ({"dissimilar_to": ["c_cr7"]}, {"query": "vegan", "dissimilar_to": ["c_nobody"]}):
        with pytest.raises((RequestError, UnknownError), match=r"less like|c_nobody") as caught:
            searcher.search(body)
        assert caught.value.field == "dissimilar_to"


def test_an_unknown_seed_is_named(searcher: Searcher) -> None:
    with pytest.raises(UnknownError, match="c_nobody"):
        searcher.search({"similar_to": ["c_nobody"]})


def test_sort_by_metric_puts_unknown_last_in_both_orders(searcher: Searcher) -> None:
    rising = ids(searcher, sort={"by": "followers", "order": "asc"})
    falling = ids(searcher, sort="followers")
    assert rising == ["c_vegan", "c_messi", "c_cr7", "c_cafe", "c_tokyo"]
    assert falling == ["c_cr7", "c_messi", "c_vegan", "c_cafe", "c_tokyo"]


def test_sort_with_a_query_orders_the_relevant_ones(searcher: Searcher) -> None:
    assert ids(searcher, query="vegan", sort={"by": "followers", "order": "asc"})[0] == "c_vegan"


def test_an_unknown_sort_names_the_nearest(searcher: Searcher) -> None:
    with pytest.raises(RequestError, match="followers"):
        searcher.search({"sort": "follower"})


def test_a_dry_run_counts_and_plans_without_hits(searcher: Searcher) -> None:
    answer = searcher.search({"query": "football", "dry_run": True})
    assert (answer.total, answer.hits, answer.next_cursor) == (5, [], None)
    assert answer.plan.name == "exhaustive"
    assert answer.facets["platform"]


def test_an_empty_result_says_which_clause_emptied_it(searcher: Searcher) -> None:
    answer = searcher.search({"filters": {"platforms": ["x"], "followers": {"min": 10**9}}})
    assert answer.plan.name == "empty"
    assert answer.explain is not None
    assert answer.explain["clauses"] == {"followers": 0, "platforms": 1, "is_private": 5}


def test_explain_tells_filter_words_and_milliseconds(searcher: Searcher) -> None:
    explain = searcher.search({"query": "leo messi", "explain": True}).explain
    assert explain is not None
    assert explain["words"]["looked_for"] == ["leo", "messi"]
    assert {"filter", "encode", "words", "rank", "hydrate", "facets"} <= explain["ms"].keys()


def test_facets_count_the_filtered_set(searcher: Searcher) -> None:
    facets = searcher.search({"filters": {"niche": ["sports"]}}).facets
    assert {count.code: count.count for count in facets["platform"]} == {"instagram": 2, "tiktok": 1}
    assert {count.code: count.count for count in facets["tier"]} == {"ge_10m": 2}


def test_a_request_object_and_its_dictionary_answer_alike(searcher: Searcher) -> None:
    body = {"query": "football", "filters": {"platforms": ["instagram"]}}
    parsed = SearchRequest.model_validate(body)
    assert [h.score for h in searcher.search(parsed).hits] == [h.score for h in searcher.search(body).hits]


def test_a_given_vector_replaces_the_encoder(searcher: Searcher) -> None:
    answer = searcher.search({}, vector=encode_words(["vegan cooking recipes"])[0])
    assert answer.hits[0].creator_id == "c_vegan"
    with pytest.raises(RequestError, match="32 finite"):
        searcher.search({}, vector=np.ones(3, np.float32))


def test_a_cursor_belongs_to_its_request_snapshot_and_service(searcher: Searcher) -> None:
    first = searcher.search({"query": "football", "limit": 2})
    assert first.next_cursor is not None
    with pytest.raises(BadRequestError, match="another request"):
        searcher.search({"query": "vegan", "limit": 2, "cursor": first.next_cursor})
    with pytest.raises(BadRequestError, match="damaged"):
        searcher.search({"query": "football", "cursor": first.next_cursor[:-2] + "zz"})
    stranger = Searcher(searcher.snapshot)
    with pytest.raises(BadRequestError):
        stranger.search({"query": "football", "cursor": first.next_cursor})


def test_a_cursor_of_another_snapshot_is_gone(searcher: Searcher, ivf_searcher: Searcher) -> None:
    secret = b"same"
    here, there = Searcher(searcher.snapshot, secret=secret), Searcher(ivf_searcher.snapshot, secret=secret)
    cursor = there.search({"query": "vegan", "limit": 2}).next_cursor
    with pytest.raises(GoneError) as caught:
        here.search({"query": "vegan", "limit": 2, "cursor": cursor})
    assert caught.value.code == "snapshot_gone"


def test_a_creator_has_accounts_history_and_former_ids(searcher: Searcher) -> None:
    creator = searcher.creator("c_old_messi")
    assert (creator["creator_id"], creator["is_alias"], creator["aliases"]) == ("c_messi", True, ["c_old_messi"])
    assert {account["platform"] for account in creator["accounts"]} == {"instagram", "tiktok"}
    assert [day["metric_date"] for day in creator["history"]] == ["2026-01-30", "2026-03-01"]
    with pytest.raises(UnknownError):
        searcher.creator("c_nobody")


def test_of_a_long_history_the_newest_days_are_given(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.profile.HISTORY_ROWS", 1)
    assert [day["metric_date"] for day in searcher.creator("c_messi")["history"]] == ["2026-03-01"]


def test_dictionaries_are_made_once(searcher: Searcher) -> None:
    assert dictionaries(searcher) is dictionaries(searcher)


@pytest.mark.parametrize("handle", ["leomessi", "@LeoMessi", " @leomessi "])
def test_an_account_leads_to_its_creator(searcher: Searcher, handle: str) -> None:
    assert searcher.account("Instagram", handle)["creator_id"] == "c_messi"
    with pytest.raises(UnknownError):
        searcher.account("x", handle)


def test_brief_rankings_wait_for_each_other_alone(searcher: Searcher) -> None:
    turns, count = searcher._pager._turns, searcher.snapshot.turns
    with ThreadPoolExecutor(1) as pool:
        with searcher._pager._brief_turn:
            waiting = pool.submit(ids, searcher, query="vegan recipes in brief")
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
            for _ in range(count):
                assert turns.acquire(blocking=False)
        try:
            assert waiting.result(20)[0] == "c_vegan"
        finally:
            turns.release(count)


def test_rankings_by_vectors_wait_for_a_turn_and_others_do_not(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.pages.BRIEF_MATCHES", 0)
    turns, count = searcher._pager._turns, searcher.snapshot.turns
    assert count == cores()
    with ThreadPoolExecutor(1) as pool:
        for _ in range(count):
            assert turns.acquire(blocking=False)
        try:
            waiting = pool.submit(ids, searcher, query="vegan recipes for turns")
            assert "c_vegan" in ids(searcher, filters={"niche": {"include": ["food"]}})
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
        finally:
            turns.release(count)
        assert waiting.result(20)[0] == "c_vegan"
    assert all(turns.acquire(blocking=False) for _ in range(count))
    turns.release(count)
