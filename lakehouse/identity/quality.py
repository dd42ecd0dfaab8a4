"""Scores of a partition and of edges against known people: pairwise, B-cubed, calibration. Arrays in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lakehouse.identity.model import probability

BINS = 15
"""Bins of equal width for the calibration error (Guo et al. 2017, On Calibration of Modern Neural Networks)."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Precision and recall, 1 where there is nothing to be wrong about."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Quality:
    """How well clusters stand for people: over pairs of accounts, and over accounts (B-cubed, Bagga and Baldwin 1998).

    `largest` and `singletons` count the accounts of known people in the largest cluster, and those alone.
    """

    pairs: Ratio
    b_cubed: Ratio
    largest: int
    singletons: int


def quality(found: np.ndarray, true: np.ndarray) -> Quality:
    """Scores of clusters.

    Args:
        found: cluster of each account whose person is known.
        true: person of each, aligned; any sortable values.
    """
    found, true = (np.unique(side, return_inverse=True)[1] for side in (found, true))
    both, count = np.unique(found.astype(np.int64) * (true.max(initial=0) + 1) + true, return_counts=True)
    in_cluster, in_person = np.bincount(found), np.bincount(true)
    cluster, person = both // (true.max(initial=0) + 1), both % (true.max(initial=0) + 1)
    shared = _pairs(count).sum()
    size = max(len(found), 1)
    return Quality(
        pairs=Ratio(_share(shared, _pairs(in_cluster).sum()), _share(shared, _pairs(in_person).sum())),
        b_cubed=Ratio(
            float((count * count / in_cluster[cluster]).sum() / size),
            float((count * count / in_person[person]).sum() / size),
        ),
        largest=int(in_cluster.max(initial=0)),
        singletons=int((in_cluster == 1).sum()),
    )


def calibration_error(log_odds: np.ndarray, is_match: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error of scored pairs: mean distance of probability and share of true pairs, by bin.

    Args:
        log_odds: base-2 log-odds of each pair.
        is_match: whether it is one person's.
        bins: of equal width.
    """
    if not len(log_odds):
        return 0.0
    chance = probability(log_odds)
    place = np.minimum((chance * bins).astype(np.int64), bins - 1)
    said, true = (np.bincount(place, weights=values, minlength=bins) for values in (chance, is_match.astype(float)))
    return float(np.abs(said - true).sum() / len(chance))


def _pairs(sizes: np.ndarray) -> np.ndarray:
    return np.asarray(sizes.astype(np.int64) * (sizes - 1) // 2)


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 1.0
