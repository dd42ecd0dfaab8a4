"""4-bit product codes in inverted lists: learning them, adding rows whose lists are known, ranking the rows of some lists.

A row is coded by its difference from the centroid of its list, which is shorter than the row: codes of a length say more
where lists are long, and about as much where they are short (ADR 0022). The inner product with the centroid comes on top when lists are scanned. FAISS adds it itself; it never sees the
centroids, which are stored once a snapshot and not once a shard. Which lists to scan is `coarse.py`.
"""

from __future__ import annotations

import faiss
import numpy as np

from index_build.refine import FloatArray, IdArray

CODE_BITS = 4

ONE_QUERY = 11
"""FAISS' way of scanning for a single query with a reservoir of candidates: the same rows as its choice for batches, in two thirds
of the time where lists are short. It is written with the index."""


def learnt_codes(differences: FloatArray, *, lists_count: int, parts: int) -> faiss.IndexIVFPQ:
    """Empty index of `lists_count` lists whose codes of `parts` sub-quantizers are learnt from rows (n, d).

    Not the fast-scan form: that one cannot take rows whose lists are already known. `packed` converts it once it is full.
    """
    quantizer = faiss.ProductQuantizer(differences.shape[1], parts, CODE_BITS)
    quantizer.train(np.ascontiguousarray(differences))
    return _empty(quantizer, lists_count)


def emptied(index: faiss.IndexIVFPQFastScan) -> faiss.IndexIVFPQ:
    """Empty index with the codes of a full one: rows added to it get the codes that they would have got there."""
    return _empty(index.pq, index.nlist)


def add_coded(index: faiss.IndexIVFPQ, differences: FloatArray, row_ids: IdArray, lists: IdArray) -> None:
    """Add rows (n, d), given by their differences from the centroids of their `lists` (n,)."""
    rows = np.ascontiguousarray(differences)
    index.add_core(len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(row_ids), faiss.swig_ptr(lists))


def packed(index: faiss.IndexIVFPQ) -> faiss.IndexIVFPQFastScan:
    """The form that is written and scanned."""
    scanned = faiss.IndexIVFPQFastScan(index)
    scanned.by_residual = True
    scanned.implem = ONE_QUERY
    return scanned


def scan(
    index: faiss.IndexIVFPQFastScan,
    query: FloatArray,
    lists: IdArray,
    similarities: FloatArray,
    *,
    k: int,
    selector: faiss.IDSelector | None = None,
) -> tuple[IdArray, FloatArray]:
    """Row ids and scores of the best `k` codes in some lists, best code first, fewer where there are fewer.

    FAISS' Python form takes no lists beside a selector. It leaves rows out whose quantised score is the least of all.

    Args:
        index: as `packed`.
        query: unit vector (d,).
        lists: int64 (m,).
        similarities: inner products of `query` with the centroids of `lists`, float32 (m,).
        k: rows wanted.
        selector: rows that may be found, all when None.
    """
    if not k:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    scores, row_ids = np.empty(k, np.float32), np.empty(k, np.int64)
    vector, offsets = np.ascontiguousarray(query, np.float32), np.ascontiguousarray(similarities, np.float32)
    index.search_preassigned_c(
        1,
        faiss.swig_ptr(vector),
        k,
        faiss.swig_ptr(lists),
        faiss.swig_ptr(offsets),
        faiss.swig_ptr(scores),
        faiss.swig_ptr(row_ids),
        False,
        faiss.SearchParametersIVF(sel=selector, nprobe=len(lists)),
    )
    are_found = row_ids >= 0
    return row_ids[are_found], scores[are_found]


def _empty(quantizer: faiss.ProductQuantizer, lists_count: int) -> faiss.IndexIVFPQ:
    placeholder = faiss.IndexFlatIP(quantizer.d)
    placeholder.this.disown()  # an empty one, owned by the index that gets it
    index = faiss.IndexIVFPQ(placeholder, quantizer.d, lists_count, quantizer.M, CODE_BITS, faiss.METRIC_INNER_PRODUCT)
    index.own_fields = True
    index.by_residual = False  # what it gets are differences already
    index.pq = quantizer
    index.is_trained = True
    return index
