"""The best rows of any number of chunks: a pool keeps the top of a ranking in memory of its own size, never of all accounts.

A ranking is a score, larger first, with the row's 64-bit key for ties; so neither the order of rows nor the cut into chunks
changes what is found. A chunk costs O(n): a partition, and a sort of what it leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lakehouse.fetch.change_rate import Floats, Ints
from lakehouse.fetch.refresh_state import Ids, Mask


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows of a ranking, best first.

    `names` are the ids or handles to ask for, `rows` positions among all rows, `tiers` positions in the policy, `values`
    what a refresh is expected to be worth, `posts` how many each has, `ids` the platform's ids where `names` are handles and the id is known.
    """

    scores: Floats
    keys: Ids
    rows: Ints
    tiers: Ints
    values: Floats
    posts: Floats
    names: npt.NDArray[np.object_]
    ids: npt.NDArray[np.object_]

    @classmethod
    def none(cls) -> Candidates:
        """No rows."""
        numbers, places = np.zeros(0), np.zeros(0, dtype=np.int64)
        texts = numbers.astype(object)
        return cls(numbers, numbers.astype(np.uint64), places, places, numbers, numbers, texts, texts)

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """One after the other."""
        if len(parts) < 2:
            return parts[0] if parts else cls.none()
        return cls(*(np.concatenate(columns) for columns in zip(*(part.columns for part in parts), strict=True)))

    @property
    def columns(self) -> tuple[npt.NDArray[Any], ...]:
        """All columns in the order of the fields."""
        return self.scores, self.keys, self.rows, self.tiers, self.values, self.posts, self.names, self.ids

    def __len__(self) -> int:
        """Rows."""
        return len(self.keys)

    def at(self, positions: Ints | Mask | slice) -> Candidates:
        """Some of them, in that order."""
        return Candidates(*(column[positions] for column in self.columns))

    def best(self, size: int) -> Candidates:
        """The best of them, best first."""
        return self.at(best(self.scores, self.keys, size))


@dataclass(slots=True)
class Pool:
    """The `size` best rows so far."""

    size: int
    held: Candidates = field(default_factory=Candidates.none)

    @property
    def threshold(self) -> float:
        """A row below this score cannot enter."""
        return float(self.held.scores[-1]) if len(self.held) >= self.size > 0 else -np.inf

    def find(self, scores: Floats, keys: Ids) -> Ints:
        """Positions in a chunk that may enter; NaN and minus infinity are no candidates."""
        if self.size < 1:
            return np.zeros(0, dtype=np.int64)
        able = np.flatnonzero((scores >= self.threshold) & (scores > -np.inf))
        return able[best(scores[able], keys[able], self.size)]

    def add(self, found: Candidates) -> None:
        """Take rows in."""
        if len(found):
            self.held = Candidates.joined([self.held, found]).best(self.size)


def best(scores: Floats, keys: Ids, size: int) -> Ints:
    """Positions of the `size` best, best first; equal scores by the smaller key."""
    if len(scores) > size:
        if size < 1:
            return np.zeros(0, dtype=np.int64)
        cut = np.partition(scores, len(scores) - size)[len(scores) - size]
        above, level = np.flatnonzero(scores > cut), np.flatnonzero(scores == cut)
        spare = size - len(above)
        if len(level) > spare:
            level = level[np.argpartition(keys[level], spare - 1)[:spare]]
        positions = np.concatenate([above, level])
    else:
        positions = np.arange(len(scores))
    return positions[np.lexsort((keys[positions], -scores[positions]))]
