"""Candidates: bounded per account for any input, the same in any order and batching, each pair once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.contracts.tables import EDGES
from lakehouse.identity.engine import count_all, find_edges, prepare_all
from lakehouse.identity.model import default_model
from lakehouse.identity.pairs import edges, edges_of_part, first_meetings, near, placed_edges_of_part
from tests.identity_accounts import account, raw, resolve, synthetic_people

MODEL = default_model()


def prepared(rows):
    table = raw(rows)
    return prepare_all(table, count_all(table, MODEL), MODEL)


def candidate_pairs(rows, counts=None):
    """Names of the accounts that meet; `counts` are those of other accounts than `rows`."""
    table = prepare_all(raw(rows), counts or count_all(raw(rows), MODEL), MODEL)
    names = table.column("platform_account_id").to_pylist()
    left, right, *_ = first_meetings(
        near(table, np.arange(len(table.column("blocking_keys").combine_chunks().flatten())))
    )
    return [tuple(sorted((names[i], names[j]))) for i, j in zip(left, right, strict=True)]


def everybody_alike(count):
    return [
        account("x", f"thegamer{i}", "The Gamer", domains=["agency.com"], emails=["v1:0"], id=str(i))
        for i in range(count)
    ]


def identical_texts(count):
    return [account("x", "gamer", "Gamer", id=str(i)) for i in range(count)]


def one_percent_alike(count):
    shared = [account("x", None, "Daily News", id=f"s{i}", emails=["v1:0"]) for i in range(count // 100)]
    return shared + [row for row, _ in synthetic_people(count // 3, seed=1)]


def many_links_to_one(count):
    star = account("x", "star", id="star")
    return [star, *(account("tiktok", f"fan{i:04}", id=f"f{i}", links=["x:star"]) for i in range(count))]


@pytest.mark.parametrize("make", [everybody_alike, identical_texts, one_percent_alike, many_links_to_one])
def test_no_account_has_more_candidates_than_the_cap(make):
    per_account = Counter(name for pair in candidate_pairs(make(1_500)) for name in pair)
    assert max(per_account.values()) <= MODEL.blocking.candidates_max


@pytest.mark.parametrize("make", [everybody_alike, one_percent_alike, many_links_to_one])
def test_a_hot_key_does_not_chain(make):
    outcome = resolve(make(1_500))
    assert np.bincount(list(outcome.label.values())).max() <= MODEL.cluster.size_max


def test_each_pair_is_a_candidate_once():
    pairs = candidate_pairs([row for row, _ in synthetic_people(150, seed=2)])
    assert pairs
    assert len(pairs) == len(set(pairs))


def test_a_hot_key_costs_other_pairs_nothing():
    people = synthetic_people(100, seed=3)
    alone = resolve([row for row, _ in people])
    beside = resolve([row for row, _ in people] + everybody_alike(500))
    kept = {frozenset(group) for group in beside.partition if len(group) > 1}
    assert {frozenset(group) for group in alone.partition if len(group) > 1} <= kept


@pytest.mark.parametrize("make", [everybody_alike, identical_texts, one_percent_alike, many_links_to_one])
def test_the_cap_holds_where_everybody_came_after_the_counts_were_drawn(make):
    drawn = count_all(raw(make(200)), MODEL)
    per_account = Counter(name for pair in candidate_pairs(make(1_500), drawn) for name in pair)
    assert max(per_account.values()) <= MODEL.blocking.candidates_max


def test_accounts_that_came_since_meet_by_what_nobody_had():
    drawn = count_all(raw([row for row, _ in synthetic_people(50, seed=6)]), MODEL)
    late = [account("x", "zorblaxq", id="1"), account("tiktok", "zorblaxq", id="2")]
    assert ("1", "2") in candidate_pairs(late, drawn)
    star = [account("x", "quixley", id="1"), account("tiktok", "other", links=["x:quixley"], id="2")]
    assert ("1", "2") in candidate_pairs(star, drawn)


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_parts_of_the_keys_have_all_edges_between_them(parts):
    table = prepared(everybody_alike(24) + [row for row, _ in synthetic_people(8, seed=4)])
    whole = pa.concat_tables(edges(table, MODEL))
    pieces = pa.concat_tables(
        found for part in range(parts) for found in edges_of_part(table, MODEL, part=part, parts=parts)
    )
    order = [
        ("left_platform", "ascending"),
        ("left_id", "ascending"),
        ("right_platform", "ascending"),
        ("right_id", "ascending"),
    ]
    assert pieces.sort_by(order).equals(whole.sort_by(order))


@pytest.mark.parametrize("parts", [2, 5])
def test_of_pairs_that_meet_in_several_parts_the_first_key_counts(parts):
    rows = everybody_alike(40) + [row for row, _ in synthetic_people(30, seed=4)]
    drawn = count_all(raw(rows[:20]), MODEL)  # of nearly all keys more accounts came since
    table = prepare_all(raw(rows), drawn, MODEL)
    found = [
        row
        for part in range(parts)
        for piece in placed_edges_of_part(table, MODEL, part=part, parts=parts)
        for row in piece.to_pylist()
    ]
    first = {}
    for row in sorted(found, key=lambda row: row["place"]):
        first.setdefault(tuple(row[name] for name in EDGES.key), row)
    whole = {tuple(row[name] for name in EDGES.key): row for piece in edges(table, MODEL) for row in piece.to_pylist()}
    assert len(found) > len(first)
    assert {ends: {name: row[name] for name in EDGES.columns} for ends, row in first.items()} == whole


@pytest.mark.parametrize("seed", range(20))
def test_who_declares_another_is_found_among_strangers_of_a_new_name(seed):
    """Four accounts with a name that nobody had when the counts were drawn: under the name's key not all of them meet."""
    drawn = count_all(raw([row for row, _ in synthetic_people(60, seed=seed)]), MODEL)
    name = f"Zorla Quent{seed}"
    pair = [
        account("instagram", f"zorlaq{seed}", name, links=[f"youtube:quent{seed}z"]),
        account("youtube", f"quent{seed}z", name, links=[f"instagram:zorlaq{seed}"]),
    ]
    strangers = [account("tiktok", f"other{seed}a", name), account("x", f"another{seed}b", name)]
    table = raw([*pair, *strangers])
    found = pa.concat_tables(find_edges(table, MODEL, drawn)).to_pylist()
    ends = sorted((row["platform"], row["platform_account_id"]) for row in pair)
    edge = [
        one
        for one in found
        if [(one["left_platform"], one["left_id"]), (one["right_platform"], one["right_id"])] == ends
    ]
    assert [one["log_odds"] > MODEL.thresholds.merge for one in edge] == [True]


def test_an_empty_or_single_set_has_no_edges():
    assert sum(part.num_rows for part in find_edges(raw([]), MODEL)) == 0
    assert sum(part.num_rows for part in find_edges(raw([account("x", "alone")]), MODEL)) == 0
