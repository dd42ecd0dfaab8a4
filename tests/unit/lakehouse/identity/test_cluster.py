"""Clusters: components against an oracle, the chaining guard, confidence."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from lakehouse.identity.cluster import Graph, Judged, cluster, components, confidence, judge
from lakehouse.identity.model import default_model, probability

MODEL = default_model()


def graph(size, weighted, platforms=None):
    left, right, log_odds = (np.array(column) for column in zip(*weighted, strict=True))
    codes = np.arange(size) if platforms is None else np.array(platforms)
    return Graph(size, left.astype(np.int64), right.astype(np.int64), log_odds.astype(float), codes)


@pytest.mark.parametrize("seed", range(20))
def test_components_are_those_of_networkx(seed):
    draw = np.random.default_rng(seed)
    size, count = int(draw.integers(1, 200)), int(draw.integers(0, 250))
    left, right = draw.integers(0, size, count), draw.integers(0, size, count)
    oracle = nx.Graph()
    oracle.add_nodes_from(range(size))
    oracle.add_edges_from(zip(left.tolist(), right.tolist(), strict=True))
    expected = np.zeros(size, dtype=np.int64)
    for part in nx.connected_components(oracle):
        expected[list(part)] = min(part)
    assert np.array_equal(components(size, left, right), expected)


def test_a_weak_bridge_between_two_people_is_cut():
    x, tiktok, instagram = 0, 1, 2
    strong = [(0, 1, 15.0), (1, 2, 15.0), (0, 2, 15.0), (3, 4, 15.0), (4, 5, 15.0), (3, 5, 15.0)]
    bridged = graph(6, [*strong, (2, 4, 5.0)], platforms=[x, tiktok, instagram] * 2)
    assert cluster(bridged, MODEL).tolist() == [0, 0, 0, 3, 3, 3]


def test_a_second_account_on_a_platform_is_kept_when_the_evidence_is_strong():
    two = graph(3, [(0, 1, 15.0), (1, 2, 16.0), (0, 2, 6.0)], platforms=[0, 1, 0])
    assert cluster(two, MODEL).tolist() == [0, 0, 0]


def test_accounts_known_by_name_only_conflict_with_nothing():
    named = graph(3, [(0, 1, 5.0), (1, 2, 5.0)], platforms=[0, 1, -1])
    assert cluster(named, MODEL).tolist() == [0, 0, 0]


def test_negative_evidence_holds_parts_apart():
    mixed = graph(4, [(0, 1, 9.0), (2, 3, 9.0), (1, 2, 5.0), (0, 3, -4.0)], platforms=[0, 1, 1, 2])
    assert cluster(mixed, MODEL).tolist() == [0, 0, 2, 2]


def test_records_of_one_source_conflict_only_where_the_model_says_so():
    doubted = graph(4, [(0, 1, 9.0), (2, 3, 9.0), (1, 2, 5.0), (0, 3, -4.0)], platforms=[0, 0, 0, 0])
    assert cluster(doubted, MODEL).tolist() == [0, 0, 2, 2]
    rules = replace(MODEL.cluster, conflict=0.0)
    assert cluster(doubted, replace(MODEL, cluster=rules)).tolist() == [0, 0, 0, 0]


def test_a_chain_of_weak_edges_never_makes_an_oversized_cluster():
    size = 400
    chain = graph(size, [(i, i + 1, 4.5) for i in range(size - 1)])
    sizes = np.bincount(cluster(chain, MODEL))
    assert sizes.max() <= MODEL.cluster.size_max


def test_an_oversized_component_falls_into_its_dense_parts():
    size = MODEL.cluster.size_max
    dense = [(i, j, 14.0) for part in (0, size) for i in range(part, part + size) for j in range(i + 1, part + size)]
    labels = cluster(graph(2 * size, [*dense, (0, size, 4.5)]), MODEL)
    assert labels.tolist() == [0] * size + [size] * size


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_edges_does_not_matter(seed):
    draw = np.random.default_rng(seed)
    size, count = 60, 140
    pairs = {tuple(sorted(draw.choice(size, 2, replace=False).tolist())) for _ in range(count)}
    weighted = [(a, b, float(draw.integers(-24, 60)) / 4) for a, b in sorted(pairs)]
    platforms = draw.integers(0, 4, size).tolist()
    expected = cluster(graph(size, weighted, platforms), MODEL)
    shuffled = [weighted[i] for i in draw.permutation(len(weighted))]
    assert np.array_equal(cluster(graph(size, shuffled, platforms), MODEL), expected)


def test_confidence_is_that_of_the_weakest_link_on_the_strongest_path():
    given = graph(5, [(0, 1, 9.0), (1, 2, 5.0), (0, 2, 4.0), (0, 3, 1.0)])
    labels = cluster(given, MODEL)
    assert labels.tolist() == [0, 0, 0, 3, 4]
    expected = probability(np.array([9.0, 9.0, 5.0])).tolist()
    alone = MODEL.cluster.singleton_confidence
    expected += [alone * (1 - float(probability(np.array(1.0)))), alone]
    assert confidence(given, labels, np.array([0, 3, 4]), MODEL) == pytest.approx(expected)


def test_confidence_without_any_edge():
    empty = Graph(2, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(2, np.int64))
    assert (
        confidence(empty, np.array([0, 1]), np.array([0, 1]), MODEL).tolist()
        == [MODEL.cluster.singleton_confidence] * 2
    )


def judged(size, together=(), apart=(), closed=()):
    pairs = [np.array(found, dtype=np.int64).reshape(-1, 2) for found in (together, apart)]
    groups = np.full(size, -1)
    groups[list(closed)] = 1
    return Judged(*pairs, groups)


def test_two_that_were_judged_apart_part_though_others_lie_between():
    chain = graph(3, [(0, 1, 15.0), (1, 2, 12.0)], platforms=[0, 1, 2])
    assert cluster(chain, MODEL).tolist() == [0, 0, 0]
    assert cluster(judge(chain, judged(3, apart=[(2, 0)])), MODEL).tolist() == [0, 0, 2]  # the weaker edge gives way


def test_what_was_judged_together_is_however_many_and_against_every_score():
    size = MODEL.cluster.size_max + 4
    against = graph(size, [(0, node, -30.0) for node in range(1, size)], platforms=[0] * size)
    star = judged(size, together=[(0, node) for node in range(1, size)])
    assert cluster(judge(against, star), MODEL).tolist() == [0] * size


def test_a_closed_group_takes_nobody_in():
    full = graph(4, [(0, 1, 15.0), (1, 2, 15.0), (2, 3, 15.0)], platforms=[0, 1, 2, 3])
    assert cluster(judge(full, judged(4, together=[(0, 1)], closed=[0, 1])), MODEL).tolist() == [0, 0, 2, 2]


def test_judged_edges_are_certain():
    two = judge(graph(2, [(0, 1, -3.0)]), judged(2, together=[(0, 1)]))
    labels = cluster(two, MODEL)
    assert confidence(two, labels, np.array([0]), MODEL).tolist() == [1.0, 1.0]
