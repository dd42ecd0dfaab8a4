"""Best rows by what does not depend on the words of a question: engagement, size, quality, recency and niche.

One order a set of weights, made when they are first used and kept: scores of all rows, and the rows of the highest ones.
A filter then reads the head of that order instead of scoring every match. A niche has an order of its own in which its
score counts too, so that the bound of unseen rows is one of both together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from serving.cache import Cache
from serving.catalog import Ids
from serving.shards import Matches

MICRO = 1_000_000
"""Contributions are counted in millionths."""

HEAD_ROWS = 262_144
"""Rows of an order that are kept sorted: 256 of them pass a filter that one row in a thousand passes."""

NICHE_HEAD_ROWS = 65_536
"""The same for the order of a niche, of which there are some fifty."""

SCORED_MATCHES = 50_000
"""Matches up to which all of them are looked up, about as many as fit a core's cache."""

BLOCK_ROWS = 4_194_304
"""Rows of an order that are looked through at a time for its head."""

NICHES_CACHED = 16
"""Orders of niches that are kept for each set of weights, 1 MB each."""

ORDERS_CACHED = 64
ORDERS_BYTES = 256 * 1024 * 1024
ORDERS_LEAST = 2
"""Orders kept and room for them: 60 MB each at 10 million rows. Two stay whatever they take: the default weights with a size
of its own, and those of requests for a range of followers."""

Scores = npt.NDArray[np.int32]
Micros = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Seen:
    """Best matching rows, and the most that any other matching row can have in millionths; None when there is no other."""

    gids: Ids
    bound: int | None


@dataclass(frozen=True, slots=True)
class Head:
    """Rows of the highest values, best first; `values` in millionths, `is_all` when no row is left out."""

    gids: Ids
    values: Micros
    is_all: bool

    @classmethod
    def of(cls, gids: Ids, values: Micros, *, size: int) -> Head:
        """Highest `size` of some rows; which of equal ones end it is left open."""
        chosen = np.arange(len(values)) if len(values) <= size else np.argpartition(-values, size - 1)[:size]
        order = chosen[np.lexsort((gids[chosen], -values[chosen]))]
        return cls(gids[order], values[order].astype(np.int64), len(order) == len(values))

    def among(self, matches: Matches, count: int) -> Seen | None:
        """First `count` matching rows; None where the head is too short to tell."""
        passing = np.flatnonzero(matches.contain(self.gids))[:count]
        if len(passing) == count:
            return Seen(self.gids[passing], int(self.values[passing[-1]]))
        return Seen(self.gids[passing], None) if self.is_all else None


@dataclass(frozen=True)
class StaticOrder:
    """Scores of all rows under one set of weights, in millionths, and the heads of its orders."""

    scores: Scores
    head: Head
    niches: Cache[Head] = field(default_factory=lambda: Cache(NICHES_CACHED))

    @classmethod
    def of(cls, scores: Scores) -> StaticOrder:
        """Order of the scores of all rows (rows,)."""
        head = Head.of(np.empty(0, np.int64), np.empty(0, np.int64), size=HEAD_ROWS)
        for start in range(0, len(scores), BLOCK_ROWS):
            part = scores[start : start + BLOCK_ROWS]
            gids = np.concatenate([head.gids, np.arange(start, start + len(part))])
            head = Head.of(gids, np.concatenate([head.values, part.astype(np.int64)]), size=HEAD_ROWS)
        return cls(scores, replace(head, is_all=len(scores) <= HEAD_ROWS))

    @property
    def nbytes(self) -> int:
        """Most memory that it takes."""
        return self.scores.nbytes + 16 * (len(self.head.gids) + NICHES_CACHED * NICHE_HEAD_ROWS)

    def best(self, matches: Matches, count: int) -> Seen:
        """`count` best matching rows, fewer where there are fewer."""
        if matches.total > SCORED_MATCHES:
            found = self.head.among(matches, count)
            if found is not None:
                return found
        gids = matches.gids
        head = Head.of(gids, self.scores[gids].astype(np.int64), size=count)
        return Seen(head.gids, None if head.is_all else int(head.values[-1]))


@dataclass(frozen=True, slots=True)
class NicheMembers:
    """Rows that a niche has been given, with its score (0-1)."""

    gids: Ids
    scores: npt.NDArray[np.float32]


def best_in_niches(
    order: StaticOrder,
    matches: Matches,
    *,
    wanted: Mapping[str, float],
    weight: float,
    members: Callable[[str], NicheMembers],
    count: int,
    others: Seen,
) -> Seen:
    """Best rows of each niche of a question by static score and that niche, beside `others`, the best without niches.

    An unseen row of one niche has at most the last value of its order; one of several also what the others can add, and
    none more than the whole niche weight above the bound of `others`.

    Args:
        order: static scores without niches.
        matches: rows that count.
        wanted: niches of the question with their shares, the strongest at 1.
        weight: of the niche component.
        members: rows of a niche.
        count: rows of each niche.
        others: best rows without niches.
    """
    found = [_best_of_niche(order, matches, code, weight=weight, members=members, count=count) for code in wanted]
    gids = np.unique(np.concatenate([others.gids, *(seen.gids for seen in found)]))
    if others.bound is None:
        return Seen(gids, None)
    total = sum(wanted.values())
    ceiling = others.bound + round(weight * min(1.0, total) * MICRO)
    bounds = [
        min(ceiling, seen.bound + round(weight * (total - share) * MICRO))
        for seen, share in zip(found, wanted.values(), strict=True)
        if seen.bound is not None
    ]
    return Seen(gids, max([others.bound, *bounds]))


def _best_of_niche(
    order: StaticOrder,
    matches: Matches,
    code: str,
    *,
    weight: float,
    members: Callable[[str], NicheMembers],
    count: int,
) -> Seen:
    head = order.niches.get((code, weight), lambda: _niche_head(order, members(code), weight))
    found = head.among(matches, count)
    return found or Seen(head.gids[matches.contain(head.gids)], int(head.values[-1]))


def _niche_head(order: StaticOrder, members: NicheMembers, weight: float) -> Head:
    added = np.rint(members.scores.astype(np.float64) * weight * MICRO).astype(np.int64)
    return Head.of(members.gids, order.scores[members.gids] + added, size=NICHE_HEAD_ROWS)
