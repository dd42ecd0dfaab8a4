"""What looks are worth, learned from pairs that teach: the trees' own sum, near the truth, the same from JSON, nothing from few."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from lakehouse.identity import likeness
from lakehouse.identity.calibration import BINS, Calibration
from lakehouse.identity.likeness import RESOLUTION, SIZES, STEPS, Likeness, blinded

NAME, HANDLE, TOKENS = (list(STEPS).index(name) for name in ("name", "handle", "tokens"))


def learn(looks, is_one, weights=None, *, is_blind=False):
    return likeness.learn(looks, is_one, np.ones(len(looks)) if weights is None else weights, is_blind=is_blind)


def truth(looks):
    """Bits: a step of a name is worth more than the last, unless the handles are of the first level, where it is worth nothing."""
    return np.where(looks[:, HANDLE] == 1, 1.0, 1.5 * looks[:, NAME] - 4.0)


def drawn(count, seed=1):
    draw = np.random.default_rng(seed)
    looks = np.column_stack([draw.integers(0, size, count) for size in SIZES]).astype(np.uint8)
    return looks, draw.random(count) < 1 / (1 + np.exp2(-truth(looks)))


def test_what_two_things_say_together_is_learned():
    looks, is_one = drawn(40_000)
    found, (asked, _) = learn(looks, is_one), drawn(5_000, seed=2)
    error = found.log_odds(asked) - truth(asked)
    assert np.sqrt(np.mean(error**2)) < 0.6
    assert found.log_odds(asked).std() > 2.0


def test_what_counts_more_is_worth_more():
    looks, is_one = drawn(20_000)
    asked, _ = drawn(2_000, seed=3)
    heavy = learn(looks, is_one, np.where(is_one, 8.0, 1.0)).log_odds(asked) - learn(looks, is_one).log_odds(asked)
    assert 2.5 < np.median(heavy) < 3.5


def test_blind_it_tells_equal_handles_by_those_of_the_same_letters():
    looks, is_one = drawn(20_000)
    asked, _ = drawn(2_000, seed=3)
    seeing, blind = learn(looks, is_one), learn(looks, is_one, is_blind=True)
    assert (blind.log_odds(asked) == blind.log_odds(blinded(asked))).all()
    assert (seeing.log_odds(asked) != seeing.log_odds(blinded(asked))).any()
    assert blind == learn(blinded(looks), is_one, is_blind=True)


def test_the_tables_are_the_sum_of_the_trees():
    looks, is_one = drawn(3_000)
    trees = HistGradientBoostingClassifier(**likeness._TREES).fit(looks, is_one)
    asked, _ = drawn(2_000, seed=3)
    told, summed = learn(looks, is_one).log_odds(asked), trees.decision_function(asked) / np.log(2)
    terms = 1 + len(SIZES) * (len(SIZES) + 1) / 2
    assert np.abs(told - summed).max() <= terms / 2 / RESOLUTION
    assert np.abs(told - summed).mean() < 0.15
    assert (told * RESOLUTION % 1 == 0).all()


def test_it_is_the_same_from_json():
    looks, is_one = drawn(2_000)
    found = Calibration(tuple(np.arange(BINS) * 1.0), {3: tuple(np.arange(BINS) * 2.0)}, learn(looks, is_one))
    again = Calibration.from_json(found.to_json())
    assert again == found
    assert (again.likeness.log_odds(looks) == found.likeness.log_odds(looks)).all()


def test_the_mean_of_two_lies_between_them():
    one, other = (learn(*drawn(3_000, seed=seed)) for seed in (4, 5))
    asked, _ = drawn(2_000, seed=6)
    both = (one.log_odds(asked) + other.log_odds(asked)) / 2
    terms = 1 + len(SIZES) * (len(SIZES) + 1) / 2
    apart = Likeness.mean(one, other).log_odds(asked) - both
    assert np.abs(apart).max() <= terms / 2 / RESOLUTION
    assert abs(apart.mean()) < 0.1


@pytest.mark.parametrize("ones", [0, likeness.PAIRS_MIN - 1, 2_000 - likeness.PAIRS_MIN + 1, 2_000])
def test_few_of_either_sort_teach_nothing(ones):
    looks, _ = drawn(2_000)
    assert learn(looks, np.arange(2_000) < ones) is None


def test_what_nobody_looked_at_is_worth_nothing():
    nothing = tuple((0,) * size for size in SIZES)
    together = tuple((0,) * (one * other) for at, one in enumerate(SIZES) for other in SIZES[at + 1 :])
    asked, _ = drawn(50)
    assert (Likeness(96, nothing, together).log_odds(asked) == 1.5).all()
    alone = tuple(
        (0, *(64,) * (size - 1)) if at == TOKENS else worth
        for at, (size, worth) in enumerate(zip(SIZES, nothing, strict=True))
    )
    assert (Likeness(0, alone, together).log_odds(asked) == (asked[:, TOKENS] > 0)).all()
