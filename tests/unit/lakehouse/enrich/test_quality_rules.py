"""Scores: contributions add up, both tails, unknown stays unknown."""

from __future__ import annotations

import numpy as np
import pytest

from lakehouse.enrich.quality_rules import (
    ANOMALY,
    FEATURES,
    MIN_PEERS,
    PEER_STEP,
    QUALITY,
    changed_groups,
    digests,
    find_peers,
    on_grid,
    peer_stats,
    percentile,
    score_rows,
    sigmas,
    tier_of,
)


def _features(count, **columns):
    return {name: np.asarray(columns.get(name, np.full(count, np.nan)), dtype=np.float64) for name in FEATURES}


def _normal(count=200):
    rng = np.random.default_rng(1)
    return _features(
        count,
        er_followers=rng.lognormal(-3.5, 0.5, count),
        er_views=rng.lognormal(-3, 0.3, count),
        log_likes_per_comment=rng.normal(3, 0.4, count),
        log_views_per_follower=rng.normal(-1, 0.4, count),
        followers=np.full(count, 15_000),
        following=np.full(count, 300),
        completeness=np.full(count, 0.8),
        days_since_post=np.full(count, 5),
        view_inflation=np.zeros(count),
    )


def _score(features, row):
    platforms = ["instagram"] * len(features["followers"])
    return score_rows(platforms, features, peer_stats(platforms, features))[row]


def _codes(score):
    return {reason["code"].split(":")[1] for reason in score.reasons}


def test_weights_of_quality_add_up_to_one():
    assert sum(part.weight for part in QUALITY) == pytest.approx(1)
    assert all(0 < part.weight < 1 for part in ANOMALY)


def test_contributions_add_up():
    features = _normal()
    for quality, anomaly in score_rows(["x"] * 200, features, peer_stats(["x"] * 200, features)):
        for score in (quality, anomaly):
            assert 0 <= score.value <= 1
            assert sum(reason["contribution"] for reason in score.reasons) == pytest.approx(score.value, abs=1e-6)


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("er_followers", 1e-6, "low_engagement"),
        ("er_followers", 3.0, "high_engagement"),
        ("log_likes_per_comment", 9.0, "likes_per_comment"),
        ("log_views_per_follower", 6.0, "views_per_follower"),
        ("view_inflation", 0.5, "view_inflation"),
        ("spike_sigmas", 40.0, "follower_spike"),
        ("following", 60_000, "mass_following"),
    ],
)
def test_each_signal_fires_alone_and_says_so(column, value, code):
    features = _normal()
    features["er_followers"][0] = np.median(features["er_followers"])
    calm = _score(features, 0)[1]
    features[column][0] = value
    loud = _score(features, 0)[1]
    assert loud.value > calm.value
    assert code in _codes(loud) - _codes(calm)


def test_quality_falls_only_in_the_lowest_quarter():
    features = _normal() | {"er_views": np.full(200, np.nan)}
    order = np.argsort(features["er_followers"])
    lowest, middle, upper = (_score(features, int(order[i]))[0].value for i in (1, 100, 150))
    assert middle - lowest > 3 * abs(upper - middle)


def test_unknown_engagement_gives_no_quality():
    features = _normal()
    features["er_followers"][0] = np.nan
    quality, anomaly = _score(features, 0)
    assert (quality.value, quality.reasons) == (None, ())
    assert anomaly.value is not None


def test_a_bare_profile_alone_is_no_anomaly_score():
    features = _features(1, completeness=[0.0])
    ((quality, anomaly),) = score_rows(["x"], features, {})
    assert (quality.value, anomaly.value) == (None, None)


def test_peers_widen_until_they_are_enough():
    count = MIN_PEERS + 5
    features = _features(count, er_followers=np.linspace(0.01, 0.1, count), followers=[100] * (count - 1) + [5e6])
    stats = peer_stats(["x"] * (count - 1) + ["tiktok"], features)
    assert find_peers(stats, "er_followers", "x", 0) is stats["er_followers", "x", 0]
    assert find_peers(stats, "er_followers", "tiktok", 8) is stats["er_followers", None, None]
    assert find_peers(stats, "er_views", "x", 0) is None


def test_tiers():
    assert tier_of(np.array([0, 999, 1000, 5e6, 2e7, np.nan])).tolist() == [0, 0, 1, 8, 9, -1]


def test_percentile_of_ties_is_their_middle():
    grid = np.array([0.0] * 11 + list(np.linspace(0.1, 1, 10)))
    assert percentile(0.0, grid) == pytest.approx(0.25)
    assert percentile(2.0, grid) == 1
    assert sigmas(5.0, np.full(21, 5.0)) == 0


def test_peers_are_rounded_by_at_most_half_a_step_and_keep_their_order():
    values = np.sort(np.concatenate([[0.0], np.random.default_rng(3).lognormal(-3, 1, 500)]))
    rounded = on_grid("er_followers", values)
    assert rounded[0] == 0
    assert np.all(np.diff(rounded) >= 0)
    assert np.max(np.abs(np.log(rounded[1:] / values[1:]))) <= PEER_STEP / 2 + 1e-12
    logs = np.linspace(-3, 3, 500)
    assert np.max(np.abs(on_grid("log_likes_per_comment", logs) - logs)) <= PEER_STEP / 2 + 1e-12


def test_a_group_is_scored_again_only_where_what_it_is_compared_with_changed():
    few, many = np.arange(1.0, 22.0), np.arange(1.0, 22.0) * 2
    peers = {("er_followers", "x", 3): few, ("er_followers", "x", None): few}
    assert changed_groups(digests(peers), digests(dict(peers))) == []
    assert changed_groups(digests(peers), digests(peers | {("er_followers", "x", 3): many})) == ["x/3"]
    wider = changed_groups(digests(peers), digests(peers | {("er_followers", "x", None): many}))
    assert "x/-1" in wider
    assert "x/3" not in wider
    assert all(name.startswith("x/") for name in wider)
