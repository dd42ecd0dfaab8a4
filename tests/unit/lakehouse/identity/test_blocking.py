"""Candidates: bounded per account for any input, the same in any order and batching, each pair once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.identity.engine import count_all, find_edges
from lakehouse.identity.model import default_model
from lakehouse.identity.pairs import SORTED_BY, candidates, edges, explode, prepare
from tests.identity_accounts import account, raw, resolve, synthetic_people

MODEL = default_model()


def keyed(rows):
    table = raw(rows)
    return explode(prepare(table, count_all(table, MODEL), MODEL)).sort_by([(name, "ascending") for name in SORTED_BY])


def candidate_pairs(rows):
    table = keyed(rows)
    names = table.column("platform_account_id").to_pylist()
    left, right = candidates(table.combine_chunks())
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


@pytest.mark.parametrize("rows_per_batch", [1, 3, 7, 100_000])
def test_batch_borders_do_not_cut_groups(rows_per_batch):
    table = keyed(everybody_alike(24) + [row for row, _ in synthetic_people(8, seed=4)])
    whole = pa.concat_tables(edges([table], MODEL))
    parts = [table.slice(start, rows_per_batch) for start in range(0, table.num_rows, rows_per_batch)]
    pieces = pa.concat_tables(edges(parts, MODEL))
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
