"""What the scored pairs would allow: a perfect scorer, and one that is fitted on true people, over the very edges of the shipped model.

The fitted scorer is no peer, since it is given the truth; what it finds beyond ours is lost in the score, and what it cannot find is not
in the pairs. Boosted trees (scikit-learn's) learn from the edges whose left end is of one half of the people and score the others, both ways.
They see the log-odds of each reason and the score, or besides (`likeness`) how alike the texts are and what else each account could be joined to.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rapidfuzz.distance import JaroWinkler, Levenshtein
from rapidfuzz.process import cpdist
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.identity_scale import edges_of, labels_of, quality_figures, rows_of
from benchmarks.identity_world import People, people
from benchmarks.report import Figure
from benchmarks.scale import sizes
from lakehouse.identity.cluster import components
from lakehouse.identity.quality import calibration_error

LIMIT = "limit"
"""First word of the figures."""
SIZES = "100000"
TEXTS = ("handle_key", "display_name")
TREES = {"max_iter": 200, "learning_rate": 0.1, "max_leaf_nodes": 31, "min_samples_leaf": 40, "early_stopping": False}


def limits() -> Iterator[Figure]:
    """At each number of accounts that `SIZES` names."""
    for size in sizes(SIZES):
        yield from limit(size, people(size))


def limit(size: int, world: People) -> Iterator[Figure]:
    """The shipped model, a perfect scorer and two fitted ones over the same edges, all clustered by the same code."""
    model, edges = edges_of(world.raw)
    left, right = rows_of(world.raw, edges)
    is_true = world.person[left] == world.person[right]
    head = f"{LIMIT} {size:,}"
    found = edges.column("log_odds").to_numpy()
    yield from quality_figures(f"{head}, shipped", labels_of(world.raw, edges, model), world.person)
    joined = components(world.raw.num_rows, left[is_true], right[is_true])
    yield from quality_figures(f"{head}, perfect over the same edges", joined, world.person)
    reasons = np.column_stack([reason_columns(edges), found])
    half = np.random.default_rng(0).integers(0, 2, world.person.max() + 1)[world.person[left]]
    for name, seen in {
        "fitted on reasons": reasons,
        "fitted on reasons and likeness": np.column_stack([reasons, likeness(world.raw, left, right, found)]),
    }.items():
        fitted = cross_fitted(seen, is_true, half)
        scored = edges.set_column(edges.schema.get_field_index("log_odds"), "log_odds", pa.array(fitted))
        yield from quality_figures(f"{head}, {name}", labels_of(world.raw, scored, model), world.person)
        error = round(calibration_error(fitted, is_true), 4)
        yield Figure(f"{head}, {name}: calibration error of edges", error, "")


def cross_fitted(seen: np.ndarray, is_true: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Base-2 log-odds of each pair by trees that learned from the pairs of the other half.

    Args:
        seen: what they see of each pair, pairs x columns, NaN where there is nothing.
        is_true: whether it is one person's.
        half: 0 or 1 of each pair.
    """
    log_odds = np.zeros(len(seen))
    for side in (0, 1):
        trees = HistGradientBoostingClassifier(**TREES).fit(seen[half != side], is_true[half != side])
        log_odds[half == side] = trees.decision_function(seen[half == side]) / np.log(2)
    return log_odds


def reason_columns(edges: pa.Table) -> np.ndarray:
    """Log-odds of each reason of each edge, edges x kinds of reasons, NaN where it is not given."""
    lists = edges.column("reasons").combine_chunks()
    flat, edge = lists.flatten(), pc.list_parent_indices(lists).to_numpy()
    kinds = flat.field("signal").dictionary_encode()
    columns = np.full((len(lists), len(kinds.dictionary)), np.nan, dtype=np.float32)
    columns[edge, kinds.indices.to_numpy()] = flat.field("log_odds").to_numpy()
    return columns


def likeness(raw: pa.Table, left: np.ndarray, right: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Of each pair: similarities and lengths of its texts, followers, platforms, and the best score of either side."""
    sides = [raw.take(pa.array(rows)) for rows in (left, right)]
    columns: list[np.ndarray] = []
    for name in TEXTS:
        texts = [pc.utf8_lower(pc.fill_null(side.column(name), "")).to_pylist() for side in sides]
        columns += [
            cpdist(*texts, scorer=scorer) for scorer in (JaroWinkler.similarity, Levenshtein.normalized_similarity)
        ]
        columns += _ordered(*(np.array([len(text) for text in side]) for side in texts))
    followers = (pc.fill_null(side.column("followers_count"), 0).to_numpy() for side in sides)
    columns += _ordered(*(np.log10(1.0 + count) for count in followers))
    platforms = raw.column("platform").combine_chunks().dictionary_encode().indices.to_numpy()
    columns.append(platforms[left] * (platforms.max() + 1) + platforms[right])
    best = np.full(raw.num_rows, -np.inf)
    for rows in (left, right):
        np.maximum.at(best, rows, log_odds)
    columns += _ordered(best[left] - log_odds, best[right] - log_odds)
    return np.column_stack(columns).astype(np.float32)


def _ordered(one: np.ndarray, other: np.ndarray) -> list[np.ndarray]:
    return [np.minimum(one, other), np.maximum(one, other)]
