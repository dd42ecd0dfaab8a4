"""Invariants of the index build over generated inputs, each against a plain numpy or Python oracle."""

from __future__ import annotations

import faiss
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_build.bitmaps import (
    all_rows,
    contains,
    count_ranges,
    count_rows,
    pack_ids,
    pack_mask,
    slice_rows,
    unpack_ids,
    unpack_mask,
    without_rows,
)
from index_build.coarse import Coarse, Ranking, codes_of, selector_of, train_coarse
from index_build.export import Batch
from index_build.manifest import Band, IndexShape, safe_path, shard_of
from index_build.probe import ShardIndex, best_order
from index_build.queries import TIE_TOLERANCE, TIES_KEPT, Best, Cell, Truths, are_right, right_rows
from index_build.refine import CELLS, RefineRows, decode_rows, fit_scale
from index_build.sample import draw_sample
from index_build.train import SCALE_ROOM

pytestmark = pytest.mark.properties

SEEDS = st.integers(0, 2**32 - 1)
QUICK = settings(max_examples=60, deadline=None)


@QUICK
@given(st.lists(st.booleans(), min_size=1, max_size=400), st.data())
def test_bitmaps_agree_with_masks(bits, data):
    mask = np.array(bits)
    cuts = data.draw(st.lists(st.integers(0, len(bits)), max_size=8))
    lists = np.array([0, *sorted(cuts), len(bits)], np.int64)
    words = pack_mask(mask)
    assert unpack_ids(words).tolist() == np.flatnonzero(mask).tolist()
    assert count_ranges(words, lists).tolist() == [int(part.sum()) for part in np.split(mask, lists[1:-1])]
    assert unpack_mask(words, len(bits)).tolist() == bits
    assert count_rows(words) == sum(bits)
    assert count_rows(all_rows(len(bits))) == len(bits)
    rows = np.arange(len(bits), dtype=np.int64)
    assert contains(words, rows).tolist() == bits
    assert pack_ids(np.flatnonzero(mask), len(bits)).tolist() == words.tolist()
    assert unpack_ids(without_rows(words, rows[:3])).tolist() == [row for row in np.flatnonzero(mask) if row >= 3]
    first, last = sorted(data.draw(st.tuples(st.integers(0, len(bits) - 1), st.integers(1, len(bits)))))
    assert slice_rows(words, first, last - first).tolist() == pack_mask(mask[first:last]).tolist()


@QUICK
@given(st.lists(st.integers(-3, 3), max_size=60), st.integers(1, 20), SEEDS)
def test_best_order_is_a_stable_sort(scores, k, seed):
    similarities = np.array(scores, np.float32)
    row_ids = np.random.default_rng(seed).permutation(len(scores)).astype(np.int64)
    expected = sorted(range(len(scores)), key=lambda place: (-similarities[place], row_ids[place]))[:k]
    assert best_order(similarities, row_ids, k=k).tolist() == expected


@QUICK
@given(SEEDS, st.integers(1, 40), st.integers(1, 200))
def test_few_lists_are_ranked_by_their_centroids(seed, lists_count, wanted):
    rng = np.random.default_rng(seed)
    centroids = rng.normal(size=(lists_count, 4)).astype(np.float32)
    counts = rng.integers(0, 9, lists_count).astype(np.int64) * rng.integers(0, 2, lists_count)
    query = rng.normal(size=4).astype(np.float32)
    ranking = Ranking(Coarse.flat(centroids), query, counts)
    nearest = [number for number in np.argsort(-(centroids @ query), kind="stable") if counts[number]]
    chosen = ranking.until(wanted)
    assert chosen.tolist() == nearest[: len(chosen)]
    assert counts[chosen].sum() >= min(wanted, counts.sum())
    assert not len(chosen) or counts[chosen[:-1]].sum() < wanted
    bound = float(np.quantile(centroids @ query, 0.3))
    others = ranking.nearer_than(bound, beyond=chosen)
    assert others.tolist() == [number for number in nearest[len(chosen) :] if centroids[number] @ query >= bound]


@QUICK
@given(SEEDS, st.integers(300, 1_000), st.integers(1, 200), st.floats(0.02, 1.0))
def test_lists_ranked_by_codes_are_near_and_suffice(seed, lists_count, wanted, share):
    rng = np.random.default_rng(seed)
    centroids = rng.normal(size=(lists_count, 8)).astype(np.float32)
    flat = Coarse.flat(centroids)
    coarse = Coarse(flat.centroids, flat.groups, flat.offsets, codes_of(centroids))
    counts = rng.integers(0, 9, lists_count).astype(np.int64) * (rng.random(lists_count) < share)
    query = rng.normal(size=8).astype(np.float32)
    selector = None if counts.all() else selector_of(counts > 0)
    ranking = Ranking(coarse, query, counts, selector=selector)
    chosen = ranking.until(wanted)
    assert counts[chosen].sum() >= min(wanted, counts.sum())
    assert not len(chosen) or counts[chosen[:-1]].sum() < wanted
    others = ranking.nearer_than(-100.0, beyond=chosen)
    found = [*chosen.tolist(), *others.tolist()]
    assert sorted(found) == np.flatnonzero(counts).tolist()


def _gathered(cells, k, parts):
    truths = Truths(cells, k=k)
    for part in parts:
        truths.add(part)
    return truths


@QUICK
@given(SEEDS, st.integers(1, 6), st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 12))
def test_answers_gathered_on_the_way_are_those_of_all_rows(seed, k, sizes, values):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, values, size=(sum(sizes), 2)).astype(np.float32)  # few values, so that many scores tie
    queries = rng.integers(0, 3, size=(3, 2)).astype(np.float32)
    direction = np.array([1, 0], np.float32)
    cells = [Cell("none", 1.0, queries, seed=0), Cell("directional", 0.5, queries, 0, direction, threshold=values / 2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("index_build.queries.BLOCK_ROWS", 7)
        truths = _gathered(cells, k, np.split(rows, np.cumsum(sizes)[:-1]))
    for cell, truth in zip(cells, truths.answers(), strict=True):
        passing = np.flatnonzero(np.ones(len(rows), bool) if cell.direction is None else rows[:, 0] >= cell.threshold)
        assert truth.matches == len(passing)
        assert (truth.words is None) == (cell.direction is None)
        assert truth.words is None or unpack_ids(truth.words).tolist() == passing.tolist()
        for query, best in zip(queries, truth.best, strict=True):
            scores = rows[passing] @ query
            least = np.sort(scores)[-k:][0] if len(scores) else 0
            right = sorted(passing[scores >= least - TIE_TOLERANCE].tolist())
            assert sorted(best.row_ids.tolist()) == right
            assert sorted(right_rows([best], k=k)[0].tolist()) == right
            assert best.scores.tolist() == sorted((rows[best.row_ids] @ query).tolist(), reverse=True)


@QUICK
@given(SEEDS, st.integers(1, 8), st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_the_best_of_all_shards_are_those_of_one(seed, k, sizes):
    rng = np.random.default_rng(seed)
    scores = [rng.integers(0, 6, size).astype(np.float32) for size in sizes]
    firsts = np.cumsum([0, *sizes])
    parts = [Best(np.arange(size), part) for size, part in zip(sizes, scores, strict=True)]
    found = right_rows(parts, k=k)
    together = np.concatenate(scores)
    least = np.sort(together)[-k:][0] if len(together) else 0
    expected = np.flatnonzero(together >= least - TIE_TOLERANCE).tolist()
    assert [int(row + first) for first, rows in zip(firsts, found, strict=False) for row in rows] == expected


def test_of_many_ties_a_bounded_number_is_remembered():
    rows = np.ones((3 * TIES_KEPT, 2), np.float32)
    truths = Truths([Cell("none", 1.0, rows[:2], seed=0)], k=10)
    truths.add(rows)
    [truth] = truths.answers()
    assert [len(best.row_ids) for best in truth.best] == [TIES_KEPT, TIES_KEPT]
    assert truth.best[0].row_ids.tolist() == list(range(TIES_KEPT))
    [right] = right_rows([truth.best[0]], k=10)
    found = np.array([0, TIES_KEPT, 2 * TIES_KEPT])

    def similarity_of(row_ids):
        return np.full(len(row_ids), 0.8, np.float32)

    assert are_right(found, np.array([0.8, 0.8, 0.7], np.float32), right, similarity_of).tolist() == [True, True, False]
    assert are_right(found, np.array([0.8, 0.8, 0.7], np.float32), right[:10], similarity_of).sum() == 1


def test_two_levels_cover_all_lists_and_assign_near_the_best(monkeypatch):
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(6_000, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    flat = train_coarse(rows, 256, iterations=6, seed=1)
    monkeypatch.setattr("index_build.coarse.GROUPED_LISTS", 100)
    coarse = train_coarse(rows, 256, iterations=6, seed=1)
    assert (len(coarse.groups), len(coarse.centroids), int(coarse.offsets[-1])) == (16, 256, 256)
    assert (flat.codes is None, coarse.codes.ntotal) == (True, 256)
    assert (coarse.assign(rows) == (rows @ coarse.centroids.T).argmax(axis=1)).mean() > 0.8
    assert (flat.assign(rows) == (rows @ flat.centroids.T).argmax(axis=1)).all()
    loss = [(rows * one.centroids[one.assign(rows)]).sum(axis=1).mean() for one in (flat, coarse)]
    assert loss[1] > 0.95 * loss[0]


DRAWN = {
    "dense": lambda rng, shape: rng.normal(size=shape),
    "signs": lambda rng, shape: rng.choice([-1, 1], size=shape),
    "nearly all zero": lambda rng, shape: rng.random(shape) * (rng.random(shape) < 0.03) + 1e-6,
}
"""What vectors are like whose values are not spread over the steps of a byte."""


@QUICK
@given(SEEDS, st.integers(1, 9), st.sampled_from([0.0, 0.1, SCALE_ROOM, 1.0]))
def test_the_least_value_is_a_code_with_room_on_either_side(seed, dimensions, room):
    vectors = np.random.default_rng(seed).normal(size=(30, dimensions)).astype(np.float32)
    scale = fit_scale(vectors, room=room)
    codes = (vectors - scale[0]) / scale[1]
    assert np.abs(codes.min(axis=0) - np.rint(codes.min(axis=0))).max() < 1e-3
    spare = [codes.min(axis=0), 255 - codes.max(axis=0)]
    assert all(np.abs(part - 255 * room / (1 + 2 * room)).max() <= 1.001 for part in spare)


@QUICK
@given(SEEDS, st.integers(2, 50), st.integers(1, 16))
def test_eight_bits_err_by_half_a_step_at_most(seed, rows, dimensions):
    vectors = np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32)
    scale = fit_scale(vectors)
    rows_ids = np.arange(rows)
    refine = RefineRows.of(vectors, scale)
    error = np.abs(decode_rows(refine.stored, scale) - vectors)
    assert (error <= scale[1] * 0.501 + 1e-5).all()
    assert (np.abs(refine.vectors(rows_ids) - vectors) <= scale[1] / CELLS + 1e-5).all()


@QUICK
@given(SEEDS, st.integers(1, 60), st.integers(1, 20))
def test_scores_of_stored_rows_are_scores_of_decoded_rows(seed, rows, dimensions):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, dimensions)).astype(np.float32)
    query = rng.normal(size=dimensions).astype(np.float32)
    for scale in (None, fit_scale(vectors)):
        refine = RefineRows.of(vectors, scale)
        picks = rng.integers(0, rows, 10)
        assert refine.similarities(query, picks) == pytest.approx(refine.vectors(picks) @ query, rel=1e-3, abs=1e-3)


@QUICK
@given(SEEDS, st.integers(1, 3_000), st.sampled_from([2, 32, 384]), st.integers(0, 40), st.sampled_from(sorted(DRAWN)))
def test_the_best_by_both_bytes_are_among_those_found_by_the_first(seed, rows, dimensions, k, kind):
    rng = np.random.default_rng(seed)
    vectors = DRAWN[kind](rng, (rows, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[0] + np.float32(0.1)
    refine = RefineRows.of(vectors, fit_scale(vectors, room=SCALE_ROOM))
    picks = np.flatnonzero(rng.random(rows) < 0.7)
    every = refine.similarities(query, picks)
    found, similarities = refine.best(query, picks, k=k)
    best = np.sort(every)[::-1][:k]
    assert np.sort(similarities)[::-1][:k].tolist() == best.tolist()
    assert (similarities == every[np.searchsorted(picks, found)]).all()
    assert len(found) >= min(k, len(picks))


@QUICK
@given(SEEDS, st.integers(1, 200), st.floats(0, 1))
def test_a_flat_shard_answers_as_brute_force_does(seed, rows, share):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = faiss.IndexFlatIP(8)
    index.add(vectors)
    shard = ShardIndex(
        shape=IndexShape(kind="flat", dimensions=8, lists_count=1, refine="f16"),
        index=index,
        coarse=None,
        refine=RefineRows.of(vectors, None),
        lists=np.array([0, rows], np.int64),
    )
    mask = rng.random(rows) < share
    query = vectors[0]
    found = shard.probe(query, k=5, band=Band.of(1, 1), rows=shard.filter(pack_mask(mask)))
    exact = shard.exact(query, np.flatnonzero(mask), k=5)
    assert mask[found.row_ids].all()
    assert len(found.row_ids) == min(5, int(mask.sum()))
    assert found.similarities == pytest.approx(exact.similarities, abs=1e-6)
    assert found.similarities == pytest.approx(np.sort(vectors[mask] @ query)[::-1][:5], abs=2e-3)


@QUICK
@given(SEEDS, st.integers(1, 80), st.integers(1, 30), st.integers(1, 5))
def test_a_sample_does_not_depend_on_order_or_batches(seed, rows, size, batches):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, 3)).astype(np.float32)
    ids = np.array([f"c{number}" for number in range(rows)])

    def drawn(order):
        parts = np.array_split(order, batches)
        return draw_sample(
            (Batch(pa.table({"creator_id": ids[part]}), vectors[part]) for part in parts if len(part)), size, seed=7
        )

    sample = drawn(np.arange(rows))
    assert sample.shape == (min(size, rows), 3)
    assert np.array_equal(sample, drawn(rng.permutation(rows)))


@QUICK
@given(st.text(max_size=30))
def test_a_safe_path_cannot_leave(path):
    try:
        safe_path(path)
    except ValueError:
        return
    assert not path.startswith("/")
    assert ".." not in path.split("/")


@QUICK
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(1, 50))
def test_placement_is_a_shard(creator_id, shards):
    assert 0 <= shard_of(creator_id, shards) < shards


def test_placement_is_balanced():
    counts = np.bincount([shard_of(f"cr_{number:08x}", 10) for number in range(20_000)], minlength=10)
    assert counts.min() > 0.9 * counts.mean()
