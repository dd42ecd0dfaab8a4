"""Candidates: bounded per account for any input, the same in any order and batching, each pair once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.identity.engine import count_all, find_edges, prepare_all
from lakehouse.identity.model import default_model
from lakehouse.identity.pairs import edges, meetings
from tests.identity_accounts import account, raw, resolve, synthetic_people

MODEL = default_model()


def prepared(rows):
    table = raw(rows)
    return prepare_all(table, count_all(table, MODEL), MODEL)


def candidate_pairs(rows, counts=None):
    """Names of the accounts that meet; `counts` are those of other accounts than `rows`."""
    table = prepare_all(raw(rows), counts or count_all(raw(rows), MODEL), MODEL)
    names = table.column("platform_account_id").to_pylist()
    left, right, _ = meetings(table, np.arange(len(table.column("blocking_keys").combine_chunks().flatten())))
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
    pieces = pa.concat_tables(found for part in range(parts) for found in edges(table, MODEL, part=part, parts=parts))
    order = [
        ("left_platform", "ascending"),
        ("left_id", "ascending"),
        ("right_platform", "ascending"),
        ("right_id", "ascending"),
    ]
    assert pieces.sort_by(order).equals(whole.sort_by(order))


def test_an_empty_or_single_set_has_no_edges():
    assert sum(part.num_rows for part in find_edges(raw([]), MODEL)) == 0
    assert sum(part.num_rows for part in find_edges(raw([account("x", "alone")]), MODEL)) == 0
