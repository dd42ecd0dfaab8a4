"""What accounts write: bios and the sentences of posts, in the creator's language, about the creator's niche."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc

from lakehouse.simulate.columns import Words, join, join_filled, take, where, words
from lakehouse.simulate.draws import Draws, Ids, Ints, Mask
from lakehouse.simulate.vocabulary import NICHE_CODES, Frames, vocabulary

SEPARATORS = words([" | ", " • ", "\n", ". ", " ~ ", " "])
ROLE_RATIO = 0.7
"""Bios that say what the person is; only English has such phrases, other languages name topics."""
SECOND_RATIO, CITY_RATIO, EMOJI_RATIO = 0.5, 0.45, 0.5
EMPTY_RATIO = 0.4
"""Share of bland accounts whose bio is empty."""
ENGLISH = "en"
NICHE_TAGS, GENERAL_TAGS = 2, 1
"""Hashtags of a post: of the niche, of the language."""


def topics(draws: Draws, purpose: str, ids: Ids, language: Ints, niche: Ints) -> Words:
    """Topics of a niche in a language."""
    return vocabulary().topics.pick(language * len(NICHE_CODES) + niche, draws.uniform(purpose, ids))


def framed(draws: Draws, purpose: str, ids: Ids, frames: Frames, *, language: Ints, topic: Words) -> Words:
    """A topic inside a sentence of the language."""
    at = frames.before.at(language, draws.uniform(purpose, ids))
    return join(take(frames.before.texts, at), topic, take(frames.after, at))


def bios(
    draws: Draws, ids: Ids, *, language: Ints, niches: tuple[Ints, Ints], country: Ints, is_bland: Mask, extra: Words
) -> Words:  # fmt: skip
    """Profile texts.

    Args:
        draws: of the world.
        ids: accounts.
        language: position of the language.
        niches: positions of first and second niche.
        country: position of the country, for the city.
        is_bland: accounts whose text names no topic.
        extra: text that follows (links, e-mail, risky phrases), empty where there is none.
    """
    known = vocabulary()
    first, second = niches
    is_role = (language == known.languages.index(ENGLISH)) & draws.is_hit("role", ids, ROLE_RATIO)
    topic = framed(
        draws,
        "bio frame",
        ids,
        known.bio_frames,
        language=language,
        topic=topics(draws, "bio topic", ids, language, first),
    )
    lead = where(is_role, known.roles.pick(first, draws.uniform("which role", ids)), topic)
    more = where(
        draws.is_hit("second topic", ids, SECOND_RATIO), topics(draws, "second bio topic", ids, language, second), ""
    )
    city = where(
        draws.is_hit("city", ids, CITY_RATIO),
        join("📍 ", known.places.cities.pick(country, draws.uniform("which city", ids))),
        "",
    )
    lead = join(_emoji(draws, ids), lead)
    bland = where(
        draws.is_hit("empty bio", ids, EMPTY_RATIO), "", known.bland.pick(language, draws.uniform("bland", ids))
    )
    between = take(SEPARATORS, draws.below("separator", ids, len(SEPARATORS)))
    return join_filled(
        where(is_bland, bland, lead), where(is_bland, "", more), where(is_bland, "", city), extra, between=between
    )


def sentences(draws: Draws, ids: Ids, *, language: Ints, niche: Ints, is_bland: Mask) -> Words:
    """Titles and captions of posts without hashtags."""
    known = vocabulary()
    topic = topics(draws, "post topic", ids, language, niche)
    said = framed(draws, "post frame", ids, known.post_frames, language=language, topic=topic)
    return where(is_bland, known.bland.pick(language, draws.uniform("bland post", ids)), said)


def hashtags(draws: Draws, ids: Ids, *, language: Ints, niche: Ints, is_bland: Mask) -> list[Words]:
    """Hashtags of posts without `#`, one column a place; bland posts have only the language's."""
    known = vocabulary()
    own = [known.niche_words.pick(niche, draws.uniform(f"tag/{place}", ids)) for place in range(NICHE_TAGS)]
    own[1] = where(np.asarray(pc.equal(own[0], own[1])), "", own[1])
    general = [
        known.language_tags.pick(language, draws.uniform(f"general tag/{place}", ids)) for place in range(GENERAL_TAGS)
    ]
    return [*(where(is_bland, "", tag) for tag in own), *general]


def with_hashes(tags: list[Words]) -> Words:
    """Tags as they stand in a caption: `#one #two`."""
    return join_filled(*(where(np.asarray(pc.not_equal(tag, "")), join("#", tag), "") for tag in tags), between=" ")


def risky(draws: Draws, ids: Ids, risk: Ints) -> Words:
    """A phrase of the kind of risk; empty where it is -1."""
    phrases = vocabulary().risk_phrases.pick(np.maximum(risk, 0), draws.uniform("risk phrase", ids))
    return where(risk >= 0, phrases, "")


def calls(draws: Draws, ids: Ids, language: Ints) -> Words:
    """Words that introduce contact data."""
    return vocabulary().calls.pick(language, draws.uniform("call", ids))


def _emoji(draws: Draws, ids: Ids) -> Words:
    emoji = words(vocabulary().lists["emoji"])
    chosen = join(take(emoji, draws.below("emoji", ids, len(emoji))), " ")
    return where(draws.is_hit("any emoji", ids, EMOJI_RATIO), chosen, "")
