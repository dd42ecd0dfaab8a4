"""Who a creator is: kind, country, language, niches, size, name, as pure functions of creator ids.

Any ids can be asked for in any order, so that an account can point at a creator of another chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pyarrow.compute as pc

from lakehouse.simulate.columns import Words, join, take, take_rows, where, words
from lakehouse.simulate.draws import Draws, Floats, Ids, Ints, Mask
from lakehouse.simulate.names import (
    COMMON_POOL,
    GIVEN_FAMILY,
    STAGED,
    STAGED_NICHE,
    STYLES,
    named,
    names_counts,
    other_handles,
    preferred_handles,
)
from lakehouse.simulate.vocabulary import BRAND as BRAND_NAMES
from lakehouse.simulate.vocabulary import MEDIA as MEDIA_NAMES
from lakehouse.simulate.vocabulary import vocabulary
from lakehouse.simulate.world import PLATFORM_RATIOS, PLATFORMS_COUNT, World

KINDS = ("person", "brand", "media", "fan")
PERSON, BRAND, MEDIA, FAN = range(len(KINDS))
KIND_WEIGHTS = (0.82, 0.11, 0.07)
"""Persons, brands and media among those that are no fan pages."""
FAN_CANDIDATES = 4
"""A fan page is about the largest of so many creators drawn at random: fans follow fame."""
TWO_NICHES_RATIO = 0.35
STAGE_NAME_RATIO = 0.6
"""How often those with a stage handle show the stage name too."""
TWIN_NAME_RATIO = 0.4
"""How often a twin has the name of its model too."""
TWIN_TAILS = words(["1", "2", "_", "x", "0", "s", ".", "_1"])
FAN_TAILS = words([".fans", "fanpage", "_updates", "_fc", "daily", "clips", ".fanclub"])


@dataclass(frozen=True, slots=True)
class Creators:
    """Creators as columns of equal length.

    `size` is a standard normal: how large the creator is on any platform. `main` is the preferred handle, `other` one that
    has nothing to do with it. `target` is whom a fan page is about (else the creator itself), `risk` the kind of risky
    content, -1 for none. `kind`, `country`, `language`, `niche` and `risk` are positions in the vocabularies.
    """

    ids: Ids
    kind: Ints
    country: Ints
    language: Ints
    niche: Ints
    second_niche: Ints
    size: Floats
    risk: Ints
    target: Ids
    display: Words
    latin: Words
    main: Words
    other: Words

    def take(self, positions: Ints) -> Creators:
        """Rows at those positions."""
        return take_rows(self, positions)


def creators_of(world: World, ids: Ids) -> Creators:
    """The creators with those ids; ids from `creators_count` on are newcomers of later deliveries."""
    plain = _plain(world, ids)
    imitating = np.flatnonzero((plain.kind == FAN) | _is_twin(world, ids))
    if not len(imitating):
        return plain
    return _imitated(world, plain, imitating, _plain(world, _models(world, ids[imitating])))


def presence(world: World, ids: Ids) -> Mask:
    """Which platforms creators are on: shape (rows, platforms). Everybody is somewhere; fan pages are in one place."""
    draws = Draws(world.seed)
    columns = [draws.is_hit(f"on/{position}", ids, ratio) for position, ratio in enumerate(PLATFORM_RATIOS)]
    chosen = np.stack(columns, axis=1)
    single = draws.pick("only on", ids, PLATFORM_RATIOS)
    is_alone = (kinds(world, ids) == FAN) | ~chosen.any(axis=1)
    chosen[is_alone] = np.arange(PLATFORMS_COUNT) == single[is_alone, None]
    return chosen


def kinds(world: World, ids: Ids) -> Ints:
    """Positions in `KINDS`."""
    draws = Draws(world.seed)
    return np.where(draws.is_hit("fan", ids, world.fan_ratio), FAN, draws.pick("kind", ids, KIND_WEIGHTS))


def _is_twin(world: World, ids: Ids) -> Mask:
    is_drawn = Draws(world.seed).is_hit("twin", ids, world.twin_ratio)
    return np.asarray(is_drawn & (kinds(world, ids) != FAN), dtype=np.bool_)


def _sizes(world: World, ids: Ids) -> Floats:
    return Draws(world.seed).normal("size", ids)


def _models(world: World, ids: Ids) -> Ids:
    """For each id somebody who imitates nobody, where the candidates have one; of them the largest, never itself."""
    draws = Draws(world.seed)
    turns = [
        draws.below(f"model/{turn}", ids, world.creators_count).astype(np.uint64) for turn in range(FAN_CANDIDATES)
    ]
    candidates = np.stack(turns, axis=1)
    flat = candidates.ravel()
    is_model = (kinds(world, flat) != FAN) & ~_is_twin(world, flat)
    fame = np.where(is_model, _sizes(world, flat), -np.inf).reshape(candidates.shape)
    fame[candidates == ids[:, None]] = -np.inf
    return np.take_along_axis(candidates, fame.argmax(axis=1)[:, None], axis=1)[:, 0]


def _plain(world: World, ids: Ids) -> Creators:
    """Creators by their own names, whomever they imitate."""
    draws, known = Draws(world.seed), vocabulary()
    kind = kinds(world, ids)
    country = draws.pick("country", ids, known.places.weights)
    culture, family_culture = _cultures(kind, country)
    niche = draws.pick("niche", ids, known.niche_weights)
    style = np.where(np.isin(kind, (BRAND, MEDIA)), GIVEN_FAMILY, draws.pick("style", ids, STYLES))
    people = named(draws, ids, culture=culture, family_culture=family_culture, name_ids=_name_ids(world, ids, kind))
    is_staged = np.isin(style, (STAGED, STAGED_NICHE)) & draws.is_hit("stage name", ids, STAGE_NAME_RATIO)
    stage = pc.utf8_title(people.stage)
    crowding = _crowding(world.creators_count, culture, family_culture)
    return Creators(
        ids=ids,
        kind=kind,
        country=country,
        language=known.places.languages.pick(country, draws.uniform("language", ids)).cast("int64").to_numpy(),
        niche=niche,
        second_niche=_second_niche(draws, ids, niche),
        size=_sizes(world, ids),
        risk=np.where(draws.is_hit("risky", ids, world.risky_ratio), draws.pick("risk", ids, known.risk_weights), -1),
        target=ids,
        display=where(is_staged, stage, people.display()),
        latin=where(is_staged, stage, people.latin()),
        main=preferred_handles(draws, ids, people, style=style, niche=niche, crowding=crowding),
        other=other_handles(draws, ids, niche),
    )


def _imitated(world: World, plain: Creators, rows: Ints, models: Creators) -> Creators:
    """Let twins and fan pages (at `rows`) look like their models, who stand in the same order."""
    draws, ids = Draws(world.seed), plain.ids[rows]
    is_fan = plain.kind[rows] == FAN
    tails = where(is_fan, _one(draws, "fan tail", ids, FAN_TAILS), _one(draws, "twin tail", ids, TWIN_TAILS))
    is_shown = is_fan | draws.is_hit("twin name", ids, TWIN_NAME_RATIO)
    changed: dict[str, Words | Ids | Ints] = {
        "target": _put(plain.target, rows, np.where(is_fan, models.ids, ids)),
        "niche": _put(plain.niche, rows, np.where(is_fan, models.niche, plain.niche[rows])),
        "main": _put_words(plain.main, rows, join(models.main, tails)),
    }
    for name in ("display", "latin"):
        own, model = getattr(plain, name), getattr(models, name)
        shown = where(is_shown, where(is_fan, join(models.latin, " Fans"), model), take(own, rows))
        changed[name] = _put_words(own, rows, shown)
    return Creators(**{column.name: changed.get(column.name, getattr(plain, column.name)) for column in fields(plain)})


def _put(values: Ints | Ids, rows: Ints, new: Ints | Ids) -> Ints | Ids:
    changed = values.copy()
    changed[rows] = new
    return changed


def _put_words(values: Words, rows: Ints, new: Words) -> Words:
    mask = np.zeros(len(values), dtype=bool)
    mask[rows] = True
    return pc.replace_with_mask(values, mask, new)


def _cultures(kind: Ints, country: Ints) -> tuple[Ints, Ints]:
    """Naming cultures of the given and the family name, as positions in `Names.codes`."""
    places, codes = vocabulary().places, vocabulary().names.codes
    own = np.asarray(places.cultures, dtype=np.int64)[country]
    given = np.where(np.isin(kind, (BRAND, MEDIA)), codes.index(BRAND_NAMES), own)
    return given, np.where(kind == MEDIA, codes.index(MEDIA_NAMES), given)


def _name_ids(world: World, ids: Ids, kind: Ints) -> Ids:
    """Own number for most; a share of persons draw one of few, and have the name of all of their culture who drew it."""
    draws = Draws(world.seed)
    is_common = draws.is_hit("common name", ids, world.common_name_ratio) & (kind == PERSON)
    pool = max(1, world.creators_count // COMMON_POOL)
    return np.where(is_common, draws.below("common", ids, pool).astype(np.uint64), ids + np.uint64(pool))


def _crowding(creators_count: int, culture: Ints, family_culture: Ints) -> Floats:
    """Expected creators who have the same name by chance."""
    given, family = names_counts(is_given=True), names_counts(is_given=False)
    return creators_count * _culture_shares()[culture] / (given[culture] * family[family_culture])


def _culture_shares() -> Floats:
    """Share of creators by naming culture."""
    places = vocabulary().places
    weights = np.asarray(places.weights) / sum(places.weights)
    count = len(vocabulary().names.codes)
    shares = np.asarray(np.bincount(places.cultures, weights, minlength=count), dtype=np.float64)
    shares[vocabulary().names.codes.index(BRAND_NAMES)] = KIND_WEIGHTS[BRAND] + KIND_WEIGHTS[MEDIA]
    return shares


def _second_niche(draws: Draws, ids: Ids, niche: Ints) -> Ints:
    is_two = draws.is_hit("two niches", ids, TWO_NICHES_RATIO)
    return np.where(is_two, draws.pick("second niche", ids, vocabulary().niche_weights), niche)


def _one(draws: Draws, purpose: str, ids: Ids, values: Words) -> Words:
    return take(values, draws.below(purpose, ids, len(values)))
