"""What single choices of the index cost and bring: lengths of codes, and lists in two levels. On the vectors of the benchmark.

`PART=parts SIZES=1000000 make bench-search`, after the index of that size was built. One thread; medians.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from benchmarks.peers.protocol import Corpus
from benchmarks.report import Figure
from index_build.coarse import ASSIGN_GROUPS, Coarse, Ranking, train_coarse
from index_build.codes import add_coded, learnt_codes, packed, scan
from index_build.probe import ShardIndex, open_coarse
from index_build.spec import IndexSpec
from index_build.train import one_thread
from index_build.verify import read_manifest

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

QUERIES = 100
SCANNED = 65_536
"""Rows in the lists that are scanned, about what a query without a filter takes at a million rows."""
FIRST = 320
"""Candidates among which the best ten are looked for."""
PARTS = (96, 64, 48)
"""Sub-quantizers of 384 dimensions: four, six and eight dimensions each."""
TRAINED = 65_536
LISTS, LEARNT, ASSIGNED = 16_384, 524_288, 32_768
"""Lists in two levels, rows that they are learnt from, rows that are assigned."""
NEAREST = (100, 1_000)
"""Nearest lists that ranking must find."""


def parts(rows: int, corpus: Corpus, snapshot: Path) -> Iterator[Figure]:
    """Figures of a built index."""
    manifest = read_manifest(snapshot)
    coarse = open_coarse(snapshot, manifest)
    shard = ShardIndex.open(snapshot, manifest, manifest.shards[0], coarse=coarse)
    queries = corpus.queries()[:QUERIES]
    with one_thread(), threadpool_limits(1, user_api="blas"):
        yield from _codes(rows, shard, queries)
    yield from _two_levels(rows, corpus, queries)


def _codes(rows: int, shard: ShardIndex, queries: Floats) -> Iterator[Figure]:
    """Recall and time of codes of several lengths, of rows and of their differences from centroids, in the same lists."""
    for count, of_what in product(PARTS, ("differences", "rows")):
        index = _coded(shard, count, of_differences=of_what == "differences")
        hits, times = 0, []
        for query in queries:
            lists = shard.ranking(query, None).until(SCANNED)
            inside = np.concatenate([np.arange(*shard.lists[number : number + 2]) for number in lists])
            best = set(shard.exact(query, inside, k=10).row_ids.tolist())
            near = shard.require_coarse().similarities(query, lists) * (of_what == "differences")
            (found, _), spent = _timed(partial(scan, index, query, lists, near, k=FIRST))
            hits += len(best & set(found.tolist()))
            times.append(spent)
        head = f"parts {rows:,} codes of {count} parts of {of_what}"
        yield Figure(f"{head}: best ten among the first {FIRST}", round(hits / 10 / len(queries), 4), "")
        if of_what == "differences":
            yield Figure(f"{head}: scan of {SCANNED:,}", round(median(times), 3), "ms")


def _coded(shard: ShardIndex, count: int, *, of_differences: bool) -> faiss.IndexIVFPQFastScan:
    """Codes of `count` parts of all rows, in their lists."""
    owners = np.repeat(np.arange(len(shard.list_sizes)), shard.list_sizes).astype(np.int64)

    def coded(row_ids: Ints) -> Floats:
        vectors = shard.refine.vectors(row_ids)
        return shard.require_coarse().differences(vectors, owners[row_ids]) if of_differences else vectors

    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(shard.rows, min(TRAINED, shard.rows), replace=False))
    index = learnt_codes(coded(sample), lists_count=len(shard.list_sizes), parts=count)
    for start in range(0, shard.rows, TRAINED):
        row_ids = np.arange(start, min(start + TRAINED, shard.rows))
        add_coded(index, coded(row_ids), row_ids, np.ascontiguousarray(owners[row_ids]))
    return packed(index)


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
    lost = np.einsum("ij,ij->i", some, coarse.centroids[exact] - coarse.centroids[lists]).mean()
    yield Figure(f"{head}: cosine lost by {ASSIGN_GROUPS} groups", round(float(lost), 5), "")
    yield Figure(
        f"{head}: rows assigned",
        round(len(some) / spent * 1e3),
        "/s",
        peer=f"all lists: {len(some) / spent_flat * 1e3:,.0f}",
    )
    yield from _ranking(head, coarse, queries)


def _ranking(head: str, coarse: Coarse, queries: Floats) -> Iterator[Figure]:
    """How many of the nearest lists codes rank among the first."""
    counts = np.ones(len(coarse.centroids), dtype=np.int64)
    flat = Coarse.flat(coarse.centroids)
    with threadpool_limits(1, user_api="blas"):
        for wanted in NEAREST:
            found, times, times_flat = 0, [], []
            for query in queries:
                near, spent = _timed(partial(Ranking(coarse, query, counts).until, wanted))
                true, spent_flat = _timed(partial(Ranking(flat, query, counts).until, wanted))
                found += len(set(near.tolist()) & set(true.tolist()))
                times.append(spent)
                times_flat.append(spent_flat)
            yield Figure(f"{head}: nearest {wanted} lists found", round(found / wanted / len(queries), 4), "")
            said = f"all lists: {median(times_flat):.2f}"
            yield Figure(f"{head}: ranking {wanted} lists", round(median(times), 3), "ms", peer=said)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and its milliseconds."""
    started = time.perf_counter()
    found = call()
    return found, (time.perf_counter() - started) * 1e3
