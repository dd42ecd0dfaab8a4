"""What single choices of the index cost and bring: lengths of codes, and lists in two levels. On the vectors of the benchmark.

`PART=parts SIZES=1000000 make bench-search`, after the index of that size was built. One thread; medians.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from benchmarks.peers.protocol import Corpus
from benchmarks.report import Figure
from index_build.coarse import ASSIGN_GROUPS, Coarse, train_coarse
from index_build.manifest import Manifest
from index_build.probe import ShardIndex, open_coarse
from index_build.spec import IndexSpec
from index_build.train import SUBQUANTIZER_BITS, one_thread
from index_build.verify import read_manifest

Floats = npt.NDArray[np.float32]

QUERIES = 100
SCANNED = 65_536
"""Rows in the lists that are scanned, about what a query without a filter takes at a million rows."""
FIRST = 320
"""Candidates among which the best ten are looked for."""
PARTS = (96, 64, 48)
"""Sub-quantizers of 384 dimensions: four, six and eight dimensions each."""
TRAINED = 65_536
LISTS, LEARNT, ASSIGNED = 8_192, 262_144, 32_768
"""Lists in two levels, rows that they are learnt from, rows that are assigned."""
NEAREST = 64
"""Nearest lists that ranking must find."""


def parts(rows: int, corpus: Corpus, snapshot: Path) -> Iterator[Figure]:
    """Figures of a built index."""
    manifest = read_manifest(snapshot)
    coarse = open_coarse(snapshot, manifest)
    shard = ShardIndex.open(snapshot, manifest, manifest.shards[0], coarse=coarse)
    queries = corpus.queries()[:QUERIES]
    with one_thread(), threadpool_limits(1, user_api="blas"):
        yield from _codes(rows, manifest, shard, queries)
    yield from _two_levels(rows, corpus, queries)


def _codes(rows: int, manifest: Manifest, shard: ShardIndex, queries: Floats) -> Iterator[Figure]:
    """Recall and time of codes of several lengths in the same lists."""
    for count in PARTS:
        own = ShardIndex(
            shape=manifest.shape,
            index=_coded(shard, count),
            coarse=shard.coarse,
            refine=shard.refine,
            lists=shard.lists,
        )
        hits, times = 0, []
        for query in queries:
            lists, _ = shard.require_coarse().nearest(query, shard.list_sizes, SCANNED)
            inside = np.concatenate([np.arange(*shard.lists[number : number + 2]) for number in lists])
            best = set(shard.exact(query, inside, k=10).row_ids.tolist())
            found, spent = _timed(partial(own.scan_lists, query, lists, k=FIRST, rows=None))
            hits += len(best & set(found.tolist()))
            times.append(spent)
        head = f"parts {rows:,} codes of {count} parts"
        yield Figure(f"{head}: best ten among the first {FIRST}", round(hits / 10 / len(queries), 4), "")
        yield Figure(f"{head}: scan of {SCANNED:,}", round(median(times), 3), "ms")


def _coded(shard: ShardIndex, count: int) -> faiss.Index:
    """Codes of `count` parts of all rows, in their lists."""
    dimensions, lists_count = shard.shape.dimensions, len(shard.list_sizes)
    quantizer = faiss.IndexFlatIP(dimensions)
    quantizer.add(np.ascontiguousarray(shard.require_coarse().centroids))
    index = faiss.IndexIVFPQ(quantizer, dimensions, lists_count, count, SUBQUANTIZER_BITS, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = False
    rng = np.random.default_rng(0)
    index.train(shard.refine.vectors(np.sort(rng.choice(shard.rows, min(TRAINED, shard.rows), replace=False))))
    owners = np.repeat(np.arange(lists_count), shard.list_sizes).astype(np.int64)
    for start in range(0, shard.rows, TRAINED):
        row_ids = np.arange(start, min(start + TRAINED, shard.rows))
        vectors, lists = shard.refine.vectors(row_ids), np.ascontiguousarray(owners[row_ids])
        index.add_core(len(row_ids), faiss.swig_ptr(vectors), faiss.swig_ptr(row_ids), faiss.swig_ptr(lists))
    return faiss.IndexIVFPQFastScan(index)


def _two_levels(rows: int, corpus: Corpus, queries: Floats) -> Iterator[Figure]:
    """How near two levels come to comparing with every list, and what they cost."""
    vectors = np.array(corpus.vectors()[:LEARNT])
    spec = IndexSpec()
    coarse, spent = _timed(lambda: train_coarse(vectors, LISTS, iterations=spec.kmeans_iterations, seed=spec.seed))
    head = f"parts {rows:,} {LISTS:,} lists in {len(coarse.groups)} groups"
    yield Figure(f"{head}: learnt from {LEARNT:,} rows", round(spent / 1e3, 1), "s")
    some = vectors[:ASSIGNED]
    lists, spent = _timed(lambda: coarse.assign(some))
    exact, spent_flat = _timed(lambda: Coarse.flat(coarse.centroids).assign(some))
    yield Figure(
        f"{head}: rows in their nearest list, by {ASSIGN_GROUPS} groups", round((lists == exact).mean(), 4), ""
    )
    yield Figure(
        f"{head}: rows assigned",
        round(len(some) / spent * 1e3),
        "/s",
        peer=f"all lists: {len(some) / spent_flat * 1e3:,.0f}",
    )
    yield from _ranking(head, coarse, queries)


def _ranking(head: str, coarse: Coarse, queries: Floats) -> Iterator[Figure]:
    counts = np.ones(len(coarse.centroids), dtype=np.int64)
    found, times, times_flat = 0, [], []
    flat = Coarse.flat(coarse.centroids)
    with threadpool_limits(1, user_api="blas"):
        for query in queries:
            (near, _), spent = _timed(partial(coarse.nearest, query, counts, NEAREST))
            (true, _), spent_flat = _timed(partial(flat.nearest, query, counts, NEAREST))
            found += len(set(near.tolist()) & set(true.tolist()))
            times.append(spent)
            times_flat.append(spent_flat)
    yield Figure(f"{head}: nearest {NEAREST} lists found", round(found / NEAREST / len(queries), 4), "")
    said = f"all lists: {median(times_flat):.2f}"
    yield Figure(f"{head}: ranking {NEAREST} lists", round(median(times), 3), "ms", peer=said)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and its milliseconds."""
    started = time.perf_counter()
    found = call()
    return found, (time.perf_counter() - started) * 1e3
