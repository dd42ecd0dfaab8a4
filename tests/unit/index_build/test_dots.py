"""The compiled inner products against NumPy's, in every shape that a caller may bring."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from index_build.dots import dots
from index_build.kernel import AHEAD
from index_build.refine import RefineRows


def world(rows: int, dimensions: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    stored = rng.integers(0, 256, (rows, dimensions), dtype=np.uint8)
    return stored, rng.standard_normal(dimensions).astype(np.float32), rng


@pytest.mark.parametrize("dimensions", [1, 31, 32, 63, 64, 65, 384, 2_048])
@pytest.mark.parametrize("count", [1, AHEAD, AHEAD + 1, 500])
def test_dots_are_inner_products(dimensions, count):
    stored, weights, rng = world(300, dimensions)
    rows = rng.integers(0, len(stored), count)
    expected = stored[rows].astype(np.float64) @ weights.astype(np.float64)
    found = dots(stored, weights, rows)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(stored[rows] * np.abs(weights)).sum(axis=1).max()


def test_a_row_is_the_same_whatever_it_is_asked_with():
    stored, weights, rng = world(1_000, 384)
    whole = dots(stored, weights, np.arange(1_000))
    for count in (1, 7, 333):
        rows = rng.integers(0, 1_000, count)
        assert (dots(stored, weights, rows) == whole[rows]).all()


def test_arrays_may_be_read_only_strided_or_empty():
    stored, weights, _ = world(200, 64)
    expected = dots(stored, weights, np.arange(0, 200, 2))
    stored.flags.writeable = weights.flags.writeable = False
    assert (dots(stored, weights, np.arange(200)[::2]) == expected).all()
    doubled = np.repeat(weights, 2)[::2]
    assert (dots(stored, doubled, np.arange(0, 200, 2)) == expected).all()
    assert dots(stored, weights, np.empty(0, np.int64)).shape == (0,)


@pytest.mark.parametrize("row", [-1, 200, 2**40])
def test_no_row_outside_is_read(row):
    stored, weights, _ = world(200, 64)
    with pytest.raises(IndexError, match="of 200"):
        dots(stored, weights, np.array([3, row]))
    with pytest.raises(IndexError, match="of 200"):
        RefineRows(stored.astype("<f2"), None).similarities(weights, np.array([3, row]))


@pytest.mark.parametrize("width", [0, 63, 65, 4_000])
def test_rows_and_weights_are_as_long(width):
    stored, _, _ = world(200, 64)
    with pytest.raises(ValueError, match="numbers"):
        dots(stored, np.ones(width, np.float32), np.array([199]))


def test_who_scores_no_row_does_not_load_the_compiler():
    asked = "import sys, index_build.refine, index_build.build, serving.app; print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True, text=True).stdout == "False\n"


def test_threads_do_not_disturb_each_other():
    stored, weights, _ = world(2_000, 384)
    rows = np.arange(2_000)
    expected = dots(stored, weights, rows)
    with ThreadPoolExecutor(4) as pool:
        assert all((found == expected).all() for found in pool.map(lambda _: dots(stored, weights, rows), range(64)))
