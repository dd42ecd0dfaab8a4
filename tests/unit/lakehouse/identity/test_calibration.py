"""What scores are worth, learned from accounts of one platform that look alike: right on generated strangers, rising, harmless."""

from __future__ import annotations

import numpy as np
import pytest

from lakehouse.identity.calibration import Calibration, Tally, fit, shared_platform, tally
from lakehouse.identity.engine import calibrated
from lakehouse.identity.model import default_model, probability
from lakehouse.identity.quality import calibration_error
from tests.identity_accounts import raw, resolve, synthetic_people

PLATFORMS = 4


def pairs(count, *, shift, seed=3):
    """Scores that are `shift` bits too high, whether each pair is two people's, and whether it lies on one platform."""
    draw = np.random.default_rng(seed)
    scores = draw.uniform(-10, 12, count)
    is_two = draw.random(count) > probability(scores - shift)
    return scores, is_two, is_two & (draw.random(count) < 1 / PLATFORMS)


@pytest.mark.parametrize("shift", [-3.0, 0.0, 4.0])
def test_probabilities_are_right_without_a_label(shift):
    scores, is_two, is_same = pairs(60_000, shift=shift)
    found = fit(tally(scores, is_same), 1 / PLATFORMS)
    other, is_one = ~is_same, ~is_two
    after = calibration_error((scores + found.adjustment(scores))[other], is_one[other])
    assert after < 0.02
    if shift:
        assert after < calibration_error(scores[other], is_one[other]) / 3


def test_the_map_rises_and_moves_by_whole_steps():
    scores, _, is_same = pairs(20_000, shift=2.0)
    found = fit(tally(scores, is_same), 1 / PLATFORMS)
    asked = np.linspace(-40, 60, 2_000)
    after = asked + found.adjustment(asked)
    assert (np.diff(after) >= -1 / 64).all()
    assert (found.adjustment(asked) * 64 % 1 == 0).all()
    assert Calibration.from_json(found.to_json()) == found


def test_nothing_is_learned_where_nothing_can_be():
    scores, _, is_same = pairs(20_000, shift=2.0)
    assert fit(tally(scores[:500], is_same[:500]), 1 / PLATFORMS) is None
    assert fit(tally(scores, is_same), shared_platform(np.array([20_000]))) is None
    assert fit(tally(scores, is_same), shared_platform(np.ones(30))) is None


def test_tallies_add_up():
    scores, _, is_same = pairs(1_000, shift=0.0)
    halves = tally(scores[:300], is_same[:300]) + tally(scores[300:], is_same[300:])
    whole = tally(scores, is_same)
    assert isinstance(halves, Tally)
    assert (halves.pairs == whole.pairs).all()
    assert (halves.same == whole.same).all()


def test_reasons_of_a_calibrated_model_add_up():
    rows = [row for row, _ in synthetic_people(1_500, seed=4)]
    model = calibrated(raw(rows), default_model())
    assert model.calibration.scores
    edges = resolve(rows, model).edges.to_pylist()
    assert edges
    assert all(sum(reason["log_odds"] for reason in edge["reasons"]) == edge["log_odds"] for edge in edges)
    assert any(reason["signal"] == "calibration:strangers" for edge in edges for reason in edge["reasons"])


@pytest.mark.parametrize("shared", [0.05, 0.2, 0.5, 0.9])
def test_where_nothing_was_seen_a_score_stays(shared):
    low = np.full(5_000, -11.5)
    found = fit(tally(low, np.arange(5_000) < 5_000 * shared), shared)
    assert np.abs(found.adjustment(np.array([2.5, 6.5, 10.5, 25.0]))).max() < 0.05


def test_few_sure_pairs_stay_sure_among_many_platforms():
    scores = np.r_[np.full(5_000, -5.5), np.full(20, 10.5)]
    found = fit(tally(scores, np.arange(5_020) < 250), 0.05)
    assert 10.5 + found.adjustment(np.array([10.5]))[0] > default_model().thresholds.merge


def test_no_score_gains_more_than_four_bits():
    found = fit(tally(np.full(9_000, -2.5), np.zeros(9_000, dtype=bool)), 0.25)
    assert found.adjustment(np.linspace(-12, 16, 100)).max() <= 4.0 + 1 / 64
