"""What a score is worth in a given set of accounts, learned from the set itself without a label.

Two accounts of one platform are rarely one person's, while strangers that happen to look alike are on one platform as often as any
two accounts are. Of the pairs with some score, the share that lies on one platform therefore tells how many are strangers: a
negative control (Lipsitch, Tchetgen Tchetgen and Cohen 2010). With r the chance that two accounts share a platform and s the share
among pairs of a score, strangers are phi = s / r of them, and among those on two platforms the odds of one person are
(1 - phi) / (phi * (1 - r)). People's second accounts make phi too large. Pairs with equal handles take no part, since a platform gives
a handle once, nor do pairs that link each other, since links mostly lead to other platforms.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

RESOLUTION = 64.0
"""Adjustments are multiples of 1/64 bit, as weights are."""
EDGES = np.arange(-12.0, 17.0)
"""Bounds of the bins of a score, bits; what lies outside counts in the first or the last."""
CENTRES = (EDGES[:-1] + EDGES[1:]) / 2
BINS = len(CENTRES)
WEIGHT = 10.0
"""Pairs that the uncalibrated score stands for in each bin: very few pairs move it little. Chosen on the sets of docs/identity.md."""
PAIRS_MIN = 1_000
"""Fewer pairs say nothing."""
SHARED_MIN, SHARED_MAX = 0.05, 0.9
"""Bounds of r: in a set of one platform, or of very many, pairs on one platform say nothing."""
NONE = 0.5
"""Pairs on one platform that the pairs of a bin may have hidden: none seen is not none."""
RAISED_MAX = 4.0
"""Bits that a score may gain: where look-alikes can hardly lie on one platform (names that a platform gives once), the control sees no
stranger, and must not vouch for anybody."""
LEAST = 2.0**-20


@dataclass(frozen=True, slots=True)
class Calibration:
    """A rising, piecewise linear map from scores to log-odds; beyond its knots both move alike. Without knots nothing changes."""

    scores: tuple[float, ...] = ()
    log_odds: tuple[float, ...] = ()

    def to_json(self) -> str:
        """As text."""
        return json.dumps([self.scores, self.log_odds])

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """From the text of `to_json`."""
        scores, log_odds = json.loads(text)
        return cls(tuple(scores), tuple(log_odds))

    def adjustment(self, scores: np.ndarray) -> np.ndarray:
        """What is to be added to each score, in multiples of 1/64 bit."""
        if not self.scores:
            return np.zeros(len(scores))
        inside = np.clip(scores, self.scores[0], self.scores[-1])
        moved = np.interp(inside, self.scores, self.log_odds) - inside
        return np.asarray(np.round(moved * RESOLUTION) / RESOLUTION)


@dataclass(frozen=True, slots=True)
class Tally:
    """Pairs by bin of their score, and those of them on one platform; tallies add up."""

    pairs: np.ndarray
    same: np.ndarray

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.pairs + other.pairs, self.same + other.same)


NOTHING = Tally(np.zeros(BINS), np.zeros(BINS))


def tally(scores: np.ndarray, is_same: np.ndarray) -> Tally:
    """Tally of some pairs: scores without what lying on one platform costs, and whether they do."""
    place = np.clip(np.searchsorted(EDGES, scores, side="right") - 1, 0, BINS - 1)
    return Tally(*(np.bincount(place, weights=weights, minlength=BINS) for weights in (None, is_same.astype(float))))


def shared_platform(accounts: np.ndarray) -> float:
    """Chance that two accounts drawn from a set are on one platform, from the number of accounts on each."""
    counts = np.asarray(accounts, dtype=np.float64)
    return float((counts**2).sum() / max(counts.sum(), 1.0) ** 2)


def fit(found: Tally, shared: float) -> Calibration | None:
    """Calibration of a set.

    Returns:
        None where the set is too small or its platforms too few or too many to tell.

    Args:
        found: its pairs.
        shared: chance that two of its accounts are on one platform.
    """
    if found.pairs.sum() < PAIRS_MIN or not SHARED_MIN <= shared <= SHARED_MAX:
        return None
    expected = 1.0 / (1.0 + (1.0 - shared) * np.exp2(CENTRES))
    weight = found.pairs + WEIGHT
    seen = (found.same + WEIGHT * shared * expected) / (shared * weight)
    strangers = np.maximum(seen, np.minimum(expected, NONE / (shared * weight)))
    falling = isotonic_regression(strangers, weights=weight, increasing=False).x
    phi = np.clip(falling, LEAST, 1.0 - LEAST)
    log_odds = np.minimum(np.log2((1.0 - phi) / (phi * (1.0 - shared))), CENTRES + RAISED_MAX)
    return Calibration(tuple(CENTRES.tolist()), tuple(log_odds.tolist()))
