"""Scores: components of 0-1, weighted and added; the candidates of a request; when no other row can win.

Contributions are whole millionths, so that they add up exactly and order is the same wherever it is computed. Ties go
by creator_id. A value that is not known adds nothing. Who bears the query as a name is as similar to it as it is
prominent: whose whole text is a name is closest to it in meaning, and is the emptiest of the accounts of that name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from index_build.refine import reaching
from serving.catalog import Ids
from serving.columns import Columns, audience_size
from serving.lexical import NO_HITS, LexicalHits
from serving.models import COMPONENTS, CountRange, Weights
from serving.plan import Stop
from serving.shards import Matches, ShardResult, ShardSet
from serving.static import MICRO, Seen, StaticOrder, best_in_niches

Micros = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Similarities = npt.NDArray[np.float32]

WINDOWS = (25, 200)
"""Best rows that are found together and kept: the first pages of a usual size, then two of the largest. Behind them all
matches are scored."""

ROUNDS = (32, 64, 256, 1_024, 4_096, 16_384)
"""Rows asked from each stream until the window is proven or settled; the last is the budget. The first proves a first page where
similarity alone counts, and the more are asked for, the further a shard looks."""

MEETING_ROUND = 256
"""Rows asked first where other components than similarity and words count: streams that hardly meet prove nothing."""

SETTLED_ROUND = 1_024
"""From here on a round that changes no row of the window ends the search."""

STATIC_ROUND = 1_024
"""Rows asked from the static order alone: their last value is below that of any page but the flattest."""

STATIC = ("engagement", "size", "quality", "recency")
"""Components that are columns: they do not depend on the question."""

EXHAUSTIVE_MATCHES = 1_024
"""Matches up to which every one is scored, whatever a shard would do: the streams score about as many."""

EXHAUSTIVE_MOST = 20_000
"""Matches beyond which not every one gets its full score, though a shard compares the query with each: seven components of so many
take 6 ms, three times what comparing them does."""

ROUNDING = 10
"""Millionths by which a bound may be off: one rounding per component and float32 sums."""

BLOCK_ROWS = 262_144
"""Rows scored at a time when every match is scored."""


@dataclass(frozen=True, slots=True)
class Question:
    """What rows are compared with. Without a vector only static components count."""

    weights: Weights
    vector: npt.NDArray[np.float32] | None = None
    lexical: LexicalHits = NO_HITS
    niches: Mapping[str, float] = field(default_factory=dict)
    followers: CountRange | None = None
    has_text: bool = False

    def are_named(self, gids: Ids) -> npt.NDArray[np.bool_]:
        """Rows whose whole name or handle is the query; none where words do not count."""
        return self.lexical.are_named(gids) if self.weights.lexical else np.zeros(len(gids), bool)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows in order, with the similarities they were ordered by; `is_complete` when no match is left out."""

    gids: Ids
    similarities: Similarities
    stop: Stop
    candidates: int
    is_complete: bool
    shards: tuple[ShardResult, ...] = ()
    streams: Mapping[str, int] = field(default_factory=dict)


class Scorer:
    """Component values of rows for one question."""

    def __init__(self, columns: Columns, question: Question) -> None:
        """Decide which components count: those that the question asks for and the snapshot has columns of."""
        self._columns = columns
        self.question = question
        is_asked = {
            "similarity": question.vector is not None,
            "lexical": question.has_text,
            "niche": question.vector is not None and columns.niche_ordinals is not None,
            "engagement": columns.engagement is not None,
            "size": columns.followers is not None,
            "quality": columns.quality is not None,
            "recency": columns.recency is not None,
        }
        self.components = tuple(name for name in COMPONENTS if is_asked[name])
        self._niche_weights = np.array([question.niches.get(code, 0.0) for code in columns.niche_codes])

    def values(self, gids: Ids, similarities: Similarities) -> Values:
        """Values of every component, (rows, components), nan where not known."""
        parts = [
            self._similarity(gids, similarities) if name == "similarity" else self._value(name, gids)
            for name in self.components
        ]
        return np.stack(parts, axis=1).astype(np.float64) if parts else np.zeros((len(gids), 0))

    def micros(self, values: Values) -> Micros:
        """Contributions in millionths, (rows, components)."""
        weights = np.array([self.question.weights.of(name) for name in self.components])
        return np.asarray(np.rint(np.nan_to_num(values) * weights * MICRO), dtype=np.int64)

    def scores(self, gids: Ids, similarities: Similarities) -> Micros:
        """Scores in millionths: the sums of `micros`, without the components that weigh nothing."""
        total = np.zeros(len(gids), dtype=np.int64)
        for name in self.components:
            weight = self.question.weights.of(name)
            if weight:
                is_similarity = name == "similarity"
                values = (
                    self._similarity(gids, similarities) if is_similarity else np.nan_to_num(self._value(name, gids))
                )
                total += np.rint(values.astype(np.float64) * weight * MICRO).astype(np.int64)
        return total

    @property
    def static_weights(self) -> dict[str, float]:
        """Weights of the components that are columns. Size is left out where its worth depends on the asked range."""
        weights = {name: self.question.weights.of(name) for name in self.components if name in STATIC}
        return weights if self._is_size_static else {name: weights[name] for name in weights if name != "size"}

    @property
    def is_static(self) -> bool:
        """Some other component than similarity and words has a weight."""
        return any(self.question.weights.of(name) for name in self.components if name in (*STATIC, "niche"))

    def static_order(self) -> StaticOrder:
        """Order of all rows by the components that are columns."""
        return self._columns.orders.get(tuple(self.static_weights.items()), self._make_order)

    def best_static(self, matches: Matches, count: int) -> Seen:
        """Best rows without similarity and words, by column and by niche."""
        if not self.is_static:
            return Seen(np.empty(0, np.int64), 0)
        order = self.static_order()
        weight = self.question.weights.niche
        seen = order.best(matches, count)
        if "niche" in self.components and weight and self.question.niches:
            seen = best_in_niches(
                order,
                matches,
                wanted=self.question.niches,
                weight=weight,
                members=self._columns.niche_members,
                count=count,
                others=seen,
            )
        if seen.bound is None or self._is_size_static:
            return seen
        return replace(seen, bound=seen.bound + round(self.question.weights.size * MICRO))

    def _make_order(self) -> StaticOrder:
        rows = self._columns.rows
        total = np.zeros(rows, dtype=np.int32)
        for start in range(0, rows, BLOCK_ROWS):
            gids = np.arange(start, min(start + BLOCK_ROWS, rows))
            for name, weight in self.static_weights.items():
                values = np.nan_to_num(self._value(name, gids).astype(np.float64))
                total[gids] += np.rint(values * weight * MICRO).astype(np.int32)
        return StaticOrder.of(total)

    @property
    def _is_size_static(self) -> bool:
        wanted = self.question.followers
        return wanted is None or wanted.min is None or wanted.max is None

    def word_scores(self, hits: LexicalHits) -> Micros:
        """Scores of words alone; with the whole similarity part of named rows, which words decide."""
        weights = self.question.weights
        prominence = np.where(self.question.are_named(hits.gids), self._columns.prominence[hits.gids], 0.0)
        parts = (hits.values * weights.lexical, prominence.astype(np.float64) * weights.similarity)
        return np.asarray(sum(np.rint(part * MICRO) for part in parts), dtype=np.int64)

    def order(self, gids: Ids, scores: Micros) -> npt.NDArray[np.int64]:
        """Positions by falling score, ties by creator_id."""
        return np.lexsort((self._columns.creator_rank[gids], -scores))

    def _similarity(self, gids: Ids, similarities: Similarities) -> Values:
        positive = np.maximum(similarities, 0.0)
        return np.where(self.question.are_named(gids), self._columns.prominence[gids], positive)

    def _value(self, name: str, gids: Ids) -> Values:
        match name:
            case "lexical":
                return self.question.lexical.values_of(gids)
            case "niche":
                return self._affinity(gids)
            case "size":
                return self._size(gids)
            case _:
                column = getattr(self._columns, name)
                return np.asarray(column[gids], dtype=np.float64)

    def _affinity(self, gids: Ids) -> Values:
        ordinals, scores = self._columns.niche_ordinals, self._columns.niche_scores
        if ordinals is None or scores is None or not self.question.niches:
            return np.zeros(len(gids))
        affinity = (self._niche_weights[ordinals[gids]] * scores[gids]).sum(axis=1)
        return np.asarray(np.minimum(affinity, 1.0), dtype=np.float64)

    def _size(self, gids: Ids) -> Values:
        followers = self._columns.followers
        if followers is None:
            return np.zeros(len(gids))
        return size_fit(followers[gids], self.question.followers)


def size_fit(followers: Values, wanted: CountRange | None) -> Values:
    """Size on a log scale, 0-1; with both bounds given, closeness to their geometric middle (0.5 at the bounds)."""
    if wanted is None or wanted.min is None or wanted.max is None:
        return audience_size(followers)
    low, high = math.log10(1.0 + wanted.min), math.log10(1.0 + wanted.max)
    half = max((high - low) / 2, 1e-9)
    return np.clip(1.0 - np.abs(np.log10(1.0 + followers) - (low + high) / 2) / half / 2, 0.0, 1.0)


def rank_all(shards: ShardSet, matches: Matches, scorer: Scorer, *, window: int | None = None) -> Ranking:
    """Score every match and order them, or the best `window`."""
    count = matches.total if window is None else window
    gids, similarities = _contenders(shards, matches, scorer, count=count)
    scores = _scores(scorer, gids, similarities)
    best = reaching(scores, count)
    order = best[scorer.order(gids[best], scores[best])][:window]
    is_complete = len(order) == matches.total
    return Ranking(gids[order], similarities[order], "exhausted", matches.total, is_complete=is_complete)


def _contenders(shards: ShardSet, matches: Matches, scorer: Scorer, *, count: int) -> tuple[Ids, Similarities]:
    """Matches that may be among the best `count`: all, or those that come near to them by what is quickly read of their vectors."""
    gids, vector = matches.gids, scorer.question.vector
    if vector is None:
        return gids, np.zeros(len(gids), np.float32)
    slack = shards.slack(vector) if count < len(gids) else 0.0
    if not slack:
        return gids, shards.similarities(vector, gids)
    rough = shards.rough(vector, gids)
    least = slack * scorer.question.weights.similarity * MICRO + ROUNDING
    near = reaching(_scores(scorer, gids, rough), count, least)
    return gids[near], shards.finer(vector, gids[near], rough[near])


def _scores(scorer: Scorer, gids: Ids, similarities: Similarities) -> Micros:
    starts = range(0, max(1, len(gids)), BLOCK_ROWS)
    blocks = (slice(start, start + BLOCK_ROWS) for start in starts)
    return np.concatenate([scorer.scores(gids[block], similarities[block]) for block in blocks])


def rank_static(shards: ShardSet, matches: Matches, scorer: Scorer, *, window: int) -> Ranking:
    """Best `window` rows where there is nothing to compare with: the head of the static order where it proves them."""
    seen = scorer.best_static(matches, max(window, STATIC_ROUND))
    nothing = np.zeros(len(seen.gids), np.float32)
    scores = scorer.scores(seen.gids, nothing)
    order = scorer.order(seen.gids, scores)[:window]
    is_complete = len(order) == matches.total
    if not is_complete and (len(order) < window or (seen.bound or 0) + ROUNDING > scores[order[-1]]):
        return rank_all(shards, matches, scorer, window=window)
    return Ranking(seen.gids[order], nothing[order], "proven", len(seen.gids), is_complete=is_complete)


def rank_streams(shards: ShardSet, matches: Matches, scorer: Scorer, *, window: int = WINDOWS[-1]) -> Ranking:
    """Best `window` rows out of three streams: by similarity, by words, by static score.

    Stops when similarity, words and static score of the last rows seen, taken together, cannot reach the window
    (Fagin's threshold rule): the similarity part of an unseen row is in its words if it is named, and else at most
    that of the last row of the first stream. Where a shard was probed, rows in unprobed lists are unseen: the stop is
    then no proof. Where the bound stays too loose, a round that changes no row of the window ends the search.
    """
    lexical = scorer.question.lexical
    lexical = lexical.among(matches.contain(lexical.gids))
    least = max(window, MEETING_ROUND if scorer.is_static else 0)
    rounds = [count for count in ROUNDS if count >= least] or [ROUNDS[-1]]
    ranking: Ranking | None = None
    for count in rounds:
        before = ranking
        ranking, is_reached = _round(shards, matches, scorer, lexical=lexical, count=count, window=window)
        if is_reached:
            break
        if before is not None and count >= SETTLED_ROUND and np.array_equal(before.gids, ranking.gids):
            return replace(ranking, stop="settled")
    if ranking is None:
        raise ValueError("there are no rounds")
    return ranking


def _round(
    shards: ShardSet, matches: Matches, scorer: Scorer, *, lexical: LexicalHits, count: int, window: int
) -> tuple[Ranking, bool]:
    """Best rows among the first `count` of each stream, and whether no other row can be among them."""
    question = scorer.question
    if question.vector is None:
        raise ValueError("streams need a vector")
    found = shards.best(question.vector, matches, k=count)
    static = scorer.best_static(matches, count)
    by_words, words_bound = _top(scorer.word_scores(lexical), count)
    others = np.concatenate([static.gids, lexical.gids[by_words]])
    gids, similarities = _united(shards, question.vector, found, others)
    scores = scorer.scores(gids, similarities)
    order = scorer.order(gids, scores)[:window]
    bound = (static.bound or 0) + words_bound + question.weights.similarity * _last_similarity(found, count) * MICRO
    is_exhausted = len(gids) == matches.total
    is_reached = is_exhausted or (len(order) == window and bound + ROUNDING <= scores[order[-1]])
    sizes = {"similarity": sum(len(r.gids) for r in found), "static": len(static.gids), "lexical": len(by_words)}
    is_proven = is_reached and all(result.is_exact for result in found)
    stop: Stop = "exhausted" if is_exhausted else "proven" if is_proven else "budget"
    ranking = Ranking(
        gids[order],
        similarities[order],
        stop,
        len(gids),
        is_complete=len(order) == matches.total,
        shards=tuple(found),
        streams=sizes,
    )
    return ranking, is_reached


def _united(
    shards: ShardSet, vector: npt.NDArray[np.float32], found: list[ShardResult], others: Ids
) -> tuple[Ids, Similarities]:
    """Rows of the similarity stream and of the others, each once, with similarities; known ones are not computed again."""
    gids = np.concatenate([result.gids for result in found])
    similarities = np.concatenate([result.similarities for result in found])
    new = np.setdiff1d(others, gids) if len(others) else others
    if not len(new):
        return gids, similarities
    return np.concatenate([gids, new]), np.concatenate([similarities, shards.similarities(vector, new)])


def continued(window: Ranking, longer: Ranking) -> Ranking:
    """The window followed by the other rows of a longer ranking in order, so that pages neither repeat nor miss a row."""
    others = ~np.isin(longer.gids, window.gids)
    return replace(
        longer,
        gids=np.concatenate([window.gids, longer.gids[others]]),
        similarities=np.concatenate([window.similarities, longer.similarities[others]]),
        stop=window.stop,
        shards=window.shards,
        streams=window.streams,
    )


def _top(values: Micros, count: int) -> tuple[npt.NDArray[np.int64], int]:
    """Positions of the `count` largest values, and the most that any other can have (0 when there is no other)."""
    if len(values) <= count:
        return np.arange(len(values)), 0
    chosen = np.argpartition(-values, count - 1)[:count]
    return chosen, int(values[chosen].min())


def _last_similarity(found: list[ShardResult], count: int) -> float:
    """Most that a row can have that no shard returned."""
    lasts = [float(result.similarities[-1]) for result in found if len(result.similarities) >= count]
    return max([0.0, *lasts])
