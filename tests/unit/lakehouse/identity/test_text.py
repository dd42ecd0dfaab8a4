"""Normal forms."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lakehouse.identity.hashing import Kind, as_key, gram_hashes, hash_strings, kind_of
from lakehouse.identity.model import default_model
from lakehouse.identity.text import compact, compact_handles, outer_digits, strip_affixes, tokens


def one(function, text, **options):
    return function(pa.array([text], pa.string()), **options).to_pylist()[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Beyoncé  K.", "beyoncek"),
        ("𝕂𝕙𝕒𝕓𝕪", "khaby"),
        ("ガイ", "ガイ"),
        ("ＡＢ・ｃ", "abc"),
        ("🎉!", None),
        (None, None),
    ],
)
def test_compact(text, expected):
    assert one(compact, text) == expected


@pytest.mark.parametrize("opaque", ["UCabcdefghijklmnopqrstuv", "@UCabcdefghijklmnopqrstuv", "123456"])
def test_opaque_ids_are_no_handles(opaque):
    assert one(compact_handles, opaque) is None


@pytest.mark.parametrize(
    ("handle", "stem"),
    [
        ("khaby00", "khaby"),
        ("mrbeast6000", "mrbeast"),
        ("therealkhaby", "khaby"),
        ("khabyofficialtv", "khaby"),
        ("real123", "real123"),
        ("repamata", "amata"),
    ],
)
def test_affixes_and_outer_digits_are_stripped_while_enough_stays(handle, stem):
    model = default_model()
    assert one(strip_affixes, handle, affixes=model.affixes, chars_min=model.text.stem_chars_min) == stem


def test_outer_digits():
    assert [one(outer_digits, text) for text in ("ab12", "a1b", None)] == ["12", "", None]


def test_tokens_are_distinct_sorted_and_at_most_six():
    texts = pa.array(["Khaby Lame khaby", None, "", "三枝明那 / Saegusa Akina", "h g f e d c b a"])
    expected = [["khaby", "lame"], [], [], ["akina", "saegusa", "三枝明那"], ["a", "b", "c", "d", "e", "f"]]
    assert tokens(texts).to_pylist() == expected


def test_keys_carry_their_kind_and_null_has_none():
    keys = as_key(hash_strings(pa.array(["a", None])), Kind.STEM)
    assert keys[1] == 0
    assert kind_of(keys[:1]).tolist() == [Kind.STEM]


def test_grams_are_those_of_the_text():
    grams = gram_hashes(pa.array(["abcdef", "xabcde", "abc", None]), chars=5, length_max=8)
    assert grams.shape == (4, 4)
    assert (grams != 0).sum(axis=1).tolist() == [2, 2, 0, 0]
    assert grams[0, 0] == grams[1, 1]
