"""Creators: pure functions of ids, with the kinds, places, scripts and look-alikes that the world asks for."""

import unicodedata

import numpy as np
import pytest

from lakehouse.simulate.people import FAN, PERSON, creators_of, presence
from lakehouse.simulate.vocabulary import vocabulary
from lakehouse.simulate.world import PLATFORM_RATIOS, World

WORLD = World(creators_count=4_000)
IDS = np.arange(WORLD.creators_count, dtype=np.uint64)


@pytest.fixture(scope="module")
def creators():
    return creators_of(WORLD, IDS)


def test_any_ids_in_any_order_give_the_same_creators(creators):
    picked = np.array([3_999, 17, 17, 250], dtype=np.uint64)
    alone = creators_of(WORLD, picked)
    for column in ("display", "main", "other"):
        assert getattr(alone, column).to_pylist() == [getattr(creators, column)[int(i)].as_py() for i in picked]
    assert alone.niche.tolist() == creators.niche[picked.astype(int)].tolist()


def test_platform_mix_is_as_declared():
    is_on = presence(WORLD, IDS)
    assert is_on.any(axis=1).all()
    assert np.allclose(is_on.mean(axis=0), PLATFORM_RATIOS, atol=0.04)
    assert 2.5 < is_on.sum() / len(IDS) < 2.8


def test_fan_pages_are_about_somebody_else_and_live_in_one_place(creators):
    fans = creators.kind == FAN
    assert abs(fans.mean() - WORLD.fan_ratio) < 0.01
    assert (creators.target[fans] != creators.ids[fans]).all()
    assert (creators.kind[creators.target[fans].astype(int)] != FAN).mean() > 0.99
    assert (presence(WORLD, IDS)[fans].sum(axis=1) == 1).all()
    assert (creators.target[~fans] == creators.ids[~fans]).all()


def test_names_come_in_many_scripts(creators):
    people = np.flatnonzero(creators.kind == PERSON)
    scripts = {unicodedata.name(creators.display[int(i)].as_py()[0]).split()[0] for i in people}
    assert {"LATIN", "CYRILLIC", "ARABIC", "DEVANAGARI", "CJK", "HANGUL"} <= scripts


def test_country_and_language_belong_together(creators):
    known = vocabulary()
    pairs = set(zip(creators.country.tolist(), creators.language.tolist(), strict=True))
    by_code = {(known.places.codes[country], known.languages[language]) for country, language in pairs}
    assert ("JP", "ja") in by_code
    assert not {("JP", "ru"), ("US", "ja"), ("BR", "es")} & by_code


def test_some_names_are_shared_and_most_are_not(creators):
    names = creators.display.to_pylist()
    repeats = len(names) - len(set(names))
    assert 0.01 < repeats / len(names) < 0.12
