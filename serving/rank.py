"""Scores: components of 0-1, weighted and added; the candidates of a request; when no other row can win.

Contributions are whole millionths, so that they add up exactly and order is the same wherever it is computed. Ties go
by creator_id. A value that is not known adds nothing. Who bears the query as a name is as similar to it as it is
prominent: whose whole text is a name is closest to it in meaning, and is the emptiest of the accounts of that name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from serving.catalog import Ids
from serving.columns import Columns, audience_size
from serving.lexical import NO_HITS, LexicalHits
from serving.models import COMPONENTS, CountRange, Weights
from serving.plan import Stop
from serving.shards import Matches, ShardResult, ShardSet

Micros = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Similarities = npt.NDArray[np.float32]

MICRO = 1_000_000
"""Contributions are counted in millionths."""

WINDOW = 200
"""Best rows that are found together and kept: two pages of the largest size."""

ROUNDS = (1_024, 4_096, 16_384)
"""Rows asked from each stream, until the window is proven; the last is the budget."""

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
        """Scores in millionths."""
        return np.asarray(self.micros(self.values(gids, similarities)).sum(axis=1), dtype=np.int64)

    def static_scores(self, gids: Ids) -> Micros:
        """Scores without similarity and words."""
        total = np.zeros(len(gids), dtype=np.int64)
        for name in self.components:
            if name not in ("similarity", "lexical"):
                values = np.nan_to_num(self._value(name, gids).astype(np.float64))
                total += np.rint(values * self.question.weights.of(name) * MICRO).astype(np.int64)
        return total

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


def rank_all(shards: ShardSet, matches: Matches, scorer: Scorer) -> Ranking:
    """Score every match."""
    gids = matches.gids
    similarities = _similarities(shards, gids, scorer)
    scores = np.concatenate(
        [
            scorer.scores(gids[start : start + BLOCK_ROWS], similarities[start : start + BLOCK_ROWS])
            for start in range(0, max(1, len(gids)), BLOCK_ROWS)
        ]
    )
    order = scorer.order(gids, scores)
    return Ranking(gids[order], similarities[order], "exhausted", len(gids), is_complete=True)


def rank_streams(shards: ShardSet, matches: Matches, scorer: Scorer) -> Ranking:
    """Best `WINDOW` rows out of three streams: by similarity, by words, by static score.

    Stops when similarity, words and static score of the last rows seen, taken together, cannot reach the window
    (Fagin's threshold rule): the similarity part of an unseen row is in its words if it is named, and else at most
    that of the last row of the first stream. Where a shard was probed, rows in unprobed lists are unseen: the stop is then no proof.
    """
    static = scorer.static_scores(matches.gids)
    lexical = scorer.question.lexical.among(matches.contain(scorer.question.lexical.gids))
    for count in ROUNDS[:-1]:
        ranking, is_reached = _round(shards, matches, scorer, static=static, lexical=lexical, count=count)
        if is_reached:
            return ranking
    return _round(shards, matches, scorer, static=static, lexical=lexical, count=ROUNDS[-1])[0]


def _round(
    shards: ShardSet, matches: Matches, scorer: Scorer, *, static: Micros, lexical: LexicalHits, count: int
) -> tuple[Ranking, bool]:
    """Best rows among the first `count` of each stream, and whether no other row can be among them."""
    question = scorer.question
    if question.vector is None:
        raise ValueError("streams need a vector")
    found = shards.best(question.vector, matches, k=count)
    by_static, static_bound = _top(static, count)
    by_words, words_bound = _top(scorer.word_scores(lexical), count)
    union = [*(result.gids for result in found), matches.gids[by_static], lexical.gids[by_words]]
    gids = np.unique(np.concatenate(union))
    similarities = shards.similarities(question.vector, gids)
    scores = scorer.scores(gids, similarities)
    order = scorer.order(gids, scores)[:WINDOW]
    bound = static_bound + words_bound + question.weights.similarity * _last_similarity(found, count) * MICRO
    is_exhausted = len(gids) == matches.total
    is_reached = is_exhausted or (len(order) == WINDOW and bound + ROUNDING <= scores[order[-1]])
    sizes = {"similarity": sum(len(r.gids) for r in found), "static": len(by_static), "lexical": len(by_words)}
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


def complete(window: Ranking, shards: ShardSet, matches: Matches, scorer: Scorer) -> Ranking:
    """The window followed by all other matches in order, so that deep pages neither repeat nor miss a row."""
    every = rank_all(shards, matches, scorer)
    others = ~np.isin(every.gids, window.gids)
    return Ranking(
        np.concatenate([window.gids, every.gids[others]]),
        np.concatenate([window.similarities, every.similarities[others]]),
        window.stop,
        len(every.gids),
        is_complete=True,
        shards=window.shards,
        streams=window.streams,
    )


def _similarities(shards: ShardSet, gids: Ids, scorer: Scorer) -> Similarities:
    vector = scorer.question.vector
    return np.zeros(len(gids), np.float32) if vector is None else shards.similarities(vector, gids)


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
