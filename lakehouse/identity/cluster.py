"""From scored edges to clusters of accounts, with a guard against chaining, and the confidence of each membership.

Nodes are integers in canonical order (sorted by platform and id): ties are broken by them, so nothing depends on the
order in which edges arrive. A component is the unit of all work: an edge elsewhere never changes a cluster.

1. Connected components of the edges at or above the merge threshold.
2. A component larger than `size_max` is taken apart at stepwise higher thresholds until its parts fit.
3. A component that is still too large, or holds two accounts of one platform, is rebuilt edge by edge, strongest first
   (`_Builder`): two parts are joined only if the edge outweighs the negative evidence between them, and the platform
   conflicts that the join would create. A weak bridge between two parts therefore does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from lakehouse.identity.model import ClusterRules, Model, probability

JUDGED = 1_000.0
"""Log-odds of what a person decided, for or against: beyond anything that scores add up to."""
MIN_BRIDGED = 3
"""A bridge needs two parts, one of which has two accounts."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Accounts 0..size-1 and scored edges between them.

    `platforms` holds a code per account, -1 for accounts known by name only, which conflict with nothing.
    """

    size: int
    left: np.ndarray
    right: np.ndarray
    log_odds: np.ndarray
    platforms: np.ndarray


@dataclass(frozen=True, slots=True)
class Judged:
    """What people decided, as nodes: pairs that belong together, pairs that do not, and closed groups.

    `closed` holds a group number of each node, -1 for those of none; nothing joins or leaves a closed group.
    """

    together: np.ndarray
    apart: np.ndarray
    closed: np.ndarray


def judge(graph: Graph, judged: Judged) -> Graph:
    """The graph with what people decided in the place of what was scored."""
    group = judged.closed
    pairs = np.concatenate([judged.together, judged.apart])
    if not len(pairs) and (group < 0).all():
        return graph
    left, right = pairs.min(axis=1), pairs.max(axis=1)
    said = np.repeat([JUDGED, -JUDGED], [len(judged.together), len(judged.apart)])
    low, high = np.minimum(graph.left, graph.right), np.maximum(graph.left, graph.right)
    kept = (group[graph.left] == group[graph.right]) & ~np.isin(low * graph.size + high, left * graph.size + right)
    return Graph(
        graph.size,
        np.concatenate([graph.left[kept], left]),
        np.concatenate([graph.right[kept], right]),
        np.concatenate([graph.log_odds[kept], said]),
        graph.platforms,
    )


def components(size: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Smallest member of each node's connected component.

    Raises:
        AssertionError: an edge ends in two components; the result would be silently wrong.
    """
    links = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(size, size))
    count, codes = connected_components(links, directed=False)
    smallest = np.full(count, size, dtype=np.int64)
    np.minimum.at(smallest, codes, np.arange(size))
    labels = np.asarray(smallest[codes])
    if not np.array_equal(labels[left], labels[right]):
        message = "connected components lost an edge"
        raise AssertionError(message)
    return labels


def cluster(graph: Graph, model: Model) -> np.ndarray:
    """Cluster of each account, named by its smallest member."""
    strong = graph.log_odds >= model.thresholds.merge
    labels = components(graph.size, graph.left[strong], graph.right[strong])
    labels = _recut(graph, labels, model)
    inside, starts = _edges_by_label(graph, labels)
    rebuilt = labels.copy()
    forbidden = labels[graph.left[inside[graph.log_odds[inside] <= -JUDGED]]]
    for members in _suspicious(labels, graph.platforms, model.cluster, forbidden):
        label = labels[members[0]]
        rebuilt[members] = _rebuild(graph, members, inside[starts[label] : starts[label + 1]], model)
    return rebuilt


def _recut(graph: Graph, labels: np.ndarray, model: Model) -> np.ndarray:
    """Components of more than `size_max` accounts, re-clustered at higher and higher thresholds."""
    rules, threshold = model.cluster, model.thresholds.merge
    while threshold < rules.recut_end:
        large = np.bincount(labels, minlength=graph.size)[labels] > rules.size_max
        if not large.any():
            break
        threshold += rules.recut_step
        inside = large[graph.left] & (labels[graph.left] == labels[graph.right])
        kept = inside & (graph.log_odds >= threshold)
        again = components(graph.size, graph.left[kept], graph.right[kept])
        labels = np.where(large, again, labels)
    return labels


def _suspicious(
    labels: np.ndarray, platforms: np.ndarray, rules: ClusterRules, forbidden: np.ndarray
) -> list[np.ndarray]:
    """Members of the clusters that are too large, hold two accounts of one platform, or two that were judged apart."""
    sizes = np.bincount(labels, minlength=len(labels))
    is_chosen = sizes > rules.size_max
    is_chosen[forbidden] = True
    if rules.conflict:
        is_chosen[_with_conflict(labels, platforms)] = True
    members = np.flatnonzero((is_chosen & (sizes >= MIN_BRIDGED))[labels])
    members = members[np.argsort(labels[members], kind="stable")]
    return np.split(members, np.flatnonzero(np.diff(labels[members])) + 1) if len(members) else []


def _with_conflict(labels: np.ndarray, platforms: np.ndarray) -> np.ndarray:
    """Clusters that hold two accounts of one platform."""
    stable, codes = platforms >= 0, int(platforms.max(initial=0)) + 1
    entries = np.sort(labels[stable] * codes + platforms[stable])
    return np.asarray(entries[1:][entries[1:] == entries[:-1]] // codes)


def _rebuild(graph: Graph, members: np.ndarray, inside: np.ndarray, model: Model) -> np.ndarray:
    """Labels of the members of one component after joining them edge by edge; `inside` are its edges."""
    left, right, log_odds = graph.left[inside], graph.right[inside], graph.log_odds[inside]
    builder = _Builder(model)
    for node in members.tolist():
        builder.add(node, int(graph.platforms[node]))
    for a, b, weight in zip(left.tolist(), right.tolist(), log_odds.tolist(), strict=True):
        builder.relate(a, b, weight)
    for index in np.lexsort((right, left, -log_odds)).tolist():
        builder.join(int(left[index]), int(right[index]), float(log_odds[index]))
    return np.array([builder.smallest(node) for node in members.tolist()], dtype=np.int64)


def _edges_by_label(graph: Graph, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges inside components, grouped by label, and where the edges of each label start."""
    inside = np.flatnonzero(labels[graph.left] == labels[graph.right])
    inside = inside[np.argsort(labels[graph.left[inside]], kind="stable")]
    return inside, np.searchsorted(labels[graph.left[inside]], np.arange(graph.size + 1))


@dataclass(slots=True)
class _Relation:
    """What stands between two parts: summed negative log-odds, and the same-platform pairs that have a strong edge."""

    negative: float = 0.0
    allowed: int = 0


@dataclass(slots=True)
class _Part:
    members: list[int]
    platforms: dict[int, int]
    relations: dict[int, _Relation] = field(default_factory=dict)


@dataclass(slots=True)
class _Builder:
    """Grows the clusters of one component; `root` names the part of each account."""

    model: Model
    root: dict[int, int] = field(default_factory=dict)
    parts: dict[int, _Part] = field(default_factory=dict)

    def add(self, node: int, platform: int) -> None:
        """A part of one account."""
        self.root[node] = node
        self.parts[node] = _Part([node], {platform: 1} if platform >= 0 else {})

    def relate(self, a: int, b: int, log_odds: float) -> None:
        """Note what an edge says besides being a reason to join; call for all edges before the first `join`."""
        same = bool(self.parts[a].platforms.keys() & self.parts[b].platforms.keys())
        relation = _Relation(min(log_odds, 0.0), int(same and log_odds >= self.model.thresholds.merge))
        self.parts[a].relations[b] = self.parts[b].relations[a] = relation

    def join(self, a: int, b: int, log_odds: float) -> None:
        """Join the parts of two accounts if the edge outweighs what speaks against it."""
        here, there = self.root[a], self.root[b]
        if here == there or log_odds < self.model.thresholds.merge:
            return
        x, y = self.parts[here], self.parts[there]
        between = x.relations.get(there, _Relation())
        conflicts = sum(count * y.platforms.get(platform, 0) for platform, count in x.platforms.items())
        penalty = self.model.cluster.conflict * (conflicts - between.allowed)
        is_small = len(x.members) + len(y.members) <= self.model.cluster.size_max
        is_worth = is_small and log_odds + between.negative + penalty >= self.model.thresholds.merge
        if is_worth or log_odds >= JUDGED:
            self._merge(*((here, there) if len(x.members) >= len(y.members) else (there, here)))

    def smallest(self, node: int) -> int:
        """Name of the account's part."""
        return min(self.parts[self.root[node]].members)

    def _merge(self, into: int, gone: int) -> None:
        target, source = self.parts[into], self.parts.pop(gone)
        for node in source.members:
            self.root[node] = into
        target.members += source.members
        for platform, count in source.platforms.items():
            target.platforms[platform] = target.platforms.get(platform, 0) + count
        target.relations.pop(gone, None)
        source.relations.pop(into, None)
        for other, relation in source.relations.items():
            known = target.relations.get(other, _Relation())
            joined = _Relation(known.negative + relation.negative, known.allowed + relation.allowed)
            neighbour = self.parts[other].relations
            neighbour.pop(gone)
            target.relations[other] = neighbour[into] = joined


def confidence(graph: Graph, labels: np.ndarray, anchors: np.ndarray, model: Model) -> np.ndarray:
    """Confidence (0-1) that each account belongs to its cluster.

    In a cluster: the probability of the weakest edge on the strongest path to the cluster's anchor; the anchor itself
    has that of the best edge on these paths. Alone: `singleton_confidence` times the probability that its best rejected
    edge is indeed none, since blocking may have missed the account's other halves.

    Args:
        graph: all scored edges.
        labels: cluster of each account.
        anchors: one account of each cluster, every cluster has one.
        model: thresholds and the constant of accounts that are alone.
    """
    inside = labels[graph.left] == labels[graph.right]
    kept = inside & (graph.log_odds >= model.thresholds.merge)
    result = _alone(graph, inside, model)
    support = _support(graph, kept, anchors)
    joined = np.isfinite(support)
    result[joined] = probability(support[joined])
    return result


def _alone(graph: Graph, inside: np.ndarray, model: Model) -> np.ndarray:
    rival = np.zeros(graph.size)
    chance = probability(graph.log_odds[~inside])
    for side in (graph.left, graph.right):
        np.maximum.at(rival, side[~inside], chance)
    return model.cluster.singleton_confidence * (1.0 - rival)


def _support(graph: Graph, kept: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Weakest log-odds on the strongest path of each account to its anchor; infinite for accounts without an edge."""
    parent, to_parent = _strongest_paths(graph, kept, anchors)
    weakest, pointer = to_parent.copy(), parent.copy()
    while (pointer < graph.size).any():
        weakest = np.minimum(weakest, weakest[pointer])
        pointer = pointer[pointer]
    child = np.flatnonzero(np.isfinite(to_parent))
    best = np.full(graph.size, -np.inf)
    np.maximum.at(best, parent[child], to_parent[child])
    weakest[anchors] = best[anchors]
    return weakest[: graph.size]


def _strongest_paths(graph: Graph, kept: np.ndarray, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parent of each account on the way to its anchor and the log-odds of that edge.

    The strongest paths lie in a maximum spanning forest. A virtual node, number `size`, is the parent of all anchors
    and of itself; its edges count as infinite.
    """
    root, log_odds = graph.size, graph.log_odds[kept]
    top = float(log_odds.max(initial=0.0)) + 1.0
    rows, columns = np.r_[graph.left[kept], np.full(len(anchors), root)], np.r_[graph.right[kept], anchors]
    costs = np.r_[top - log_odds, np.full(len(anchors), top)]
    tree = minimum_spanning_tree(coo_array((costs, (rows, columns)), shape=(root + 1, root + 1)).tocsr()).tocoo()
    _, parent = breadth_first_order(tree.tocsr(), root, directed=False)
    parent = np.where(parent < 0, root, parent).astype(np.int64)
    child = np.where(parent[tree.row] == tree.col, tree.row, tree.col)
    to_parent = np.full(root + 1, np.inf)
    is_account = (tree.row < root) & (tree.col < root)
    to_parent[child[is_account]] = top - tree.data[is_account]
    return parent, to_parent
