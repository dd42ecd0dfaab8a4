"""Words of a query in names, handles, categories and niches: who carries them, and how much of the query that covers.

value = sum over query words of idf x worth / sum of idf, 0-1, where idf = ln(1 + rows / rows with the word) and worth is
that of the best place where the word was found (`catalog.py`). Neighbouring words are also looked for as one word, so
that "leo messi" finds `leomessi`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.catalog import Catalog, Ids, Mask

MAX_WORDS = 32
"""Words of a query that are looked up; the rest of a long text is for the encoder."""

MAX_JOINED = 4
"""Neighbouring words tried as one."""

POSTINGS_BUDGET = 200_000
"""Occurrences read for a query (a few ms); commoner words are left to the encoder and reported."""


@dataclass(frozen=True, slots=True)
class LexicalHits:
    """Rows that carry words of a query: `gids` ascending, `values` 0-1, `covered` bool (rows, words)."""

    words: tuple[str, ...]
    gids: Ids
    values: npt.NDArray[np.float64]
    covered: npt.NDArray[np.bool_]
    skipped: tuple[str, ...] = ()

    def values_of(self, gids: Ids) -> npt.NDArray[np.float64]:
        """Values of any rows; 0 for rows without a hit."""
        places, is_hit = self._places(gids)
        return np.where(is_hit, self.values[places], 0.0) if len(self.gids) else np.zeros(len(gids))

    def words_of(self, gid: int) -> list[str]:
        """Words of the query that a row carries."""
        places, is_hit = self._places(np.asarray([gid]))
        return [word for word, has in zip(self.words, self.covered[places[0]], strict=True) if has] if is_hit[0] else []

    def within(self, mask: Mask) -> LexicalHits:
        """Hits among the rows of `mask`."""
        kept = mask[self.gids]
        return LexicalHits(self.words, self.gids[kept], self.values[kept], self.covered[kept], self.skipped)

    def _places(self, gids: Ids) -> tuple[Ids, npt.NDArray[np.bool_]]:
        if not len(self.gids):
            return np.zeros(len(gids), np.int64), np.zeros(len(gids), bool)
        places = np.minimum(np.searchsorted(self.gids, gids), len(self.gids) - 1)
        return places, self.gids[places] == gids


NO_HITS = LexicalHits((), np.empty(0, np.int64), np.empty(0), np.empty((0, 0), bool))


def find_words(catalog: Catalog, text: str) -> LexicalHits:
    """Rows that carry words of `text`."""
    words = tuple(dict.fromkeys(catalog.words(text)))[:MAX_WORDS]
    if not words:
        return NO_HITS
    spans = joined_spans(words)
    frequency = catalog.words_frequency(list(spans))
    read, skipped = within_budget(frequency)
    if not read:
        return LexicalHits(words, *_nothing(len(words)), skipped)
    found = catalog.postings(read)
    gids, rows = np.unique(found.gids, return_inverse=True)
    worth = np.zeros((len(gids), len(words)))
    for ordinal, word in enumerate(read):
        chosen = found.words == ordinal
        for place in range(*spans[word]):
            np.maximum.at(worth[:, place], rows[chosen], found.worth[chosen])
    idf = np.array([math.log1p(catalog.rows / max(1, frequency.get(word, 1))) for word in words])
    return LexicalHits(words, gids, worth @ idf / idf.sum(), worth > 0, skipped)


def joined_spans(words: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Every word and every join of up to `MAX_JOINED` neighbours, with the range of words that it covers."""
    spans: dict[str, tuple[int, int]] = {}
    for length in range(min(MAX_JOINED, len(words)), 0, -1):
        for start in range(len(words) - length + 1):
            spans.setdefault("".join(words[start : start + length]), (start, start + length))
    return spans


def within_budget(frequency: dict[str, int]) -> tuple[list[str], tuple[str, ...]]:
    """Rarest words whose occurrences fit the budget, and the others."""
    read: list[str] = []
    left = POSTINGS_BUDGET
    ordered = sorted(frequency, key=lambda word: (frequency[word], word))
    for word in ordered:
        if frequency[word] > left:
            break
        left -= frequency[word]
        read.append(word)
    return read, tuple(ordered[len(read) :])


def _nothing(words_count: int) -> tuple[Ids, npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    return np.empty(0, np.int64), np.empty(0), np.empty((0, words_count), bool)
