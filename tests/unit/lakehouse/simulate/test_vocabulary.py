"""The word lists are complete, and safe where lines are built without escaping."""

import pytest

from lakehouse.contracts.taxonomy import NICHES, RISKS
from lakehouse.simulate.vocabulary import NICHE_CODES, POPULAR, vocabulary

KNOWN = vocabulary()


def test_every_niche_of_the_taxonomy_has_words():
    assert set(NICHE_CODES) == {niche.code for niche in NICHES} - {"other"}
    for phrases in (KNOWN.roles, KNOWN.niche_words):
        assert len(phrases.counts) == len(NICHE_CODES)
        assert phrases.counts.min() >= 4
    assert set(POPULAR) <= set(NICHE_CODES)


def test_every_language_has_topics_for_every_niche():
    assert len(KNOWN.topics.counts) == len(KNOWN.languages) * len(NICHE_CODES)
    assert KNOWN.topics.counts.min() >= 3
    assert "" not in KNOWN.topics.texts.to_pylist()


def test_frames_hold_a_topic():
    assert "{t}" not in "".join(KNOWN.post_frames.before.texts.to_pylist() + KNOWN.post_frames.after.to_pylist())
    assert len(KNOWN.post_frames.before.texts) == len(KNOWN.post_frames.after)


def test_risks_are_of_the_taxonomy():
    assert set(KNOWN.risk_codes) <= {risk.code for risk in RISKS}


@pytest.mark.parametrize("name", ["niche_words", "language_tags"])
def test_hashtags_need_no_escape(name):
    for word in getattr(KNOWN, name).texts.to_pylist():
        assert not set(word) & set('"\\|,# \n')


def test_latin_name_parts_are_ascii():
    for slot in (*KNOWN.names.given, *KNOWN.names.family):
        native, latin = slot
        assert len(native.texts) == len(latin)
        latins = latin.to_pylist()
        assert all(part.isascii() for part in latins), [part for part in latins if not part.isascii()]


def test_places_agree_with_the_other_lists():
    places = KNOWN.places
    assert len(places.codes) == len(places.weights) == len(places.cultures) == len(places.cities.counts)
    assert {int(position) for position in places.languages.texts.to_pylist()} <= set(range(len(KNOWN.languages)))
