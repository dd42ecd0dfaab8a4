"""Text columns: the vectorised forms agree with the obvious Python ones."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.simulate.columns import Phrases, compact, decimals, join_filled, take_rows, utf8_bytes, where, words


def test_join_filled_skips_empty_and_null_and_keeps_every_row():
    joined = join_filled(
        words(["a", None, "", None]), words(["b", "c", None, None]), words(["d", "", "", None]), between="-"
    )
    assert joined.to_pylist() == ["a-b-d", "c", "", ""]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1.0K"),
        (409_812, "409.8K"),
        (999_999, "999.9K"),
        (1_000_000, "1.0M"),
        (387_456_789, "387.4M"),
    ],
)
def test_compact_counts(count, text):
    assert compact(np.array([count])).to_pylist() == [text]


def test_decimals_keep_leading_zeros_of_the_fraction():
    assert decimals(np.array([0.0, 1.05, 12.999]), 2).to_pylist() == ["0.00", "1.05", "13.00"]


def test_utf8_bytes_of_a_slice_are_those_of_the_slice():
    texts = words(["año", "日本", "", "x"])
    assert bytes(utf8_bytes(texts.slice(1, 2))) == "日本".encode()
    assert bytes(utf8_bytes(texts.slice(0, 0))) == b""
    assert bytes(utf8_bytes(pa.chunked_array([texts, texts]))) == "año日本xaño日本x".encode()


def test_phrases_choose_inside_their_group_and_fill_empty_groups():
    phrases = Phrases.of([["a", "b"], [], ["c"]])
    group = np.array([0, 0, 1, 2, 2])
    assert phrases.pick(group, np.array([0.0, 0.999, 0.5, 0.0, 0.999])).to_pylist() == ["a", "b", "", "c", "c"]


def test_take_rows_reaches_nested_columns_and_keeps_single_values():
    @dataclass
    class Inner:
        flags: np.ndarray

    @dataclass
    class Outer:
        name: str
        texts: pa.Array
        inner: Inner

    taken = take_rows(Outer("x", words(["a", "b", "c"]), Inner(np.array([True, False, True]))), np.array([2, 1]))
    assert (taken.name, taken.texts.to_pylist(), taken.inner.flags.tolist()) == ("x", ["c", "b"], [True, False])


def test_where_takes_constants_and_null():
    assert where(np.array([True, False]), "x", None).to_pylist() == ["x", None]
