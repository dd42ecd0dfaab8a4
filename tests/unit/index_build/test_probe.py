"""Filtered search in a shard against a numpy oracle: the selector holds, counts are exact, results are complete."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest

from index_build.bitmaps import count_ranges, pack_mask, unpack_ids
from index_build.manifest import Band
from index_build.probe import SCANNED_SHARE, ShardIndex, best_order, open_coarse


def open_shards(built) -> list[ShardIndex]:
    coarse = open_coarse(built.folder, built.manifest)
    return [ShardIndex.open(built.folder, built.manifest, shard, coarse=coarse) for shard in built.manifest.shards]


def exact_vectors(built, shard: int) -> np.ndarray:
    """Original vectors of a shard in row_id order, by creator_id."""
    ids = pq.read_table(built.folder / built.manifest.shards[shard].docs.path, columns=["creator_id"])["creator_id"]
    return built.vectors[[int(value[1:]) for value in ids.to_pylist()]]


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 1000])
def test_words_round_trip_and_count_per_list(rows):
    rng = np.random.default_rng(rows)
    mask = rng.random(rows) < 0.3
    lists = np.concatenate([[0], np.sort(rng.integers(0, rows + 1, 9)), [rows]]).astype(np.int64)
    words = pack_mask(mask)
    assert unpack_ids(words).tolist() == np.flatnonzero(mask).tolist()
    expected = [int(mask[start:stop].sum()) for start, stop in pairwise(lists)]
    assert count_ranges(words, lists).tolist() == expected


def test_best_order_breaks_ties_by_row_id():
    similarities = np.array([0.5, 0.9, 0.5, 0.5, 0.1], np.float32)
    assert best_order(similarities, np.array([7, 1, 3, 5, 0]), k=3).tolist() == [1, 2, 3]
    assert best_order(similarities, np.array([7, 1, 3, 5, 0]), k=9).tolist() == [1, 2, 3, 0, 4]


def test_refine_rows_are_the_documents_vectors(built):
    for number, shard in enumerate(open_shards(built)):
        rows = np.arange(shard.rows)
        assert np.abs(shard.refine.vectors(rows) - exact_vectors(built, number)).max() < 5e-3


@pytest.mark.parametrize("share", [0.5, 0.05, 0.005, 0.0])
def test_selector_holds_and_results_are_complete(built, share):
    rng = np.random.default_rng(3)
    for shard in open_shards(built):
        mask = rng.random(shard.rows) < share
        rows = shard.filter(pack_mask(mask))
        for query in built.vectors[:20]:
            found = shard.probe(query, k=10, band=Band.of(200, 4), rows=rows)
            assert mask[found.row_ids].all()
            assert len(set(found.row_ids.tolist())) == len(found.row_ids) == min(10, int(mask.sum()))
            assert (np.diff(found.similarities) <= 0).all()


@pytest.mark.parametrize("share", [1.0, 0.2, 0.02])
def test_recall_of_the_calibrated_probe_against_brute_force(built, share):
    rng = np.random.default_rng(5)
    hits = wanted = 0
    for number, shard in enumerate(open_shards(built)):
        vectors = exact_vectors(built, number)
        mask = np.ones(shard.rows, bool) if share == 1.0 else rng.random(shard.rows) < share
        rows = None if share == 1.0 else shard.filter(pack_mask(mask))
        band = built.manifest.calibration.band(share)
        for _ in range(20):
            first, second, third = built.vectors[rng.integers(0, len(built.vectors), 3)]
            query = first + 0.5 * (second - third)
            query = (query / np.linalg.norm(query)).astype(np.float32)
            allowed = np.flatnonzero(mask)
            truth = set(allowed[np.argsort(-(vectors[allowed] @ query))[:10]].tolist())
            found = shard.probe(query, k=10, band=band, rows=rows)
            hits += len(truth & set(found.row_ids.tolist()))
            wanted += len(truth)
    assert hits / wanted >= 0.9


def test_exact_plan_scores_every_row(built):
    shard = open_shards(built)[0]
    row_ids = np.arange(0, shard.rows, 7)
    query = built.vectors[11]
    found = shard.exact(query, row_ids, k=5)
    truth = exact_vectors(built, 0)[row_ids] @ query
    assert found.refined_count == len(row_ids)
    assert found.similarities == pytest.approx(np.sort(truth)[::-1][:5], abs=5e-3)
    assert found.similarities == pytest.approx(truth[np.searchsorted(row_ids, found.row_ids)], abs=5e-3)


def test_probing_stops_at_the_matches_target(ivf):
    shard = open_shards(ivf)[0]
    few = shard.probe(ivf.vectors[0], k=1, band=Band.of(1, 1))
    many = shard.probe(ivf.vectors[0], k=1, band=Band.of(shard.rows, 1))
    assert few.work.lists_probed == 1
    assert few.work.lists_probed < many.work.lists_probed == np.count_nonzero(shard.list_sizes)
    assert few.work.codes_scanned < many.work.codes_scanned == shard.rows
    assert many.similarities[0] >= few.similarities[0]


def test_a_margin_goes_on_into_lists_that_may_hold_better_rows(ivf):
    shard = open_shards(ivf)[0]
    queries = np.random.default_rng(4).normal(size=(30, ivf.vectors.shape[1])).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    hits, probed = [], []
    for margin in (-2.0, 0.1, 0.4, 2.0):
        found = [shard.probe(query, k=10, band=Band.of(100, 8, margin)) for query in queries]
        true = [shard.exact(query, np.arange(shard.rows), k=10) for query in queries]
        hits.append(
            sum(np.isin(one.row_ids, other.row_ids).sum() for one, other in zip(found, true, strict=True)) / 300
        )
        probed.append(sum(one.work.lists_probed for one in found))
    assert hits == sorted(hits)
    assert probed == sorted(probed)
    assert hits[0] < 0.9 < 0.97 < hits[-1]
    assert probed[-1] == len(queries) * np.count_nonzero(shard.list_sizes)


def test_what_a_margin_adds_is_bounded(ivf):
    shard = open_shards(ivf)[0]
    rows = shard.filter(pack_mask(np.random.default_rng(6).random(shard.rows) < 0.5))
    first = shard.probe(ivf.vectors[0], k=10, band=Band.of(100, 8), rows=rows)
    few = shard.probe(ivf.vectors[0], k=10, band=Band.of(100, 8, 2.0, 300), rows=rows)
    assert first.work.lists_probed < few.work.lists_probed < np.count_nonzero(rows.list_counts)
    assert few.refined_count <= first.refined_count + 300


def test_of_rows_that_codes_rank_a_share_is_scored_however_few_are_wanted(ivf):
    shard = open_shards(ivf)[0]
    whole = Band.of(shard.rows, 1)
    found = shard.probe(ivf.vectors[0], k=1, band=whole)
    assert found.work.codes_scanned == shard.rows
    assert found.refined_count == shard.rows // SCANNED_SHARE
    assert shard.probe(ivf.vectors[0], k=shard.rows // 8, band=whole).refined_count > shard.rows // SCANNED_SHARE


def test_where_codes_save_nothing_all_matches_are_scored(ivf):
    shard = open_shards(ivf)[0]
    mask = np.random.default_rng(2).random(shard.rows) < 0.3
    rows = shard.filter(pack_mask(mask))
    lists = np.array([3, 0, 7], np.int64)
    expected = [row for number in lists for row in range(*shard.lists[number : number + 2]) if mask[row]]
    assert rows.rows_in(lists).tolist() == expected
    found = shard.probe(ivf.vectors[0], k=10, band=Band.of(shard.rows, 1_000), rows=rows)
    exact = shard.exact(ivf.vectors[0], np.flatnonzero(mask), k=10)
    assert found.row_ids.tolist() == exact.row_ids.tolist()
    assert (found.work.codes_scanned, found.refined_count) == (0, int(mask.sum()))


def test_lists_without_matches_are_dropped(ivf):
    shard = open_shards(ivf)[0]
    mask = np.zeros(shard.rows, bool)
    mask[-3:] = True
    found = shard.probe(ivf.vectors[0], k=10, band=Band.of(500, 4), rows=shard.filter(pack_mask(mask)))
    assert sorted(found.row_ids.tolist()) == list(range(shard.rows - 3, shard.rows))
    assert found.work.lists_dropped + found.work.lists_probed == ivf.manifest.shape.lists_count
    assert found.work.lists_considered == found.work.lists_probed
