"""The word lists under `data/`, read once and laid out for vectorised choice. Every list is invented or generic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from lakehouse.contracts.taxonomy import NICHES
from lakehouse.simulate.columns import Phrases, Words, words

NICHE_CODES = tuple(niche.code for niche in NICHES if niche.prototypes != ("",))
"""Niches that creators have: all but `other`."""
NICHE_LABELS = tuple(niche.label for niche in NICHES if niche.prototypes != ("",))
POPULAR = (
    "lifestyle", "fashion", "music", "gaming", "beauty", "comedy", "fitness", "food_cooking", "travel", "sports", "education",
    "parenting", "technology", "food_dining", "personal_care", "pets", "art", "photography", "dance", "movies_tv",
)  # fmt: skip
"""Niches by number of creators, most first; all others follow with equal shares."""
POPULARITY_SLOPE = 0.7
"""Zipf exponent of niche sizes: the largest niche holds about a tenth of the creators."""
NAME_SLOTS = 3
"""Parts of a given name, and of a family name, at most."""
STAGE, BRAND, MEDIA = "stage", "brand", "media"
TOPIC = "{t}"
OTHER_YOUTUBE_CATEGORY = 22
"""People & Blogs."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Sentences around a topic, by language: what stands before and after it."""

    before: Phrases
    after: Words

    @classmethod
    def of(cls, groups: list[list[str]]) -> Frames:
        """Cut each frame at its topic."""
        after = words([frame.partition(TOPIC)[2] for group in groups for frame in group])
        return cls(Phrases.of([[frame.partition(TOPIC)[0] for frame in group] for group in groups]), after)


@dataclass(frozen=True, slots=True)
class Names:
    """Parts of names by culture: for each slot the native spelling and, at the same position, the Latin one."""

    codes: tuple[str, ...]
    given: tuple[tuple[Phrases, Words], ...]
    family: tuple[tuple[Phrases, Words], ...]
    gaps: Words
    spaces: Words
    is_family_first: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """Countries with weights, culture (position in `Names.codes`), weighted languages and cities."""

    codes: tuple[str, ...]
    labels: tuple[str, ...]
    weights: tuple[float, ...]
    cultures: tuple[int, ...]
    languages: Phrases
    cities: Phrases


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All word lists. `topics` is grouped by language * number of niches + niche, the others as their names say."""

    languages: tuple[str, ...]
    bio_frames: Frames
    post_frames: Frames
    calls: Phrases
    bland: Phrases
    language_tags: Phrases
    topics: Phrases
    roles: Phrases
    niche_words: Phrases
    niche_weights: tuple[float, ...]
    names: Names
    places: Places
    risk_codes: tuple[str, ...]
    risk_weights: tuple[float, ...]
    risk_phrases: Phrases
    lists: dict[str, tuple[str, ...]]
    platform_suffixes: dict[str, tuple[str, ...]]
    leet: dict[str, str]
    youtube_categories: tuple[int, ...]


@cache
def vocabulary() -> Vocabulary:
    """The shipped word lists."""
    languages, niches, risks, text = (_read(name) for name in ("languages", "niches", "risks", "text"))
    codes = tuple(languages)
    names = _names(_read("names"))
    return Vocabulary(
        languages=codes,
        bio_frames=Frames.of([_cut(languages[code]["bio"]) for code in codes]),
        post_frames=Frames.of([_cut(languages[code]["posts"]) for code in codes]),
        calls=Phrases.of([_cut(languages[code]["calls"]) for code in codes]),
        bland=Phrases.of([_cut(languages[code]["bland"]) for code in codes]),
        language_tags=Phrases.of([languages[code]["tags"].split() for code in codes]),
        topics=Phrases.of([_topics(languages[code], niches, niche) for code in codes for niche in NICHE_CODES]),
        roles=Phrases.of([_cut(niches[niche]["roles"]) for niche in NICHE_CODES]),
        niche_words=Phrases.of([niches[niche]["words"].split() for niche in NICHE_CODES]),
        niche_weights=_niche_weights(),
        names=names,
        places=_places(_read("places"), names.codes, codes),
        risk_codes=tuple(risks),
        risk_weights=tuple(float(risk["weight"]) for risk in risks.values()),
        risk_phrases=Phrases.of([_cut(risk["phrases"]) for risk in risks.values()]),
        lists={name: _pieces(value) for name, value in text.items() if isinstance(value, str)},
        platform_suffixes={name: tuple(value.split()) for name, value in text["platform_suffixes"].items()},
        leet=text["leet"],
        youtube_categories=tuple(text["youtube_categories"].get(code, OTHER_YOUTUBE_CATEGORY) for code in NICHE_CODES),
    )


def _read(name: str) -> dict[str, Any]:
    path = resources.files(__package__) / "data" / f"{name}.yaml"
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def _cut(text: str) -> list[str]:
    return text.split("|")


def _pieces(text: str) -> tuple[str, ...]:
    return tuple(text.split("|") if "|" in text else text.split())


def _topics(language: dict[str, Any], english: dict[str, Any], niche: str) -> list[str]:
    """Topics of a niche in a language; English ones where it has none, as people do."""
    return _cut(language.get("topics", {}).get(niche) or english[niche]["topics"])


def _niche_weights() -> tuple[float, ...]:
    ranks = {code: rank for rank, code in enumerate(POPULAR, start=1)}
    return tuple(ranks.get(code, len(POPULAR) + 1) ** -POPULARITY_SLOPE for code in NICHE_CODES)


def _names(raw: dict[str, Any]) -> Names:
    cultures = tuple(raw.values())
    return Names(
        codes=tuple(raw),
        given=_slots([culture["given"] for culture in cultures]),
        family=_slots([culture["family"] for culture in cultures]),
        gaps=words([" " if code == "vietnamese" else "" for code in raw]),
        spaces=words([culture.get("space", " ") for culture in cultures]),
        is_family_first=tuple(culture.get("is_family_first", False) for culture in cultures),
    )


def _slots(cultures: list[list[str]]) -> tuple[tuple[Phrases, Words], ...]:
    """For each slot the parts of all cultures, native and Latin."""
    return tuple(_slot([_parts(culture, slot) for culture in cultures]) for slot in range(NAME_SLOTS))


def _parts(culture: list[str], slot: int) -> list[tuple[str, str]]:
    """Native and Latin spelling of each part; a slot that a culture lacks is one empty part."""
    split = (part.strip("-").partition("/") for part in (culture[slot].split() if slot < len(culture) else ("",)))
    return [("", "") if native == "-" else (native, latin or native) for native, _, latin in split]


def _slot(groups: list[list[tuple[str, str]]]) -> tuple[Phrases, Words]:
    native = Phrases.of([[part for part, _ in group] for group in groups])
    return native, words([latin for group in groups for _, latin in group])


def _places(raw: dict[str, Any], cultures: tuple[str, ...], languages: tuple[str, ...]) -> Places:
    places = tuple(raw.values())
    weighted = [
        [str(languages.index(code)) for code, weight in place["languages"].items() for _ in range(weight)]
        for place in places
    ]
    return Places(
        codes=tuple(raw),
        labels=tuple(place["name"] for place in places),
        weights=tuple(float(place["weight"]) for place in places),
        cultures=tuple(cultures.index(place["culture"]) for place in places),
        languages=Phrases.of(weighted),
        cities=Phrases.of([_cut(place["cities"]) for place in places]),
    )
