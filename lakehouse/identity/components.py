"""Connected components where no process holds all edges: rounds of two steps, each of which looks at one node's edges at a time.

The steps are the large star and the small star of Kiveris, Lattanzi, Mirrokni, Rastogi and Vassilvitskii, "Connected Components in
MapReduce and Beyond" (SoCC 2014). Both keep components as they are; where neither moves an edge, every component is a star around
its smallest node. A round takes a shuffle by node before each step; who shuffles is no business of this module. Components that one
process holds are `cluster.components`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Links(NamedTuple):
    """Edges from a larger to a smaller node (any integers), and whether a step has just moved them."""

    larger: np.ndarray
    smaller: np.ndarray
    moved: np.ndarray


class _Grouped(NamedTuple):
    """Distinct pairs by their first node, in order; `least` is the smallest of a node's others and itself, row by row."""

    node: np.ndarray
    other: np.ndarray
    least: np.ndarray


def links(left: np.ndarray, right: np.ndarray) -> Links:
    """Edges between two nodes each, in any direction; those from a node to itself are left out."""
    apart = left != right
    larger, smaller = np.maximum(left, right)[apart], np.minimum(left, right)[apart]
    return Links(larger, smaller, np.ones(len(larger), dtype=bool))


def both_ways(edges: Links) -> tuple[np.ndarray, np.ndarray]:
    """Each edge from either of its nodes: what the large star is to be given, node by node."""
    return np.concatenate([edges.larger, edges.smaller]), np.concatenate([edges.smaller, edges.larger])


def large_star(node: np.ndarray, other: np.ndarray) -> Links:
    """Hang the larger neighbours of each node on the smallest one.

    Args:
        node: nodes, each with all its edges; several rows of one edge count once.
        other: the other end of each.
    """
    found = _grouped(node, other)
    above = found.other > found.node
    return Links(found.other[above], found.least[above], (found.least < found.node)[above])


def small_star(edges: Links) -> Links:
    """Hang each node and its smaller neighbours on the smallest of them.

    `moved` of what comes out tells whether this step or the one before changed anything at the node: where no edge anywhere has
    moved, `larger` is every node that is not the smallest of its component, once, and `smaller` is that smallest.

    Args:
        edges: all edges of which a node is the larger end are there, for each node that is.
    """
    found = _grouped(edges.larger, edges.smaller)
    middle = found.other > found.least
    is_first = np.r_[True, found.node[1:] != found.node[:-1]] if len(found.node) else np.zeros(0, dtype=bool)
    started = found.node[is_first]
    moved = np.zeros(len(started), dtype=bool)
    moved[np.searchsorted(started, np.concatenate([edges.larger[edges.moved], found.node[middle]]))] = True
    return Links(
        np.concatenate([started, found.other[middle]]),
        np.concatenate([found.least[is_first], found.least[middle]]),
        np.concatenate([moved, np.ones(int(middle.sum()), dtype=bool)]),
    )


def _grouped(node: np.ndarray, other: np.ndarray) -> _Grouped:
    order = np.lexsort((other, node))
    node, other = node[order], other[order]
    if not len(node):
        return _Grouped(node, other, other)
    is_new = np.r_[True, (node[1:] != node[:-1]) | (other[1:] != other[:-1])]
    node, other = node[is_new], other[is_new]
    starts = np.flatnonzero(np.r_[True, node[1:] != node[:-1]])
    least = np.minimum(node[starts], other[starts])
    return _Grouped(node, other, np.repeat(least, np.diff(np.r_[starts, len(node)])))
