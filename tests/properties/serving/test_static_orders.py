"""Heads of static orders against scoring everything: the best are found, and no unseen row exceeds the bound."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import serving.static as static_module
from index_build.bitmaps import pack_mask
from serving.shards import Matches
from serving.static import MICRO, Head, NicheMembers, StaticOrder, best_in_niches

pytestmark = pytest.mark.properties

QUICK = settings(max_examples=80, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
CODES = ("fitness", "food", "music")


def _matches(mask: np.ndarray) -> Matches:
    return Matches(pack_mask(mask), SimpleNamespace(rows=len(mask)))  # type: ignore[arg-type]


@QUICK
@given(SEEDS, st.integers(1, 120), st.floats(0, 1), st.integers(1, 30), st.integers(1, 40), st.booleans())
def test_the_best_matches_are_found_and_bound_the_others(seed, rows, share, count, head_rows, is_headed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 50, rows).astype(np.int32)
    mask = rng.random(rows) < share
    with patch.multiple(static_module, HEAD_ROWS=head_rows, SCORED_MATCHES=-1 if is_headed else 1_000):
        gids, bound = StaticOrder.of(scores).best(_matches(mask), count)
    assert mask[gids].all()
    assert len(gids) == len(set(gids.tolist())) == min(count, mask.sum())
    assert sorted(scores[gids].tolist(), reverse=True) == sorted(scores[mask].tolist(), reverse=True)[:count]
    others = np.setdiff1d(np.flatnonzero(mask), gids)
    assert scores[others].max(initial=0) <= bound


@QUICK
@given(SEEDS, st.integers(1, 120), st.floats(0, 1), st.integers(1, 20), st.integers(1, 20))
def test_no_unseen_row_exceeds_the_bound_of_niches(seed, rows, share, count, head_rows):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, MICRO // 5, rows).astype(np.int32)
    values = np.where(rng.random((len(CODES), rows)) < 0.4, rng.random((len(CODES), rows)), 0).astype(np.float32)
    mask = rng.random(rows) < share
    wanted = {code: float(rng.uniform(0.2, 1.0)) for code in CODES[: rng.integers(1, 4)]}
    weight = 0.3

    def members(code: str) -> NicheMembers:
        gids = np.flatnonzero(values[CODES.index(code)])
        return NicheMembers(gids, values[CODES.index(code)][gids])

    with patch.multiple(static_module, HEAD_ROWS=head_rows, NICHE_HEAD_ROWS=head_rows, SCORED_MATCHES=-1):
        order, matches = StaticOrder.of(scores), _matches(mask)
        plain, bound = order.best(matches, count)
        named, bound = best_in_niches(
            order, matches, wanted=wanted, weight=weight, members=members, count=count, others_bound=bound
        )
    assert mask[named].all()
    affinity = np.minimum(sum(part * values[CODES.index(code)] for code, part in wanted.items()), 1.0)
    others = np.setdiff1d(np.flatnonzero(mask), np.concatenate([plain, named]))
    if bound or not len(others):
        totals = scores[others] + affinity[others] * weight * MICRO
        assert (totals <= bound + 2).all()
    else:
        assert not scores[others].any()


def test_a_head_knows_what_it_leaves_out():
    head = Head.of(np.array([7, 3, 5]), np.array([1, 0, 2]), size=2)
    assert (head.gids.tolist(), head.values.tolist(), head.is_all) == ([5, 7], [2, 1], False)
    matches = _matches(np.array([True] * 4 + [False] * 4))
    assert head.among(matches, 1) is None
    assert Head.of(np.array([7, 3]), np.array([1, 0]), size=2).among(matches, 1) is not None
