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
from index_build.coarse import Coarse, train_coarse
from index_build.export import Batch
from index_build.manifest import Band, IndexShape, safe_path, shard_of
from index_build.probe import ShardIndex, best_order
from index_build.queries import hits_count, top_scores
from index_build.refine import RefineRows, decode_rows, encode_rows, fit_scale
from index_build.sample import draw_sample

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
def test_chosen_lists_are_the_fewest_nearest_that_suffice(seed, lists_count, wanted):
    rng = np.random.default_rng(seed)
    centroids = rng.normal(size=(lists_count, 4)).astype(np.float32)
    coarse = Coarse.flat(centroids)
    counts = rng.integers(0, 9, lists_count).astype(np.int64) * rng.integers(0, 2, lists_count)
    query = rng.normal(size=4).astype(np.float32)
    chosen, compared = coarse.nearest(query, counts, wanted)
    assert compared == lists_count
    nearest = [number for number in np.argsort(-(centroids @ query), kind="stable") if counts[number]]
    assert chosen.tolist() == nearest[: len(chosen)]
    assert counts[chosen].sum() >= min(wanted, counts.sum())
    if len(chosen):
        assert counts[chosen[:-1]].sum() < min(wanted, counts.sum())


@QUICK
@given(SEEDS, st.integers(1, 40), st.integers(1, 200))
def test_grouped_lists_are_near_and_suffice(seed, groups_count, wanted):
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 4, groups_count))]).astype(np.int64)
    centroids = rng.normal(size=(int(offsets[-1]), 4)).astype(np.float32)
    coarse = Coarse(centroids, rng.normal(size=(groups_count, 4)).astype(np.float32), offsets)
    counts = rng.integers(0, 9, len(centroids)).astype(np.int64) * rng.integers(0, 2, len(centroids))
    query = rng.normal(size=4).astype(np.float32)
    chosen, compared = coarse.nearest(query, counts, wanted)
    assert compared <= len(centroids)
    assert (np.diff(centroids[chosen] @ query) <= 1e-5).all()
    assert (counts[chosen] > 0).all()
    assert counts[chosen].sum() >= min(wanted, counts.sum())
    assert len(set(chosen.tolist())) == len(chosen)


def test_two_levels_cover_all_lists_and_assign_near_the_best(monkeypatch):
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(6_000, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    flat = train_coarse(rows, 256, iterations=6, seed=1)
    monkeypatch.setattr("index_build.coarse.GROUPED_LISTS", 100)
    coarse = train_coarse(rows, 256, iterations=6, seed=1)
    assert (len(coarse.groups), len(coarse.centroids), int(coarse.offsets[-1])) == (16, 256, 256)
    assert (coarse.assign(rows) == (rows @ coarse.centroids.T).argmax(axis=1)).mean() > 0.95
    assert (flat.assign(rows) == (rows @ flat.centroids.T).argmax(axis=1)).all()
    loss = [(rows * one.centroids[one.assign(rows)]).sum(axis=1).mean() for one in (flat, coarse)]
    assert loss[1] > 0.95 * loss[0]


@QUICK
@given(SEEDS, st.integers(2, 50), st.integers(1, 16))
def test_eight_bits_err_by_half_a_step_at_most(seed, rows, dimensions):
    vectors = np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32)
    scale = fit_scale(vectors)
    error = np.abs(decode_rows(encode_rows(vectors, scale), scale) - vectors)
    assert (error <= scale[1] * 0.501 + 1e-5).all()


@QUICK
@given(SEEDS, st.integers(1, 60), st.integers(1, 20))
def test_scores_of_stored_rows_are_scores_of_decoded_rows(seed, rows, dimensions):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, dimensions)).astype(np.float32)
    query = rng.normal(size=dimensions).astype(np.float32)
    for scale in (None, fit_scale(vectors)):
        refine = RefineRows(encode_rows(vectors, scale), scale)
        picks = rng.integers(0, rows, 10)
        assert refine.similarities(query, picks) == pytest.approx(refine.vectors(picks) @ query, rel=1e-3, abs=1e-3)


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
        refine=RefineRows(encode_rows(vectors, None), None),
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
@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(1, 10), SEEDS)
def test_a_perfect_answer_counts_as_all_hits(values, k, seed):
    scores = np.array(values, np.float32) / 10
    truth = top_scores(np.concatenate([scores, np.full(k, -np.inf, np.float32)])[None, :], k=k)[0]
    shuffled = np.random.default_rng(seed).permutation(scores)
    best = np.sort(shuffled)[::-1][:k]
    assert hits_count(best, truth) == min(k, len(scores))
    assert hits_count(best - 1, truth) <= hits_count(best, truth)


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
