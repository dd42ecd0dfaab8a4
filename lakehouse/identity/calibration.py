"""What a score is worth in a given set of accounts, learned from the set itself without a label.

Two accounts of one platform are rarely one person's, while strangers that happen to look alike are on one platform as often as any
two accounts are. Of the pairs with some score, the share that lies on one platform therefore tells how many are strangers: a
negative control (Lipsitch, Tchetgen Tchetgen and Cohen 2010). With r the chance that two accounts share a platform and s the share
among pairs of a score, strangers are phi = s / r of them, and among those on two platforms the odds of one person are
(1 - phi) / (phi * (1 - r)). People's second accounts make phi too large. Pairs with equal handles take no part, since a platform gives
a handle once: what is learned of handles that differ in dots and underscores stands for them. Nor do pairs that link each other,
since links mostly lead to other platforms.

Each kind of likeness has a map of its own: strangers of one name choose handles like it, so that a similar handle beside an
equal name says less than the two apart, and no sum of weights knows that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from scipy.optimize import isotonic_regression

from lakehouse.identity.likeness import RESOLUTION, STEPS, Likeness, learn

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
"""Pairs that the pairs of a bin may have hidden: of strangers, none seen on one platform is not none; nor are there no pairs of one person
where as many as of strangers lie on one platform."""
RAISED_MAX = 8.0
"""Bits that a score may gain: where look-alikes can hardly lie on one platform (names that a platform gives once), the control sees no
stranger, and must not vouch for anybody."""
LEAST = 2.0**-20
KINDS = 112
"""Ways in which handles and names of a pair can be alike (`signals.kinds_of`)."""
INCOMPARABLE = 0
"""Kind of pairs of which neither handles nor names can be compared; they meet by links alone, so that none shows a stranger."""
KIND_WEIGHT = 50.0
"""Pairs that all kinds together stand for in each bin of one kind. Chosen like `WEIGHT`."""
LEARNED_KIND_WEIGHT = 500.0
"""The same of scores that were learned, which know of most that sets kinds apart."""
_SAID = ("kind", "is_same", "is_tallied", "is_linked", "digest")
PAIR = pa.schema(
    [(name, pa.uint8()) for name in STEPS]
    + [("score", pa.float32()), ("kind", pa.uint8()), *((name, pa.bool_()) for name in _SAID[1:4])]
    + [("digest", pa.uint64())]
)
"""A pair that tells something: its looks, its score by the packaged weights without what links say, its kind of likeness, whether it lies
on one platform, whether it takes part in the tally of strangers, whether a link joins it and two platforms, and the digest of its accounts."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Rising, piecewise linear maps from scores to log-odds, at the centres of the bins; beyond them both move alike.

    `log_odds` is the map of a kind that has none of its own in `by_kind`. Without it nothing changes. Where `likeness` was learned,
    the scores that are mapped are its, and not those of the packaged weights.
    """

    log_odds: tuple[float, ...] = ()
    by_kind: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    likeness: Likeness | None = None

    def to_json(self) -> str:
        """As text."""
        learned = None if self.likeness is None else self.likeness.to_lists()
        return json.dumps([self.log_odds, list(self.by_kind.items()), learned])

    @classmethod
    def of(cls, log_odds: Sequence[float]) -> Calibration:
        """One map for all kinds: log-odds at the centres of the bins, or nothing.

        Raises:
            ValueError: they are not as many as the bins, not numbers, or fall.
        """
        if log_odds and (len(log_odds) != BINS or not np.all(np.diff(np.asarray(log_odds, dtype=np.float64)) >= 0)):
            message = f"a calibration is nothing or {BINS} rising numbers"
            raise ValueError(message)
        return cls(tuple(float(value) for value in log_odds))

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """From the text of `to_json`."""
        log_odds, by_kind, learned = json.loads(text)
        likeness = None if learned is None else Likeness.from_lists(learned)
        return cls(tuple(log_odds), {kind: tuple(own) for kind, own in by_kind}, likeness)

    def adjustment(self, scores: np.ndarray, kinds: np.ndarray, looks: np.ndarray) -> np.ndarray:
        """What is to be added to each score, in multiples of 1/64 bit.

        Args:
            scores: of pairs by the packaged weights, bits.
            kinds: of likeness of each, integers below `KINDS`.
            looks: their steps (`looks.looks_of`); of no pair where no `likeness` was learned. A pair of which neither
                handles nor names can be compared keeps its score there.
        """
        if not self.log_odds:
            return np.zeros(len(scores))
        if self.likeness is None:
            return self._moved(scores, kinds)
        learned = self.likeness.log_odds(looks)
        moved = np.minimum(learned + self._moved(learned, kinds) - scores, RAISED_MAX)
        return np.where(kinds == INCOMPARABLE, 0.0, moved)

    def _moved(self, scores: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        maps = np.array([self.by_kind.get(kind, self.log_odds) for kind in range(KINDS)])
        inside = np.clip(scores, CENTRES[0], CENTRES[-1])
        lower = np.minimum((inside - CENTRES[0]).astype(np.int64), BINS - 2)
        share = inside - CENTRES[lower]
        moved = maps[kinds, lower] * (1.0 - share) + maps[kinds, lower + 1] * share - inside
        return np.asarray(np.round(moved * RESOLUTION) / RESOLUTION)


@dataclass(frozen=True, slots=True)
class Tally:
    """Pairs by kind and bin of their score (both `KINDS` x `BINS`), and those of them on one platform."""

    pairs: np.ndarray
    same: np.ndarray


def tally(scores: np.ndarray, kinds: np.ndarray, is_same: np.ndarray) -> Tally:
    """Tally of some pairs: scores of how alike they look, kinds of likeness, and whether they lie on one platform."""
    place = kinds.astype(np.int64) * BINS + np.clip(np.searchsorted(EDGES, scores, side="right") - 1, 0, BINS - 1)
    counts = (np.bincount(place, weights=weights, minlength=KINDS * BINS) for weights in (None, is_same.astype(float)))
    return Tally(*(count.astype(np.float64).reshape(KINDS, BINS) for count in counts))


def shared_platform(accounts: np.ndarray) -> float:
    """Chance that two accounts drawn from a set are on one platform, from the number of accounts on each."""
    counts = np.asarray(accounts, dtype=np.float64)
    return float((counts**2).sum() / max(counts.sum(), 1.0) ** 2)


def calibrate(pairs: pa.Table, shared: float) -> Calibration | None:
    """Calibration of a set: what likeness is worth, and the maps of the scores.

    Likeness is learned twice, from all linked pairs and either half of the others, and each time tells scores of the other half, so that no
    pair is mapped by what it taught; the mean of both is kept. Where too few pairs teach, the scores are those of the packaged weights.

    Args:
        pairs: rows of `PAIR`, in any order.
        shared: chance that two of its accounts are on one platform.

    Returns:
        None where the set is too small or its platforms too few or too many to tell.
    """
    learned = _learned(pairs.sort_by("digest"), shared)
    if learned is not None:
        return learned
    tallied = pairs.filter(pairs.column("is_tallied"))
    return fit(tally(*(tallied.column(name).to_numpy() for name in ("score", "kind", "is_same"))), shared)


def _learned(pairs: pa.Table, shared: float) -> Calibration | None:
    """Calibration by learned likeness of pairs in the order of their digests; None where too few teach or are left to be mapped."""
    looks = np.column_stack([pairs.column(name).to_numpy() for name in STEPS])
    kinds, is_same, is_tallied, is_linked, digests = (pairs.column(name).to_numpy() for name in _SAID)
    is_linked, is_comparable = is_linked & (kinds != INCOMPARABLE), is_tallied & (kinds != INCOMPARABLE)
    half = (digests % np.uint64(2)).astype(bool)
    learned, told = [], np.zeros(len(looks))
    for is_other in (half, ~half):
        teaches = is_linked | (is_same & is_comparable & ~is_other)
        likeness = learn(looks[teaches], is_linked[teaches])
        if likeness is None:
            return None
        learned.append(likeness)
        told[is_other] = likeness.log_odds(looks[is_other])
    found = tally(*(column[is_comparable] for column in (told, kinds, is_same)))
    fitted = fit(found, shared, LEARNED_KIND_WEIGHT)
    return None if fitted is None else replace(fitted, likeness=Likeness.mean(*learned))


def fit(found: Tally, shared: float, kind_weight: float = KIND_WEIGHT) -> Calibration | None:
    """Maps of a set: one of all pairs, and one of each kind, which leans on that of all where its pairs are few.

    Returns:
        None where the set is too small or its platforms too few or too many to tell.

    Args:
        found: its pairs.
        shared: chance that two of its accounts are on one platform.
        kind_weight: pairs that all kinds stand for in each bin of one.
    """
    if found.pairs.sum() < PAIRS_MIN or not SHARED_MIN <= shared <= SHARED_MAX:
        return None
    believed = 1.0 / (1.0 + (1.0 - shared) * np.exp2(CENTRES))
    whole = _strangers(found.pairs.sum(axis=0), found.same.sum(axis=0), believed, shared, WEIGHT)
    by_kind = {
        kind: _log_odds(_strangers(found.pairs[kind], found.same[kind], whole, shared, kind_weight), shared)
        for kind in np.flatnonzero(found.pairs.any(axis=1)).tolist()
    }
    return Calibration(_log_odds(whole, shared), by_kind)


def _strangers(pairs: np.ndarray, same: np.ndarray, believed: np.ndarray, shared: float, weight: float) -> np.ndarray:
    """Share of strangers by bin, falling; `weight` pairs are added to each bin as they were `believed` to be."""
    counted = pairs + weight
    seen = (same + weight * shared * believed) / (shared * counted)
    few, many = np.minimum(believed, NONE / (shared * counted)), 1.0 - NONE / counted
    strangers = np.minimum(np.maximum(seen, few), many)
    return np.asarray(isotonic_regression(strangers, weights=counted, increasing=False).x)


def _log_odds(strangers: np.ndarray, shared: float) -> tuple[float, ...]:
    """Log-odds of one person by bin, among pairs on two platforms."""
    phi = np.clip(strangers, LEAST, 1.0 - LEAST)
    return tuple(np.minimum(np.log2((1.0 - phi) / (phi * (1.0 - shared))), CENTRES + RAISED_MAX).tolist())
