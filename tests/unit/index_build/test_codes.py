"""Codes of rows and of centroids, beside the same arithmetic in NumPy."""

from __future__ import annotations

from dataclasses import replace

import faiss
import numpy as np
import pytest

from index_build.coarse import Coarse, Ranking, codes_of, selector_of, train_coarse
from index_build.codes import add_coded, emptied, learnt_codes, packed, scan

ROWS, DIMENSIONS, LISTS = 4_000, 64, 8


@pytest.fixture(scope="module")
def coded():
    """Rows near their list's centroid, and an index of their differences from it."""
    rng = np.random.default_rng(5)
    centroids = rng.normal(size=(LISTS, DIMENSIONS)).astype(np.float32)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    lists = np.sort(rng.integers(0, LISTS, ROWS))
    rows = centroids[lists] + 0.05 * rng.normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
    differences = rows - centroids[lists]
    index = learnt_codes(differences, lists_count=LISTS, parts=32)
    add_coded(index, differences, np.arange(ROWS), lists)
    return centroids, lists, rows, index


def test_a_scan_ranks_rows_by_centroid_and_code(coded):
    centroids, lists, rows, index = coded
    query = rows[7]
    near = centroids @ query
    codes = index.pq.compute_codes(np.ascontiguousarray(rows - centroids[lists]))
    expected = index.pq.decode(codes) @ query + near[lists]
    best, scores = scan(packed(index), query, np.arange(LISTS), near, k=50)
    assert scores == pytest.approx(expected[best], abs=0.02)
    assert expected[best] == pytest.approx(np.sort(expected)[::-1][:50], abs=0.02)


def test_codes_of_differences_find_more_than_codes_of_rows(coded):
    centroids, lists, rows, index = coded
    plain = learnt_codes(rows, lists_count=LISTS, parts=32)
    add_coded(plain, rows, np.arange(ROWS), lists)
    hits = {"differences": 0, "rows": 0}
    for query in rows[::100]:
        best = np.argsort(-(rows @ query))[:10]
        for name, held, near in (
            ("differences", index, centroids @ query),
            ("rows", plain, np.zeros(LISTS, np.float32)),
        ):
            hits[name] += int(np.isin(scan(packed(held), query, np.arange(LISTS), near, k=20)[0], best).sum())
    assert hits["differences"] > hits["rows"]


def test_a_scan_reads_only_its_lists_and_its_rows(coded):
    centroids, lists, rows, index = coded
    chosen = np.array([2, 5], np.int64)
    selector = faiss.IDSelectorRange(0, ROWS // 2)
    found, _ = scan(packed(index), rows[0], chosen, (centroids @ rows[0])[chosen], k=ROWS, selector=selector)
    assert sorted(found.tolist()) == [row for row in range(ROWS // 2) if lists[row] in chosen]
    assert scan(packed(index), rows[0], chosen, (centroids @ rows[0])[chosen], k=0)[0].tolist() == []


def test_an_emptied_index_gives_the_same_codes(coded, tmp_path):
    centroids, lists, rows, index = coded
    faiss.write_index(packed(index), str(tmp_path / "index.faiss"))
    again = emptied(faiss.read_index(str(tmp_path / "index.faiss"), faiss.IO_FLAG_MMAP_IFC))
    assert again.ntotal == 0
    add_coded(again, rows - centroids[lists], np.arange(ROWS), lists)
    assert faiss.serialize_index(packed(again)).tolist() == faiss.serialize_index(packed(index)).tolist()


@pytest.fixture(scope="module")
def many_lists():
    """Many centroids around fewer topics."""
    rng = np.random.default_rng(6)
    topics = rng.normal(size=(50, 32)).astype(np.float32)
    centroids = topics[rng.integers(0, 50, 5_000)] + 0.4 * rng.normal(size=(5_000, 32)).astype(np.float32)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    flat = Coarse.flat(centroids)
    return flat, Coarse(flat.centroids, flat.groups, flat.offsets, codes_of(centroids))


@pytest.mark.parametrize(("share", "wanted"), [(1.0, 10_000), (0.2, 20_000), (0.02, 1_000)])
def test_codes_of_centroids_rank_most_lists_as_the_centroids_do(many_lists, share, wanted):
    flat, coarse = many_lists
    counts = 100 * (np.random.default_rng(7).random(len(flat.centroids)) < share).astype(np.int64)
    selector = None if counts.all() else selector_of(counts > 0)
    shared = []
    for query in flat.centroids[::200]:
        true = Ranking(flat, query, counts).until(wanted)
        ranking = Ranking(coarse, query, counts, selector=selector)
        found = ranking.until(wanted)
        assert len(found) == len(true)
        shared.append(np.isin(found, true).mean())
        assert ranking.similarities[: len(found)] == pytest.approx(coarse.similarities(query, found), abs=0.15)
        assert len(ranking.lists) < ranking.held or share < 1
    assert np.mean(shared) > 0.8


def test_lists_that_were_ranked_before_are_not_given_again(many_lists):
    _, coarse = many_lists
    counts = np.ones(len(coarse.centroids), np.int64)
    ranking = Ranking(coarse, coarse.centroids[0], counts)
    first = ranking.until(30)
    others = ranking.nearer_than(0.3, beyond=first)
    assert len(first) == 30
    assert len(others) > 0
    assert not np.isin(others, first).any()
    assert coarse.similarities(coarse.centroids[0], others).min() > 0.15
    rest = np.setdiff1d(np.arange(len(counts)), np.concatenate([first, others]))
    assert (coarse.similarities(coarse.centroids[0], rest) < 0.45).all()


def test_centroid_codes_are_stored_with_the_lists(many_lists, tmp_path):
    _, coarse = many_lists
    coarse.save(tmp_path)
    opened = Coarse.open(tmp_path, has_codes=True)
    counts, query = np.ones(len(coarse.centroids), np.int64), coarse.centroids[3]
    assert Ranking(opened, query, counts).until(40).tolist() == Ranking(coarse, query, counts).until(40).tolist()
    few = np.arange(0, len(coarse.centroids), 7)
    assert opened.similarities(query, few) == pytest.approx(coarse.similarities(query, few), abs=0.01)
    assert not np.array_equal(opened.similarities(query, few), coarse.similarities(query, few))  # read as bytes
    assert Coarse.open(tmp_path, has_codes=False).codes is None


def test_an_estimate_saves_rankings_and_changes_no_list(many_lists, tmp_path, monkeypatch):
    many_lists[1].save(tmp_path)
    opened = Coarse.open(tmp_path, has_codes=True)
    counts, rank, sizes = np.ones(len(opened.centroids), np.int64), Ranking._rank, []
    monkeypatch.setattr(Ranking, "_rank", lambda self, size: (sizes.append(size), rank(self, size))[1])
    for query in opened.centroids[::500]:
        true = float(np.mean(opened.centroids @ query >= 0.1))
        assert opened.share_nearer(query, 0.1) == pytest.approx(true, abs=0.1)
        found = {}
        for coarse in (opened, replace(opened, sampled=None)):
            sizes.clear()
            ranking = Ranking(coarse, query, counts)
            first = ranking.until(30)
            found[coarse is opened] = sorted(ranking.nearer_than(0.1, beyond=first).tolist()), len(sizes)
        assert found[True][0] == found[False][0]
        assert found[True][1] < found[False][1]


def test_what_is_trained_reads_as_what_is_opened(tmp_path):
    rows = np.random.default_rng(8).normal(size=(6_000, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    trained = train_coarse(rows, 1_024, iterations=2, seed=0)
    trained.save(tmp_path)
    opened = Coarse.open(tmp_path, has_codes=True)
    lists = np.arange(0, 1_024, 5)
    assert (trained.similarities(rows[0], lists) == opened.similarities(rows[0], lists)).all()
    assert trained.share_nearer(rows[0], 0.2) == opened.share_nearer(rows[0], 0.2) > 0


def test_lists_that_a_scan_leaves_out_end_the_ranking():
    """A few topics with hardly any noise: most codes have the least score, and a scan returns fewer than it is asked for."""
    rng = np.random.default_rng(0)
    rows = np.eye(64, dtype=np.float32)[8 * rng.integers(0, 8, 16_384)]
    rows += 1e-4 * rng.standard_normal(rows.shape).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    coarse = train_coarse(rows, 1_024, iterations=3, seed=0)
    counts = np.bincount(coarse.assign(rows), minlength=1_024)
    for query in rows[:10]:
        ranking = Ranking(coarse, query, counts, selector=selector_of(counts > 0))
        first = ranking.until(1_024)
        found = np.concatenate([first, ranking.nearer_than(0.6, beyond=first)])
        near = np.flatnonzero((coarse.centroids @ query >= 0.7) & (counts > 0))
        assert np.isin(near, found).all()


def _of_fewer(centroids):
    return codes_of(centroids[:-1])


def _with_other_ids(centroids):
    return packed(_filled(centroids, np.arange(len(centroids)) + 1))


def _repeating_an_id(centroids):
    return packed(_filled(centroids, np.full(len(centroids), 7)))


def _of_no_numbers(centroids):
    index = codes_of(centroids)
    faiss.copy_array_to_vector(np.full(index.pq.centroids.size(), np.nan, np.float32), index.pq.centroids)
    return index


def _scanned_otherwise(centroids):
    index = codes_of(centroids)
    index.implem = 4
    return index


def _filled(centroids, ids):
    index = learnt_codes(centroids, lists_count=1, parts=16)
    add_coded(index, centroids, ids.astype(np.int64), np.zeros(len(centroids), np.int64))
    return index


@pytest.mark.parametrize("codes", [_of_fewer, _with_other_ids, _repeating_an_id, _of_no_numbers, _scanned_otherwise])
def test_codes_that_do_not_fit_their_centroids_are_refused(many_lists, codes, tmp_path):
    flat, _ = many_lists
    Coarse(flat.centroids, flat.groups, flat.offsets, codes(flat.centroids)).save(tmp_path)
    with pytest.raises(ValueError, match="codes do not fit"):
        Coarse.open(tmp_path, has_codes=True)
