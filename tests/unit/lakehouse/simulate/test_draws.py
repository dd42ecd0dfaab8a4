"""Draws by counter: reproducible, independent of chunking, and as random as their use needs."""

import numpy as np
import pytest

from lakehouse.simulate.draws import Draws, scramble

IDS = np.arange(200_000, dtype=np.uint64)


def test_a_draw_depends_on_seed_purpose_and_id_only():
    draws = Draws(3)
    whole = draws.uniform("size", IDS)
    assert np.array_equal(whole[::-1], draws.uniform("size", IDS[::-1]))
    assert np.array_equal(whole[700:900], Draws(3).uniform("size", IDS[700:900]))
    assert not np.array_equal(whole, Draws(4).uniform("size", IDS))
    assert abs(np.corrcoef(whole, draws.uniform("other", IDS))[0, 1]) < 0.01


def test_uniform_fills_the_unit_interval_evenly():
    values = Draws(1).uniform("x", IDS)
    assert values.min() >= 0
    assert values.max() < 1
    counts, _ = np.histogram(values, bins=20, range=(0, 1))
    assert np.abs(counts / len(IDS) * 20 - 1).max() < 0.05
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.01


def test_normal_has_unit_moments():
    values = Draws(1).normal("x", IDS)
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 1) < 0.01
    assert np.isfinite(values).all()


def test_pick_follows_its_weights():
    chosen = Draws(5).pick("kind", IDS, (6, 3, 1, 0))
    assert np.allclose(np.bincount(chosen, minlength=4) / len(IDS), (0.6, 0.3, 0.1, 0), atol=0.01)


def test_below_stays_below_its_own_limit():
    limits = np.where(IDS % 2 == 0, 3, 1_000).astype(np.int64)
    values = Draws(5).below("n", IDS, limits)
    assert (values < limits).all()
    assert set(values[::2].tolist()) == {0, 1, 2}


@pytest.mark.parametrize("bits", [17, 36, 60])
def test_scramble_keeps_distinct_ids_distinct(bits):
    mixed = scramble(IDS[: 1 << min(bits, 17)], np.uint64(12345), bits)
    assert len(np.unique(mixed)) == len(mixed)
    assert int(mixed.max()) < 1 << bits
