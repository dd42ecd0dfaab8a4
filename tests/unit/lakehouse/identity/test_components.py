"""Rounds of stars, split into parts as a shuffle would: components as networkx and scipy find them."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from lakehouse.identity import cluster
from lakehouse.identity.components import Links, both_ways, large_star, links, small_star

PARTS = 3
ROUNDS_MAX = 20


def shuffled(nodes, *columns):
    """The columns in parts, all rows of a node in one."""
    return [[column[nodes % PARTS == part] for column in columns] for part in range(PARTS)]


def joined(found):
    return Links(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def components(left, right):
    """Smallest node of the component of each node that has an edge, and how many rounds that took."""
    edges = links(left, right)
    for done in range(ROUNDS_MAX):
        if not edges.moved.any():
            assert len(np.unique(edges.larger)) == len(edges.larger)
            nodes = np.unique(np.concatenate([edges.larger, edges.smaller]))
            label = dict(zip(nodes.tolist(), nodes.tolist(), strict=True))
            return label | dict(zip(edges.larger.tolist(), edges.smaller.tolist(), strict=True)), done
        node, other = both_ways(edges)
        large = joined([large_star(*part) for part in shuffled(node, node, other)])
        edges = joined([small_star(Links(*part)) for part in shuffled(large.larger, *large)])
    raise AssertionError("the rounds do not end")


@pytest.mark.parametrize("seed", range(40))
def test_components_are_those_of_networkx_and_scipy(seed):
    draw = np.random.default_rng(seed)
    size, count = int(draw.integers(1, 300)), int(draw.integers(0, 400))
    names = draw.permutation(1_000)[:size] - 500
    left, right = draw.integers(0, size, count), draw.integers(0, size, count)
    oracle = nx.Graph(list(zip(names[left].tolist(), names[right].tolist(), strict=True)))
    oracle.remove_edges_from(list(nx.selfloop_edges(oracle)))
    oracle.remove_nodes_from(list(nx.isolates(oracle)))
    found, _ = components(names[left], names[right])
    assert found == {node: min(part) for part in nx.connected_components(oracle) for node in part}
    one = cluster.components(size, left, right)
    assert all(
        (found.get(names[a], names[a]) == found.get(names[b], names[b])) == (one[a] == one[b])
        for a, b in draw.integers(0, size, (200, 2))
    )


@pytest.mark.parametrize("shape", [nx.path_graph, nx.star_graph, nx.cycle_graph, nx.complete_graph, nx.balanced_tree])
def test_long_and_wide_shapes_end_in_few_rounds(shape):
    graph = shape(2, 9) if shape is nx.balanced_tree else shape(60 if shape is nx.complete_graph else 1_000)
    names = np.random.default_rng(4).permutation(5_000)
    left, right = (names[np.array(ends)] for ends in zip(*graph.edges, strict=True))
    found, rounds = components(left, right)
    assert set(found.values()) == {names[list(graph.nodes)].min()}
    assert rounds <= 12


def test_a_star_forest_stays_as_it_is():
    edges = Links(np.array([5, 7, 9]), np.array([1, 1, 2]), np.zeros(3, dtype=bool))
    large = large_star(*both_ways(edges))
    assert not large.moved.any()
    small = small_star(large)
    assert not small.moved.any()
    assert sorted(zip(small.larger, small.smaller, strict=True)) == [(5, 1), (7, 1), (9, 2)]


def test_without_edges_nothing_comes_out():
    nothing = np.zeros(0, dtype=np.int64)
    assert components(nothing, nothing) == ({}, 0)
    assert len(small_star(large_star(nothing, nothing)).larger) == 0
