"""What the category labels of sources mean: niche, weight and words for search, read from `data/labels.json`.

Data only: a new source's labels are new lines in that file. Keys are lower case; YouTube's numeric category ids are
keys too. `weight` is how well the label supports the niche (1 = says it, 0.3 = a catch-all such as "Entertainment").
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import chain


@dataclass(frozen=True, slots=True)
class LabelMeaning:
    """One vendor label: niche code, support 0-1, English words, and the kind of account it names, if any."""

    niche: str
    weight: float
    words: str
    content_type: str | None = None


@lru_cache(maxsize=1)
def label_meanings() -> dict[str, LabelMeaning]:
    """All known labels by lower-case key."""
    text = resources.files("lakehouse.enrich").joinpath("data/labels.json").read_text(encoding="utf-8")
    return {key: LabelMeaning(**row) for key, row in json.loads(text).items()}


def meaning_of(label: str) -> LabelMeaning | None:
    """Meaning of one label, None when it is not in the data."""
    return label_meanings().get(" ".join(label.split()).casefold())


def words_of(labels: Iterable[str]) -> list[str]:
    """Search words of labels in order, without repeats; an unknown label that holds a letter stands for itself."""
    return list(dict.fromkeys(chain.from_iterable(map(_words, labels))))


@lru_cache(maxsize=4096)
def _words(label: str) -> tuple[str, ...]:
    meaning = meaning_of(label)
    text = meaning.words if meaning else label.strip()
    return tuple(word for part in text.split(",") if any(map(str.isalpha, word := part.strip())))


def niches_of(labels: Iterable[str]) -> dict[str, float]:
    """Support 0-1 of each niche that the labels name, strongest label of a niche wins, order of first mention kept."""
    support: dict[str, float] = {}
    for meaning in filter(None, map(meaning_of, labels)):
        support[meaning.niche] = max(meaning.weight, support.get(meaning.niche, 0.0))
    return support


def content_type_of(labels: Iterable[str]) -> str | None:
    """Kind of account (person, media, brand, politician) where the labels agree on one, else None."""
    kinds = {meaning.content_type for meaning in map(meaning_of, labels) if meaning and meaning.content_type}
    return kinds.pop() if len(kinds) == 1 else None
