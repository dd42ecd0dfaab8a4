"""Who has a handle at a time: the newest snapshot's owners, and everybody who took another one since."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lakehouse.simulate.draws import Ids
from lakehouse.simulate.handles import MAX_CHARS, NUMBER_DIGITS
from lakehouse.simulate.platforms.life import DAY_SECONDS, NEVER, Fates

MARK = "x"
"""Stands before the number of a handle taken later; the world's own numbered handles have `_` there."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A handle belongs to a row within `since` <= time < `until`, Unix seconds."""

    since: float
    until: float
    row: int


@dataclass(slots=True)
class Handles:
    """Handles of one platform. `first` are those of the newest snapshot, lower case; `claims` lists all that ever change.

    `renamed_at` and `later` say when a row takes which other handle.
    """

    first: dict[str, int]
    claims: dict[str, list[Claim]] = field(default_factory=dict)
    renamed_at: dict[int, float] = field(default_factory=dict)
    later: dict[int, str] = field(default_factory=dict)

    def row(self, handle: str, seconds: float) -> int | None:
        """The row that has the handle at a time, in any case of letters."""
        key = handle.lower()
        claims = self.claims.get(key)
        if claims is None:
            return self.first.get(key)
        return next((claim.row for claim in claims if claim.since <= seconds < claim.until), None)

    def rename(self, row: int, old: str, new: str, at: float) -> None:
        """Let a row go from one handle to another."""
        self.renamed_at[row], self.later[row] = at, new
        self.claims.setdefault(old, []).append(Claim(-NEVER, at, row))
        self.claims.setdefault(new, []).append(Claim(at, NEVER, row))


def handles_of(keys: list[str], ids: Ids, fates: Fates, platform: int, retaken_days: float) -> Handles:
    """All handles of a platform over all time.

    Of the handles given up, some go to the next account in line, which gives up its own for it.
    """
    handles = Handles({key: row for row, key in enumerate(keys)})
    times, delay = fates.renamed_at, retaken_days * DAY_SECONDS
    for row in np.argsort(times, kind="stable")[: int((times < NEVER).sum())].tolist():
        if row in handles.later:
            continue
        at, taker = float(times[row]), (row + 1) % len(keys)
        handles.rename(row, keys[row], _numbered(keys[row], int(ids[row]), platform), at)
        if fates.is_retaken[row] and taker not in handles.later and times[taker] > at + delay:
            handles.rename(taker, keys[taker], keys[row], at + delay)
    return handles


def _numbered(key: str, account: int, platform: int) -> str:
    number = f"{MARK}{account:0{NUMBER_DIGITS}d}"
    return key[: MAX_CHARS[platform] - len(number)].rstrip("._") + number
