"""Scores: contributions add up, both tails, unknown stays unknown."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.contracts.tables import SCORES
from lakehouse.enrich.quality import score_batch
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
    rounded,
    score_accounts,
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


def _batch(features, platforms=None):
    count = len(features["followers"])
    keys = {
        "platform": platforms or ["instagram"] * count,
        "platform_account_id": [str(row) for row in range(count)],
        "engagement_reason": pa.nulls(count, pa.string()),
    }
    columns = keys | {name: pa.array(column, from_pandas=True) for name, column in features.items()}
    return pa.RecordBatch.from_pydict(columns)


def _scores(features, platforms=None, *, rows=slice(None)):
    """Rows of the scores table; each row holds its quality and its anomaly with their reasons apart."""
    batch = _batch(features, platforms)
    stats = peer_stats(batch.column("platform").to_pylist(), features)
    return score_batch(batch, stats).to_pylist()[rows]


def _score(features, row):
    return _scores(features)[row]


def _reasons(row, score):
    return [reason for reason in row["score_reasons"] if reason["code"].startswith(f"{score}:")]


def _codes(row):
    return {reason["code"].split(":")[1] for reason in _reasons(row, "anomaly")}


def test_weights_of_quality_add_up_to_one():
    assert sum(part.weight for part in QUALITY) == pytest.approx(1)
    assert all(0 < part.weight < 1 for part in ANOMALY)


def test_contributions_add_up_and_the_largest_come_first():
    features = _normal()
    features["view_inflation"][:] = np.linspace(0, 1, 200)
    for row in _scores(features):
        for score in ("quality", "anomaly"):
            shares = [reason["contribution"] for reason in _reasons(row, score)]
            assert 0 <= row[f"{score}_score"] <= 1
            assert sum(shares) == pytest.approx(row[f"{score}_score"], abs=1e-6)
            assert shares == sorted(shares, reverse=True)
        assert [reason["code"].split(":")[0] for reason in row["score_reasons"]] == (
            ["quality"] * len(_reasons(row, "quality")) + ["anomaly"] * len(_reasons(row, "anomaly"))
        )


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
    calm = _score(features, 0)
    features[column][0] = value
    loud = _score(features, 0)
    assert loud["anomaly_score"] > calm["anomaly_score"]
    assert code in _codes(loud) - _codes(calm)


def test_quality_falls_only_in_the_lowest_quarter():
    features = _normal() | {"er_views": np.full(200, np.nan)}
    order = np.argsort(features["er_followers"])
    lowest, middle, upper = (_score(features, int(order[i]))["quality_score"] for i in (1, 100, 150))
    assert middle - lowest > 3 * abs(upper - middle)


def test_unknown_engagement_gives_no_quality():
    features = _normal()
    features["er_followers"][0] = np.nan
    row = _score(features, 0)
    assert (row["quality_score"], _reasons(row, "quality"), row["null_reason_code"]) == (None, [], "too_few_peers")
    assert row["anomaly_score"] is not None


def test_a_bare_profile_alone_is_no_anomaly_score():
    features = _features(1, completeness=[0.0])
    scores = score_accounts(["x"], features, {})
    assert np.isnan([scores.quality[0], scores.anomaly[0]]).all()
    assert len(scores.reasons.rows) == 0


def test_no_accounts_give_no_scores():
    scored = score_batch(_batch(_features(0)), {})
    assert (scored.num_rows, scored.schema) == (0, SCORES.arrow_schema())


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
    assert percentile(np.array([0.0, 2.0]), grid) == pytest.approx([0.25, 1])
    assert sigmas(np.array([5.0]), np.full(21, 5.0)) == 0


def test_numbers_are_rounded_as_python_does():
    values = [0.0, -0.0, 0.0000005, 0.0000015, 2.5e-7, -1e-9, 1e5 + 5e-7, 1e12, 1e300, np.inf, -np.inf]
    assert rounded(np.array(values)).tolist() == [round(value, 6) for value in values]


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
