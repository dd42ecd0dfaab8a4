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
from serving.columns import Columns
from serving.models import CountRange, Weights
from serving.rank import Question, Scorer
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
    with patch.multiple(static_module, HEAD_ROWS=head_rows, BLOCK_ROWS=7, SCORED_MATCHES=-1 if is_headed else 1_000):
        seen = StaticOrder.of(scores).best(_matches(mask), count)
    gids = seen.gids
    assert mask[gids].all()
    assert len(gids) == len(set(gids.tolist())) == min(count, mask.sum())
    assert sorted(scores[gids].tolist(), reverse=True) == sorted(scores[mask].tolist(), reverse=True)[:count]
    others = np.setdiff1d(np.flatnonzero(mask), gids)
    assert seen.bound is not None or not len(others)
    assert not len(others) or scores[others].max() <= seen.bound


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
        seen = best_in_niches(
            order,
            matches,
            wanted=wanted,
            weight=weight,
            members=members,
            count=count,
            others=order.best(matches, count),
        )
    assert mask[seen.gids].all()
    affinity = np.minimum(sum(part * values[CODES.index(code)] for code, part in wanted.items()), 1.0)
    others = np.setdiff1d(np.flatnonzero(mask), seen.gids)
    assert seen.bound is not None or not len(others)
    assert not len(others) or (scores[others] + affinity[others] * weight * MICRO <= seen.bound + 2).all()


@QUICK
@given(SEEDS, st.floats(0, 1), st.integers(1, 20), st.booleans(), st.booleans())
def test_an_asked_range_of_followers_is_in_the_bound(seed, share, count, has_engagement, has_niches):
    rng = np.random.default_rng(seed)
    rows = 80
    columns = Columns(
        creator_rank=np.arange(rows, dtype=np.int32),
        by_creator=np.arange(rows, dtype=np.int32),
        prominence=np.zeros(rows, np.float32),
        followers=10 ** rng.uniform(2, 7, rows),
        engagement=rng.choice([0.0, 0.5, 0.6], rows).astype(np.float32) if has_engagement else None,
        quality=None,
        recency=None,
        niche_ordinals=np.zeros((rows, 1), np.int16) if has_niches else None,
        niche_scores=rng.choice([0.0, 0.5, 0.9], (rows, 1)).astype(np.float32) if has_niches else None,
        niche_codes=("fitness",),
        tiers=None,
        facets={},
    )
    question = Question(
        Weights(), vector=np.ones(2, np.float32), niches={"fitness": 1.0}, followers=CountRange(min=10_000, max=100_000)
    )
    scorer = Scorer(columns, question)
    mask = rng.random(rows) < share
    with patch.multiple(static_module, HEAD_ROWS=30, NICHE_HEAD_ROWS=30, SCORED_MATCHES=-1):
        seen = scorer.best_static(_matches(mask), count)
    others = np.setdiff1d(np.flatnonzero(mask), seen.gids)
    scores = scorer.scores(others, np.zeros(len(others), np.float32))
    assert not len(others) or (seen.bound is not None and (scores <= seen.bound + 4).all())


def test_a_head_knows_what_it_leaves_out():
    head = Head.of(np.array([7, 3, 5]), np.array([1, 0, 2]), size=2)
    assert (head.gids.tolist(), head.values.tolist(), head.is_all) == ([5, 7], [2, 1], False)
    matches = _matches(np.array([True] * 4 + [False] * 4))
    assert head.among(matches, 1) is None
    assert Head.of(np.array([7, 3]), np.array([1, 0]), size=2).among(matches, 1) is not None
