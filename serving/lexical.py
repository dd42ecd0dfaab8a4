"""Words of a query in names, handles, categories and niches: who carries them, and how much of the query that covers.

value = sum over query words of idf x worth / sum of idf, 0-1, where idf = ln(1 + rows / rows with the word) and worth is
that of the best place where the word was found. Neighbouring words are also looked for as one word, so
that "leo messi" finds `leomessi` and "Duran Duran" `duranduran`. A row is *named* by a query that is, as a whole, its
name or handle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lakehouse.contracts.taxonomy import NICHES
from serving.arrays import open_arrays, save_arrays
from serving.catalog import Catalog, Ids, Mask
from serving.filters import TEXT_FIELDS
from serving.predicates import GID
from serving.words import SQL_KEY, split_words, word_key

WHOLE_WEIGHT, NAME_WEIGHT, TOPIC_WEIGHT = 1.0, 0.8, 0.6
"""Worth of a found word: a whole name or handle, a word of one, a word of a category or niche."""

MAX_WORDS = 32
"""Words of a query that are looked up; the rest of a long text is for the encoder."""

MAX_JOINED = 4
"""Neighbouring words tried as one."""

POSTINGS_BUDGET = 200_000
"""Occurrences read for a query (a few ms); commoner words are left to the encoder and reported."""


@dataclass(frozen=True, slots=True)
class LexicalHits:
    """Rows that carry words of a query: `gids` ascending, `values` 0-1, `covered` bool (rows, words), `named` bool."""

    words: tuple[str, ...]
    gids: Ids
    values: npt.NDArray[np.float64]
    covered: npt.NDArray[np.bool_]
    named: npt.NDArray[np.bool_]
    skipped: tuple[str, ...] = ()

    def values_of(self, gids: Ids) -> npt.NDArray[np.float64]:
        """Values of any rows; 0 for rows without a hit."""
        places, is_hit = self._places(gids)
        return np.where(is_hit, self.values[places], 0.0) if len(self.gids) else np.zeros(len(gids))

    def are_named(self, gids: Ids) -> npt.NDArray[np.bool_]:
        """Whether the query is the whole name or handle of each of any rows."""
        places, is_hit = self._places(gids)
        return is_hit & self.named[places] if len(self.gids) else np.zeros(len(gids), bool)

    def words_of(self, gid: int) -> list[str]:
        """Words of the query that a row carries."""
        places, is_hit = self._places(np.asarray([gid]))
        return [word for word, has in zip(self.words, self.covered[places[0]], strict=True) if has] if is_hit[0] else []

    def among(self, kept: Mask) -> LexicalHits:
        """Those of the hits whose place in `kept` (len(gids),) is true."""
        return LexicalHits(
            self.words, self.gids[kept], self.values[kept], self.covered[kept], self.named[kept], self.skipped
        )

    def _places(self, gids: Ids) -> tuple[Ids, npt.NDArray[np.bool_]]:
        if not len(self.gids):
            return np.zeros(len(gids), np.int64), np.zeros(len(gids), bool)
        places = np.minimum(np.searchsorted(self.gids, gids), len(self.gids) - 1)
        return places, self.gids[places] == gids


NO_HITS = LexicalHits((), np.empty(0, np.int64), np.empty(0), np.empty((0, 0), bool), np.empty(0, bool))


@dataclass(frozen=True, slots=True)
class WordIndex:
    """Inverted lists of a snapshot: sorted keys of words, where their lists start, rows and worth; 12 bytes an entry."""

    rows: int
    keys: npt.NDArray[np.uint64]
    starts: Ids
    gids: npt.NDArray[np.int64]
    worth: npt.NDArray[np.float32]

    @classmethod
    def load(cls, catalog: Catalog) -> WordIndex:
        """Build the lists from the normalised texts of a catalog."""
        found = catalog.arrays(_occurrences_sql(catalog.docs), [[n.code for n in NICHES], [n.label for n in NICHES]])
        keys, starts = np.unique(found["key"].astype(np.uint64), return_index=True)
        ends = np.append(starts, len(found["key"])).astype(np.int64)
        return cls(catalog.rows, keys, ends, found[GID].astype(np.int64), found["worth"].astype(np.float32))

    def save(self, folder: Path) -> None:
        """Write the lists into a new folder."""
        save_arrays(folder, {"keys": self.keys, "starts": self.starts, "gids": self.gids, "worth": self.worth})

    @classmethod
    def open(cls, folder: Path, *, rows: int) -> WordIndex:
        """Map what `save` wrote for a snapshot of `rows` rows.

        Raises:
            ValueError: it is not that.
        """
        return cls(rows, **open_arrays(folder))

    def lists(self, words: Sequence[str]) -> dict[str, slice]:
        """Places of the lists of those words that occur."""
        wanted = np.array([word_key(word) for word in words], dtype=np.uint64)
        places = np.minimum(np.searchsorted(self.keys, wanted), max(0, len(self.keys) - 1))
        return {
            word: slice(int(self.starts[place]), int(self.starts[place + 1]))
            for word, place, key in zip(words, places, wanted, strict=True)
            if len(self.keys) and self.keys[place] == key
        }


def find_words(index: WordIndex, text: str) -> LexicalHits:
    """Rows that carry words of `text`."""
    spoken = split_words(text)[:MAX_WORDS]
    words = tuple(dict.fromkeys(spoken))
    if not words:
        return NO_HITS
    spans = joined_spans(spoken)
    lists = index.lists(list(spans))
    frequency = {word: place.stop - place.start for word, place in lists.items()}
    read, skipped = within_budget(frequency)
    occurrences = [index.gids[lists[word]] for word in read]
    gids = np.unique(np.concatenate([*occurrences, np.empty(0, np.int64)]))
    worth = np.zeros((len(gids), len(words)))
    for word, found in zip(read, occurrences, strict=True):
        rows = np.searchsorted(gids, found)
        for place in spans[word]:
            worth[rows, place] = np.maximum(worth[rows, place], index.worth[lists[word]])
    idf = np.array([math.log1p(index.rows / max(1, frequency.get(word, 1))) for word in words])
    whole = "".join(split_words(text))
    named = np.isin(gids, _wholly(index, lists[whole])) if whole in read else np.zeros(len(gids), bool)
    return LexicalHits(words, gids, worth @ idf / idf.sum(), worth > 0, named, skipped)


def _wholly(index: WordIndex, place: slice) -> Ids:
    """Rows whose whole name or handle is the word of a list."""
    return np.asarray(index.gids[place][index.worth[place] == WHOLE_WEIGHT])


def joined_spans(spoken: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Every word, every join of up to `MAX_JOINED` neighbours and the join of all, with the different words it covers.

    Args:
        spoken: words in order, with repetition.

    Returns:
        for each join, places among the different words.
    """
    places = {word: place for place, word in enumerate(dict.fromkeys(spoken))}
    spans: dict[str, tuple[int, ...]] = {}
    for length in (len(spoken), *range(min(MAX_JOINED, len(spoken)), 0, -1)):
        for start in range(len(spoken) - length + 1):
            joined = spoken[start : start + length]
            spans.setdefault("".join(joined), tuple(sorted({places[word] for word in joined})))
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


def _occurrences_sql(columns: Mapping[str, str]) -> str:
    """Key, row and worth of every word of a name, handle, category or niche, in key order."""
    source = f"SELECT {GID}, unnest(string_split(trim({{column}}), ' | ')) AS text FROM docs"
    split = f"SELECT {GID}, unnest(string_split(text, ' ')) AS word, {{worth}} AS worth FROM ({{source}})"
    parts = [f"SELECT 0::BIGINT AS {GID}, '' AS word, 0.0 AS worth WHERE false"]
    for column in (TEXT_FIELDS["name"], TEXT_FIELDS["handle"]):
        if column in columns:
            values = source.format(column=column)
            parts.append(f"SELECT {GID}, replace(text, ' ', '') AS word, {WHOLE_WEIGHT} AS worth FROM ({values})")
            parts.append(split.format(source=values, worth=NAME_WEIGHT))
    if TEXT_FIELDS["category"] in columns:
        values = source.format(column=TEXT_FIELDS["category"])
        parts.append(split.format(source=values, worth=TOPIC_WEIGHT))
    labels = "SELECT unnest($1::VARCHAR[]) AS code, unnest($2::VARCHAR[]) AS label"
    niches = f"SELECT {GID}, unnest(niche_codes) AS code FROM docs" if "niche_codes" in columns else ""
    none = f"SELECT 0::BIGINT AS {GID}, '' AS code WHERE false"
    parts.append(
        f"SELECT {GID}, unnest(words(label)) AS word, {TOPIC_WEIGHT} AS worth "
        f"FROM ({niches or none}) JOIN ({labels}) USING (code)"
    )
    return (
        f"SELECT {SQL_KEY} AS key, {GID}, max(worth)::FLOAT AS worth FROM ({' UNION ALL '.join(parts)}) "
        f"WHERE word <> '' GROUP BY key, {GID} ORDER BY key, {GID}"
    )
