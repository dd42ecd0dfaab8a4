"""What it is worth how alike two accounts look, learned from accounts that link each other, without a label.

Accounts that link each other are nearly always one person's, and people who link their accounts name them as others do. Of other pairs
it is known that they are strangers', who look as strangers do (`calibration.py`). So pairs that a link joins show how a person's accounts
look, and what tells these from known strangers' tells any pair: learning from positive and unlabelled examples (Elkan and Noto 2008) with a
negative control in the place of the unlabelled. What the result is worth in bits is then asked of that control, as it is of the packaged weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

RESOLUTION = 64.0
"""Bits are multiples of 1/64, as weights are: sums are then exact in floating point, in any order."""
LEVELS = {
    "handle": (
        "exact",
        "same_letters",
        "stripped_exact",
        "other_digits",
        "similar_95",
        "similar_90",
        "similar_80",
        "different",
    ),
    "name": ("exact", "same_tokens", "similar", "contained", "partial", "different"),
    "name_as_handle": ("exact", "stripped", "beside_name"),
    "country": ("equal", "different"),
    "language": ("equal", "different"),
}
"""Levels of signals, as steps from 1 on."""
_EXACT, _SAME_LETTERS = (LEVELS["handle"].index(level) + 1 for level in ("exact", "same_letters"))
_CHARS = (1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 20, 24)
_SIMILAR = (0.0, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
_USERS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128)
_BITS = (1 / 64, 1, 2, 3, 4, 5, 6, 8, 10, 12)
STEPS: dict[str, tuple[float, ...]] = {
    "handle": (1, 2, 3, 4, 5, 6, 7, 8),
    "name": (1, 2, 3, 4, 5, 6),
    "name_as_handle": (1, 2, 3),
    "handle_similar": _SIMILAR,
    "name_similar": _SIMILAR,
    "handle_chars": _CHARS,
    "name_chars": _CHARS,
    "tokens": (0, 1, 2, 3, 4),
    "name_users": _USERS,
    "stem_users_least": _USERS,
    "stem_users_most": _USERS,
    "country": (1, 2),
    "language": (1, 2),
    "followers": (0.0, 0.3, 0.6, 0.9, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0),
    "email": _BITS,
    "domain": _BITS,
    "link_target": _BITS,
}
"""What is looked at, and the least value of each step of it; below the first is step 0, nothing known.

Levels of handles, names, one as the other, countries and languages (`LEVELS`); Levenshtein similarity of handles and of names and the
length of the shorter; tokens in common; other accounts that use the name, or the stripped handle, of either side, as name or as handle;
decades between followers; bits of an address, a site or a link target in common.
"""
_HANDLE = list(STEPS).index("handle")
SIZES = tuple(len(steps) + 1 for steps in STEPS.values())
"""Steps of each, step 0 included."""
PAIRS_MIN = 300
"""Fewer pairs of either sort teach nothing."""
_TREES = {
    "max_iter": 200,
    "learning_rate": 0.1,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 40,
    "interaction_cst": "pairwise",
    "early_stopping": False,
    "random_state": 0,
}
"""Chosen on synthetic people (docs/adr/0025); trees that see more than two things at once found no more."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """What steps of looks are worth, in multiples of 1/64 bit: each alone, and what each two are worth together besides.

    `alone` has a value for each step of each of `STEPS`, `together` those of each two of them, in the order of `combinations`.
    """

    start: int
    alone: tuple[tuple[int, ...], ...]
    together: tuple[tuple[int, ...], ...]

    def log_odds(self, looks: np.ndarray) -> np.ndarray:
        """Bits of each pair of accounts; `looks` are those of `looks_of`, pairs x `STEPS`."""
        total = np.full(len(looks), self.start, dtype=np.int64)
        columns = [column.astype(np.int16) for column in looks.T]
        for column, worth in zip(columns, self.alone, strict=True):
            total += np.array(worth)[column]
        for (one, other), worth in zip(combinations(range(len(SIZES)), 2), self.together, strict=True):
            if any(worth):
                total += np.array(worth)[columns[one] * np.int16(SIZES[other]) + columns[other]]
        return np.asarray(total / RESOLUTION)

    @classmethod
    def mean(cls, one: Likeness, other: Likeness) -> Likeness:
        """The mean of both; halves go to the even side, so that the sum of many tables is not moved."""
        tables = [
            tuple(tuple(round((a + b) / 2) for a, b in zip(*both, strict=True)) for both in zip(*some, strict=True))
            for some in ((one.alone, other.alone), (one.together, other.together))
        ]
        return cls(round((one.start + other.start) / 2), *tables)

    def to_lists(self) -> list[object]:
        """As JSON has it."""
        return [self.start, self.alone, self.together]

    @classmethod
    def from_lists(cls, said: Sequence[object]) -> Likeness:
        """From what became of `to_lists` in JSON."""
        start, *tables = said
        alone, together = (tuple(tuple(worth) for worth in table) for table in tables)  # type: ignore[attr-defined]
        return cls(start, alone, together)  # type: ignore[arg-type]


def blinded(looks: np.ndarray) -> np.ndarray:
    """Looks that do not say whether two accounts lie on one platform.

    Equal handles, which a platform gives once, are taken for handles of the same letters.
    """
    seen = looks.copy()
    seen[has_equal_handles(looks), _HANDLE] = _SAME_LETTERS
    return seen


def has_handles(looks: np.ndarray) -> np.ndarray:
    """Which looks are of accounts that both have a handle."""
    return np.asarray(looks[:, _HANDLE] > 0)


def has_equal_handles(looks: np.ndarray) -> np.ndarray:
    """Which looks are of equal handles."""
    return np.asarray(looks[:, _HANDLE] == _EXACT)


def learn(looks: np.ndarray, is_one: np.ndarray, weights: np.ndarray, *, is_blind: bool) -> Likeness | None:
    """What tells pairs of one person from pairs of strangers.

    Boosted trees that see two things at a time at most: their sum is a table for each two, which is read off them.

    Args:
        looks: of pairs that teach, pairs x `STEPS`.
        is_one: whether a link joins them; else they are two people's.
        weights: what each counts.
        is_blind: whether to learn from `blinded` looks, and to tell equal handles by them.

    Returns:
        None where there are fewer than `PAIRS_MIN` of either sort.
    """
    if min(is_one.sum(), (~is_one).sum()) < PAIRS_MIN:
        return None
    from sklearn.ensemble import HistGradientBoostingClassifier  # here: it takes seconds, and few who import this learn
    from threadpoolctl import threadpool_limits

    seen = blinded if is_blind else np.asarray
    alone_steps, both_steps = [{place: np.arange(size)} for place, size in enumerate(SIZES)], list(_grids())
    asked = [_asked(steps) for steps in ({}, *alone_steps, *both_steps)]
    # One thread: those of OpenMP wait by spinning, so that beside other work seconds become minutes.
    with threadpool_limits(1, user_api="openmp"):
        trees = HistGradientBoostingClassifier(**_TREES).fit(seen(looks), is_one, sample_weight=weights)
        bits = trees.decision_function(seen(np.concatenate(asked))) / np.log(2)
    start, *tables = np.split(bits, np.cumsum([len(rows) for rows in asked])[:-1])
    alone = [table - start for table in tables[: len(SIZES)]]
    together = [
        table - start - sum(alone[place][of] for place, of in steps.items())
        for table, steps in zip(tables[len(SIZES) :], both_steps, strict=True)
    ]
    return Likeness(_whole(start)[0], tuple(map(_whole, alone)), tuple(map(_whole, together)))


def _grids() -> Iterator[dict[int, np.ndarray]]:
    """All steps of each two, in the order of `Likeness.together`."""
    for one, other in combinations(range(len(SIZES)), 2):
        first, second = (grid.ravel() for grid in np.mgrid[: SIZES[one], : SIZES[other]])
        yield {one: first, other: second}


def _asked(steps: dict[int, np.ndarray]) -> np.ndarray:
    """Looks of which some steps are given and nothing else is known; one without any."""
    asked = np.zeros((max(map(len, steps.values()), default=1), len(SIZES)), dtype=np.uint8)
    for place, column in steps.items():
        asked[:, place] = column
    return asked


def _whole(bits: np.ndarray) -> tuple[int, ...]:
    return tuple(np.round(bits * RESOLUTION).astype(int).tolist())
