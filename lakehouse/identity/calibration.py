"""What a score is worth in a given set of accounts, learned from the set itself without a label.

Of some pairs it is known that they are strangers', and these look as other strangers do: a negative control (Lipsitch, Tchetgen Tchetgen
and Cohen 2010). With r the share of them among all strangers' pairs, and s their share among the pairs of a score, strangers are
phi = s / r of these. There are two such controls, and pairs that link each other take part in neither:

- Whose account on a platform is known, since it and another link each other (`mutual.py`), is behind no other account there. Pairs on two
  platforms that look least alike are all strangers', so that the share of known ones among them is r. Of strangers with equal handles fewer
  are known, as the known account has another handle: no less than the share of people's accounts that have, by which they count. Those who link
  may be unlike others; pairs on one platform therefore say how many strangers there are at least (`PLATFORM_MAX`).
- Where few link each other: two accounts of one platform are rarely one person's, while strangers who happen to look alike are on one platform
  as often as any two accounts are, r. Among pairs on two platforms the odds of one person are then (1 - phi) / (phi * (1 - r)). People's
  second accounts make phi too large, and so do handles that are taken, as they make the next one similar. Equal handles take no part,
  since a platform gives a handle once: what is learned of handles that differ in dots and underscores stands for them.

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

from lakehouse.identity.likeness import RESOLUTION, STEPS, Likeness, has_equal_handles, has_handles, learn

EDGES = np.arange(-12.0, 17.0)
"""Bounds of the bins of a score, bits; what lies outside counts in the first or the last."""
CENTRES = (EDGES[:-1] + EDGES[1:]) / 2
BINS = len(CENTRES)
WEIGHT = 10.0
"""Pairs that the uncalibrated score stands for in each bin: very few pairs move it little. Chosen on the sets of docs/identity.md."""
PAIRS_MIN = 1_000
"""Fewer pairs say nothing."""
SHARED_MIN, SHARED_MAX = 0.05, 0.9
"""Bounds of r of pairs on one platform: in a set of one platform, or of very many, they say nothing."""
KNOWN_MIN = 2_000
"""Fewer known strangers tell less than pairs on one platform do. On synthetic people 570 told less, 2,840 as much, more of them more."""
KNOWN_WEIGHT = 4.0
"""What a known stranger teaches of likeness, of what a pair on one platform does; with equal handles more, as these are known less often.
Between 4 and 22 it made no difference."""
OTHERS_MIN = 0.1
"""Least share of people's accounts with unequal handles that is believed."""
LOWEST = 0.5
"""Share of the pairs, those with the lowest scores, that are taken for strangers'. Were some of them not, r would be too small and strangers
seem more than they are."""
PLATFORM_MAX = 3.0
"""Strangers on one platform are at most so many times as frequent, against those on two, as any two accounts are. Among synthetic people 2.9
times, where handles are nearly taken; beyond it those who link are not like others, and the strangers on one platform count."""
NEARLY_ALL = 0.8
"""Where so many of the pairs of a score are strangers', the others are no more than what is left by chance, and the score tells them apart."""
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
_FLAGS = ("is_same", "is_tallied", "has_ids", "is_linked", "is_known")
PAIR = pa.schema(
    [(name, pa.uint8()) for name in STEPS]
    + [("score", pa.float32()), ("kind", pa.uint8()), *((name, pa.bool_()) for name in _FLAGS)]
    + [("digest", pa.uint64())]
)
"""A pair that tells something: its looks, its score by the packaged weights without what links say, its kind of likeness, whether it lies
on one platform, whether it is like others that no link joins, whether both accounts are seen with their ids, whether a link joins it and two
platforms, whether it is on two platforms and known to be strangers', and the digest of its accounts."""


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
    """Pairs by kind and bin of their score (`KINDS` x `BINS`), those of them that are known to be strangers', and how many are that at least."""

    pairs: np.ndarray
    known: np.ndarray
    least: np.ndarray

    def of(self, kind: int) -> Tally:
        """By bin, of one kind."""
        return Tally(self.pairs[kind], self.known[kind], self.least[kind])

    def of_all(self) -> Tally:
        """By bin, of all kinds."""
        return Tally(*(counts.sum(axis=0) for counts in (self.pairs, self.known, self.least)))


def tally(scores: np.ndarray, kinds: np.ndarray, known: np.ndarray) -> Tally:
    """Tally of some pairs: scores of how alike they look, kinds of likeness, and how many they count among known strangers'."""
    pairs = _binned(scores, kinds, np.ones(len(scores)))
    return Tally(pairs, _binned(scores, kinds, known), np.zeros_like(pairs))


def _binned(scores: np.ndarray, kinds: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """How many some pairs count, by kind and bin of their score."""
    place = kinds.astype(np.int64) * BINS + np.clip(np.searchsorted(EDGES, scores, side="right") - 1, 0, BINS - 1)
    return np.bincount(place, weights=counted.astype(np.float64), minlength=KINDS * BINS).reshape(KINDS, BINS)


def shared_platform(accounts: np.ndarray) -> float:
    """Chance that two accounts drawn from a set are on one platform, from the number of accounts on each."""
    counts = np.asarray(accounts, dtype=np.float64)
    return float((counts**2).sum() / max(counts.sum(), 1.0) ** 2)


@dataclass(frozen=True, slots=True)
class _Told:
    """The columns of `PAIR`; its looks as one matrix."""

    looks: np.ndarray
    score: np.ndarray
    kind: np.ndarray
    is_same: np.ndarray
    is_tallied: np.ndarray
    has_ids: np.ndarray
    is_linked: np.ndarray
    is_known: np.ndarray
    digest: np.ndarray

    @classmethod
    def of(cls, pairs: pa.Table) -> _Told:
        looks = np.column_stack([pairs.column(name).to_numpy() for name in STEPS])
        return cls(looks, *(pairs.column(name).to_numpy() for name in PAIR.names[len(STEPS) :]))


@dataclass(frozen=True, slots=True)
class _Control:
    """What is known of strangers.

    `asked` are the pairs that take part, `known` how many each of them counts among those known to be strangers', `teaching` those that
    teach how strangers look, by their `weights` and, where it `is_blind`, without what says whether two lie on one platform. `share` is r,
    where it is known, `on_one` the chance that strangers who take part lie on one platform. Each pair on one platform stands for
    `least` strangers on two, at least.
    """

    asked: np.ndarray
    known: np.ndarray
    teaching: np.ndarray
    weights: np.ndarray
    least: np.ndarray
    is_blind: bool
    share: float | None
    on_one: float


def _by_links(told: _Told, shared: float) -> _Control | None:
    """Of pairs on two platforms those that links tell to be strangers'; None where they are few."""
    if told.is_known.sum() < KNOWN_MIN:
        return None
    is_equal, linked = has_equal_handles(told.looks), told.is_linked & has_handles(told.looks)
    others = max(1.0 - float(is_equal[linked].sum()) / max(int(linked.sum()), 1), OTHERS_MIN)
    known = np.where(is_equal, 1.0 / others, 1.0) * told.is_known
    on_one = told.is_tallied & told.is_same
    weights = np.where(told.is_known, known * KNOWN_WEIGHT, 1.0)
    return _Control(
        asked=told.is_tallied & ~told.is_same & told.has_ids,
        known=known,
        teaching=told.is_known | on_one,
        weights=weights,
        least=on_one * ((1.0 - shared) / max(shared * PLATFORM_MAX, LEAST)),
        is_blind=False,
        share=None,
        on_one=0.0,
    )


def _by_platform(told: _Told, shared: float) -> _Control:
    """Of all pairs but those with equal handles those on one platform."""
    asked = told.is_tallied & ~has_equal_handles(told.looks)
    return _Control(
        asked=asked,
        known=told.is_same * 1.0,
        teaching=asked & told.is_same,
        weights=np.ones(len(asked)),
        least=np.zeros(len(asked)),
        is_blind=True,
        share=shared,
        on_one=shared,
    )


def calibrate(pairs: pa.Table, shared: float) -> Calibration | None:
    """Calibration of a set: what likeness is worth, and the maps of the scores.

    Likeness is learned twice, from all linked pairs and either half of the strangers', and each time tells scores of the other half, so that no
    pair is mapped by what it taught; the mean of both is kept. Where too few pairs teach, the scores are those of the packaged weights.

    Args:
        pairs: rows of `PAIR`, in any order.
        shared: chance that two of its accounts are on one platform.

    Returns:
        None where the set is too small, or its links too few and its platforms too few or too many to tell.
    """
    told = _Told.of(pairs.sort_by("digest"))
    by_links, by_platform = _by_links(told, shared), _by_platform(told, shared)
    learned = (by_links and _learned(told, by_links)) or _learned(told, by_platform)
    if learned is not None:
        return learned
    asked = by_platform.asked
    return fit(tally(told.score[asked], told.kind[asked], told.is_same[asked]), shared, shared)


def _learned(told: _Told, control: _Control) -> Calibration | None:
    """Calibration by learned likeness; None where too few pairs teach or are left to be mapped."""
    is_comparable = told.kind != INCOMPARABLE
    is_one, strangers = told.is_linked & is_comparable, control.teaching & is_comparable
    half = (told.digest % np.uint64(2)).astype(bool)
    learned, scores = [], np.zeros(len(half))
    for is_other in (half, ~half):
        teaches = is_one | (strangers & ~is_other)
        likeness = learn(told.looks[teaches], is_one[teaches], control.weights[teaches], is_blind=control.is_blind)
        if likeness is None:
            return None
        learned.append(likeness)
        scores[is_other] = likeness.log_odds(told.looks[is_other])
    asked = control.asked & is_comparable
    share = control.share or _known_share(scores[asked], control.known[asked])
    if not share:
        return None
    found = tally(*(column[asked] for column in (scores, told.kind, control.known)))
    least = _binned(*(column[is_comparable] for column in (scores, told.kind, control.least)))
    fitted = fit(replace(found, least=least), share, control.on_one, LEARNED_KIND_WEIGHT)
    return None if fitted is None else replace(fitted, likeness=Likeness.mean(*learned))


def _known_share(scores: np.ndarray, known: np.ndarray) -> float:
    """Share of known ones among strangers' pairs; 0 where there are no pairs."""
    return float(known[scores <= np.quantile(scores, LOWEST)].mean()) if len(scores) else 0.0


def fit(found: Tally, share: float, on_one: float, kind_weight: float = KIND_WEIGHT) -> Calibration | None:
    """Maps of a set: one of all pairs, and one of each kind, which leans on that of all where its pairs are few.

    Args:
        found: its pairs.
        share: of strangers' pairs that are known to be so (r).
        on_one: chance that strangers' pairs lie on one platform; 0 where the tally holds none of these.
        kind_weight: pairs that all kinds stand for in each bin of one.

    Returns:
        None where the set is too small or its platforms too few or too many to tell.
    """
    if found.pairs.sum() < PAIRS_MIN or (on_one and not SHARED_MIN <= on_one <= SHARED_MAX):
        return None
    believed = 1.0 / (1.0 + (1.0 - on_one) * np.exp2(CENTRES))
    whole = _strangers(found.of_all(), believed, share, WEIGHT)
    log_odds = _log_odds(whole, on_one, CENTRES)
    by_kind = {}
    for kind in np.flatnonzero(found.pairs.any(axis=1)).tolist():
        strangers = _strangers(found.of(kind), whole, share, kind_weight)
        by_kind[kind] = tuple(_log_odds(strangers, on_one, log_odds).tolist())
    return Calibration(tuple(log_odds.tolist()), by_kind)


def _strangers(found: Tally, believed: np.ndarray, share: float, weight: float) -> np.ndarray:
    """Share of strangers by bin, falling; `weight` pairs are added to each bin as they were `believed` to be."""
    counted = found.pairs + weight
    seen = np.maximum((found.known + weight * share * believed) / (share * counted), found.least / counted)
    few, many = np.minimum(believed, NONE / (share * counted)), 1.0 - NONE / counted
    strangers = np.minimum(np.maximum(seen, few), many)
    return np.asarray(isotonic_regression(strangers, weights=counted, increasing=False).x)


def _log_odds(strangers: np.ndarray, on_one: float, whole: np.ndarray) -> np.ndarray:
    """Log-odds of one person by bin, among pairs on two platforms.

    Where nearly all are strangers, and none takes part that lies on one platform, they fall by a bit for each bit of the score; without a
    bin where they are not, they are no more than those of the `whole`.
    """
    phi = np.clip(strangers, LEAST, 1.0 - LEAST)
    log_odds = np.minimum(np.log2((1.0 - phi) / (phi * (1.0 - on_one))), CENTRES + RAISED_MAX)
    if on_one:
        return np.asarray(log_odds)
    few = np.flatnonzero(strangers <= NEARLY_ALL)
    most = log_odds[few[0]] + CENTRES - CENTRES[few[0]] if len(few) else whole
    return np.asarray(np.where(strangers > NEARLY_ALL, np.minimum(log_odds, most), log_odds))
