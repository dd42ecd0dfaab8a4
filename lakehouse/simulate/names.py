"""Names and the handles that people make of them, from parts of names by culture. Pure functions of ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow.compute as pc

from lakehouse.simulate.columns import Phrases, Words, join, numbers, take, where, words
from lakehouse.simulate.draws import Draws, Floats, Ids, Ints, Mask
from lakehouse.simulate.vocabulary import STAGE, vocabulary

COMMON_POOL = 1_000
"""Creators of the world per common name of a culture: about fifteen people share one in a large culture, at any scale."""
STYLES = (0.30, 0.10, 0.10, 0.14, 0.16, 0.10, 0.10)
"""Shares of the handle styles below among persons."""
GIVEN_FAMILY, DOTTED, UNDERSCORED, GIVEN_NICHE, STAGED, STAGED_NICHE, INITIALED = range(len(STYLES))
NUMBERED_RATIO = 0.1
"""Handles with a number where names are plenty."""
CROWDED = 0.3
"""Creators per name of a culture from which every second one needs a number."""
SHORT_NUMBERS, LONG_NUMBERS = 100, 10_000
"""Numbers lie below the first; below the second where most handles of a culture need one. Never five digits long."""
VERY_CROWDED = 0.7
FIRST_WORD_RATIO = 0.6
"""How often a niche shows in a handle by its first word rather than by any."""


@dataclass(frozen=True, slots=True)
class Named:
    """Names as columns: native and Latin spelling, a stage name, and how the culture orders them."""

    given: Words
    family: Words
    latin_given: Words
    latin_family: Words
    stage: Words
    spaces: Words
    is_family_first: Mask

    def display(self) -> Words:
        """Full name in its own script and order."""
        return self._ordered(self.given, self.family, self.spaces)

    def latin(self) -> Words:
        """Full name in Latin letters, in its own order."""
        return self._ordered(self.latin_given, self.latin_family, words([" "] * len(self.spaces)))

    def _ordered(self, given: Words, family: Words, spaces: Words) -> Words:
        first, last = where(self.is_family_first, family, given), where(self.is_family_first, given, family)
        return pc.utf8_trim_whitespace(join(first, spaces, last))


def named(draws: Draws, ids: Ids, *, culture: Ints, family_culture: Ints, name_ids: Ids) -> Named:
    """Names of creators.

    Args:
        draws: of the world.
        ids: creators.
        culture: position of the naming culture of the given name.
        family_culture: the same of the family name.
        name_ids: what the name is drawn by: equal ids of one culture have equal names.
    """
    names = vocabulary().names
    given, latin_given = _parts(draws, "given", name_ids, culture, names.given)
    family, latin_family = _parts(draws, "family", name_ids, family_culture, names.family)
    is_first = np.asarray(names.is_family_first)[culture]
    return Named(
        given,
        family,
        latin_given,
        latin_family,
        stage_names(draws, "stage", ids),
        take(names.spaces, culture),
        is_first,
    )


def stage_names(draws: Draws, purpose: str, ids: Ids) -> Words:
    """Invented words that people perform under, lower case."""
    names = vocabulary().names
    culture = np.full(len(ids), names.codes.index(STAGE))
    return join(
        *(part.pick(culture, draws.uniform(f"{purpose}/{slot}", ids)) for slot, (part, _) in enumerate(names.given))
    )


def preferred_handles(draws: Draws, ids: Ids, named_: Named, *, style: Ints, niche: Ints, crowding: Floats) -> Words:
    """The handle that a creator would like everywhere, of a-z, 0-9, dot and underscore.

    Args:
        draws: of the world.
        ids: creators.
        named_: their names.
        style: position in `STYLES`.
        niche: position of their niche.
        crowding: expected creators with the same name.
    """
    given, family, stage = (letters(part) for part in (named_.latin_given, named_.latin_family, named_.stage))
    word = niche_words(draws, "handle word", ids, niche)
    head = where(np.isin(style, (STAGED, STAGED_NICHE)), stage, where(style == INITIALED, family, given))
    gap = where(style == DOTTED, ".", where(style == UNDERSCORED, "_", ""))
    tail = where(style == STAGED, "", where(style == INITIALED, pc.utf8_slice_codeunits(given, 0, 1), family))
    tail = where(np.isin(style, (GIVEN_NICHE, STAGED_NICHE)), word, tail)
    ratio = np.maximum(NUMBERED_RATIO, crowding / (crowding + CROWDED))
    return join(head, gap, tail, numbers_or_nothing(draws, "handle", ids, ratio))


def other_handles(draws: Draws, ids: Ids, niche: Ints) -> Words:
    """A second handle that says nothing about the name."""
    return join(
        stage_names(draws, "other stage", ids),
        niche_words(draws, "other word", ids, niche),
        numbers_or_nothing(draws, "other", ids, np.full(len(ids), CROWDED)),
    )


def letters(values: Words) -> Words:
    """Only the letters a-z and digits, lower case."""
    return pc.replace_substring_regex(pc.utf8_lower(values), "[^a-z0-9]", "")


def niche_words(draws: Draws, purpose: str, ids: Ids, niche: Ints) -> Words:
    """A word of the niche for use inside a handle."""
    fraction = draws.uniform(purpose, ids)
    is_first = draws.is_hit(f"{purpose}/first", ids, FIRST_WORD_RATIO)
    return vocabulary().niche_words.pick(niche, np.where(is_first, 0.0, fraction))


def numbers_or_nothing(draws: Draws, purpose: str, ids: Ids, ratio: Floats) -> Words:
    """A number with probability `ratio`, else nothing."""
    limit = np.where(ratio > VERY_CROWDED, LONG_NUMBERS, SHORT_NUMBERS)
    value = numbers(draws.below(f"{purpose}/number", ids, limit))
    return where(draws.is_hit(f"{purpose}/numbered", ids, ratio), value, "")


@cache
def names_counts(*, is_given: bool) -> Ints:
    """Distinct names by culture, given or family."""
    slots = vocabulary().names.given if is_given else vocabulary().names.family
    return np.asarray(np.prod([native.counts for native, _ in slots], axis=0), dtype=np.int64)


def _parts(
    draws: Draws, which: str, ids: Ids, culture: Ints, slots: Sequence[tuple[Phrases, Words]]
) -> tuple[Words, Words]:  # fmt: skip
    """Native and Latin spelling of one name, put together slot by slot, each word with a capital."""
    natives, latins = [], []
    for slot, (native, latin) in enumerate(slots):
        at = native.at(culture, draws.uniform(f"{which}/{slot}", ids))
        natives.append(take(native.texts, at))
        latins.append(take(latin, at))
    gap = take(vocabulary().names.gaps, culture)
    return _title(natives, gap), _title(latins, gap)


def _title(parts: Sequence[Words], gap: Words) -> Words:
    first, second, third = parts
    return pc.utf8_title(pc.utf8_trim_whitespace(join(first, gap, second, gap, third)))
