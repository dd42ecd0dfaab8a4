"""Which rows make a page: rankings of a snapshot, kept for further pages, and orders by a metric."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from threading import BoundedSemaphore, Lock

import numpy as np

from serving.cache import Cache
from serving.catalog import Ids
from serving.models import SORTS
from serving.plan import PlanName
from serving.predicates import GID, quoted
from serving.rank import WINDOWS, Ranking, Scorer, continued, rank_all, rank_static, rank_streams
from serving.shards import Matches
from serving.snapshot import Snapshot
from serving.work import Work

RANKINGS_CACHED = 32
RANKINGS_BYTES = 256 * 1024 * 1024
"""Rankings kept, and room for them: 12 bytes a match each."""

BRIEF_MATCHES = 2_048
"""Matches up to which scoring all of them takes so short that two rankings at once mostly hand the interpreter's lock to and fro:
one at a time answers 1.4 times as many requests with 100 matches, 1.1 times as many with 1,000."""


@dataclass(frozen=True, slots=True)
class Page:
    """Places `start` to `stop` of a ranking."""

    ranking: Ranking
    start: int
    stop: int

    @property
    def gids(self) -> Ids:
        """Rows of the page."""
        return self.ranking.gids[self.start : self.stop]


class Pager:
    """Finds pages of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Wrap an opened snapshot."""
        self._snapshot = snapshot
        self._rankings: Cache[Ranking] = Cache(
            RANKINGS_CACHED,
            max_bytes=RANKINGS_BYTES,
            bytes_of=lambda ranking: ranking.gids.nbytes + ranking.similarities.nbytes,
        )
        self._turns = BoundedSemaphore(snapshot.turns)
        self._brief_turn = Lock()

    def page(self, work: Work, plan: PlanName, matches: Matches, scorer: Scorer) -> Page:
        """The page that a request asks for; pages of one request are disjoint and together complete."""
        limit = work.request.limit
        if work.is_by_metric and not work.is_compared:
            ranking = self._by_metric(work, matches)
            return Page(ranking, 0, len(ranking.gids))
        ranking = self._reaching(work.offset + limit, work, plan, matches, scorer)
        return Page(ranking, min(work.offset, len(ranking.gids)), min(work.offset + limit, len(ranking.gids)))

    def _reaching(self, stop: int, work: Work, plan: PlanName, matches: Matches, scorer: Scorer) -> Ranking:
        """Shortest of the kept rankings that holds the first `stop` rows; each continues the one before."""
        is_short = plan == "streams" and not work.is_by_metric
        sizes = WINDOWS if is_short else WINDOWS[-1:]
        ranking = self._rankings.get((work.key, 0), lambda: self._window(sizes[0], work, plan, matches, scorer))
        for step, size in enumerate((*sizes[1:], None), start=1):
            if ranking.is_complete or stop <= len(ranking.gids):
                break
            before = ranking
            ranking = self._rankings.get(
                (work.key, step),
                lambda: continued(before, self._longer(size, plan, matches, scorer)),  # noqa: B023
            )
        return ranking

    def _longer(self, size: int | None, plan: PlanName, matches: Matches, scorer: Scorer) -> Ranking:
        """The best `size` matches, all for None."""
        shards = matches.shards
        if size is None:
            return rank_all(shards, matches, scorer)
        if plan == "sort_only":
            return rank_static(shards, matches, scorer, window=size)
        rank = rank_all if plan == "exhaustive" else rank_streams
        with self._turn(plan, matches):
            return rank(shards, matches, scorer, window=size)

    def _turn(self, plan: PlanName, matches: Matches) -> AbstractContextManager[object]:
        return self._brief_turn if plan == "exhaustive" and matches.total <= BRIEF_MATCHES else self._turns

    def _by_metric(self, work: Work, matches: Matches) -> Ranking:
        """One page of all matches ordered by a column."""
        sort = work.request.sort
        gids = self._snapshot.catalog.ordered(
            work.filters, self._column(sort.by), sort.order, offset=work.offset, limit=work.request.limit
        )
        nothing = np.zeros(len(gids), np.float32)
        return Ranking(np.array(gids, dtype=np.int64), nothing, "exhausted", matches.total, is_complete=True)

    def _window(self, size: int, work: Work, plan: PlanName, matches: Matches, scorer: Scorer) -> Ranking:
        ranking = self._longer(size, plan, matches, scorer)
        return self._resorted(work, ranking) if work.is_by_metric else ranking

    def _resorted(self, work: Work, ranking: Ranking) -> Ranking:
        """The most relevant rows ordered by a metric, the others as they were."""
        head = [int(gid) for gid in ranking.gids[: WINDOWS[-1]]]
        if not head:
            return ranking
        direction = "DESC" if work.request.sort.order == "desc" else "ASC"
        query = (
            f"SELECT {GID} FROM docs WHERE {GID} IN ({', '.join('?' for _ in head)}) "
            f"ORDER BY {quoted(self._column(work.request.sort.by))} {direction} NULLS LAST, creator_id"
        )
        ordered = self._snapshot.catalog.arrays(query, head)[GID]
        place = {gid: position for position, gid in enumerate(head)}
        first = np.array([place[int(gid)] for gid in ordered], dtype=np.int64)
        order = np.concatenate([first, np.arange(len(head), len(ranking.gids))])
        return replace(ranking, gids=ranking.gids[order], similarities=ranking.similarities[order])

    def _column(self, by: str) -> str:
        return by if by in self._snapshot.vocabulary.foreign_columns else SORTS[by]
