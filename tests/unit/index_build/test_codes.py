"""Codes of rows and of centroids, beside the same arithmetic in NumPy."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from index_build.coarse import Coarse, codes_of
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
    best = scan(packed(index), query, np.arange(LISTS), near, k=50)
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
            hits[name] += int(np.isin(scan(packed(held), query, np.arange(LISTS), near, k=20), best).sum())
    assert hits["differences"] > hits["rows"]


def test_a_scan_reads_only_its_lists_and_its_rows(coded):
    centroids, lists, rows, index = coded
    chosen = np.array([2, 5], np.int64)
    selector = faiss.IDSelectorRange(0, ROWS // 2)
    found = scan(packed(index), rows[0], chosen, (centroids @ rows[0])[chosen], k=ROWS, selector=selector)
    assert sorted(found.tolist()) == [row for row in range(ROWS // 2) if lists[row] in chosen]
    assert scan(packed(index), rows[0], chosen, (centroids @ rows[0])[chosen], k=0).tolist() == []


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


@pytest.mark.parametrize(("share", "wanted"), [(1.0, 10_000), (0.2, 2_000), (0.02, 1_000)])
def test_codes_of_centroids_find_the_nearest_lists(many_lists, share, wanted):
    flat, coarse = many_lists
    counts = 100 * (np.random.default_rng(7).random(len(flat.centroids)) < share).astype(np.int64)
    for query in flat.centroids[::200]:
        true, found = flat.nearest(query, counts, wanted), coarse.nearest(query, counts, wanted)
        assert found.lists.tolist() == true.lists.tolist()
        assert found.similarities == pytest.approx(true.similarities, abs=1e-6)
        assert found.compared < true.compared


def test_of_many_lists_codes_choose_and_order_most(many_lists):
    flat, coarse = many_lists
    counts = np.full(len(flat.centroids), 10)
    for query in flat.centroids[::500]:
        true, found = flat.nearest(query, counts, 10_000), coarse.nearest(query, counts, 10_000)
        assert (len(found.lists), found.compared, found.similarities) == (1_000, 0, None)
        assert np.isin(found.lists, true.lists).mean() > 0.85
        near = coarse.similarities(query, found.lists)
        assert near[:100].min() > near[-100:].max() - 0.1


def test_where_all_matches_are_wanted_nothing_is_compared(many_lists):
    _, coarse = many_lists
    counts = np.zeros(len(coarse.centroids), np.int64)
    counts[[3, 700]] = 5
    found = coarse.nearest(coarse.centroids[0], counts, 10)
    assert (found.lists.tolist(), found.similarities, found.compared) == ([3, 700], None, 0)


def test_centroid_codes_are_stored_with_the_lists(many_lists, tmp_path):
    _, coarse = many_lists
    coarse.save(tmp_path)
    opened = Coarse.open(tmp_path)
    counts, query = np.ones(len(coarse.centroids), np.int64), coarse.centroids[3]
    assert opened.nearest(query, counts, 40).lists.tolist() == coarse.nearest(query, counts, 40).lists.tolist()


def test_codes_that_do_not_fit_their_centroids_are_refused(many_lists, tmp_path):
    flat, _ = many_lists
    other = Coarse(flat.centroids, flat.groups, flat.offsets, codes_of(flat.centroids[:-1]))
    other.save(tmp_path)
    with pytest.raises(ValueError, match="codes do not fit"):
        Coarse.open(tmp_path)
