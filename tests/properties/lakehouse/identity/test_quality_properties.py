"""Scores of partitions against their definitions, pair by pair and account by account."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.identity.quality import calibration_error, quality

LABELS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abcdef")), min_size=1, max_size=40)


@given(LABELS)
def test_scores_are_those_of_their_definitions(rows):
    found, true = zip(*rows, strict=True)
    same_found = [found[a] == found[b] for a, b in combinations(range(len(rows)), 2)]
    same_true = [true[a] == true[b] for a, b in combinations(range(len(rows)), 2)]
    both = sum(f and t for f, t in zip(same_found, same_true, strict=True))
    scores = quality(np.array(found), np.array(true))
    assert scores.pairs.precision == pytest.approx(both / sum(same_found) if any(same_found) else 1.0)
    assert scores.pairs.recall == pytest.approx(both / sum(same_true) if any(same_true) else 1.0)
    precision, recall = [], []
    for own_found, own_true in rows:
        cluster = [t for f, t in rows if f == own_found]
        person = [f for f, t in rows if t == own_true]
        precision.append(cluster.count(own_true) / len(cluster))
        recall.append(person.count(own_found) / len(person))
    assert scores.b_cubed.precision == pytest.approx(np.mean(precision))
    assert scores.b_cubed.recall == pytest.approx(np.mean(recall))
    assert scores.largest == max(found.count(label) for label in found)


@given(LABELS)
def test_a_partition_that_is_the_truth_scores_one(rows):
    true = np.array([person for _, person in rows])
    scores = quality(true, true)
    assert scores.pairs.f1 == scores.b_cubed.f1 == pytest.approx(1.0)


def test_pairs_that_are_right_as_often_as_they_say_have_no_error():
    log_odds = np.repeat([0.0, 2.0], 1_000)
    is_match = np.concatenate([np.arange(1_000) < 500, np.arange(1_000) < 800])
    assert calibration_error(log_odds, is_match) == pytest.approx(0.0, abs=1e-9)
    assert calibration_error(log_odds, ~is_match) == pytest.approx((0.0 + 0.6) / 2)
    assert calibration_error(np.zeros(0), np.zeros(0, dtype=bool)) == 0.0
