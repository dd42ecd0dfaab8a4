"""The night after a full build: what renewing the snapshot costs, and what is found and how fast in it.

Of a corpus a share of rows goes, as many get another vector, as many come; every row has another number of followers.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from benchmarks.peers.protocol import Cell, Corpus, Truth, read_truth
from benchmarks.report import Figure
from benchmarks.search_data import SEED, Base, Ints, attributes, derived
from benchmarks.search_oracle import truths
from benchmarks.search_ours import Ours
from index_build.export import open_files
from index_build.renew import renew
from index_build.verify import read_manifest
from serving.search import Searcher

SHARE = 1 / 300
"""Of rows that go, that get another vector and that come: one in a hundred in all."""
QUERIES = 40
"""Of each cell."""
ROUNDS = 5
"""Times that the queries of a cell are asked for in each snapshot; the medians count."""
TOP = 0.95


def nights(rows: int, real: Base, folder: Path, snapshot: Path, full_seconds: float, scratch: Path) -> Iterator[Figure]:
    """Figures of one night.

    Args:
        rows: of the corpus.
        real: vectors that new rows are derived from.
        folder: of the corpus.
        snapshot: the full build.
        full_seconds: what that took.
        scratch: a folder for the night's own files.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    ids = write_night(Corpus(folder), real, scratch)
    night = Corpus(scratch)
    out, base = scratch / "snapshot", read_manifest(snapshot)
    export = open_files(scratch / "docs.parquet", scratch / "vectors.npy")
    started = time.perf_counter()
    manifest = renew(export, snapshot, base, out)
    seconds = time.perf_counter() - started
    if manifest is None:
        raise RuntimeError("the night was not renewed")
    written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    for entry in manifest.files():  # what publishing copies inside the store
        if not (out / entry.path).exists():
            (out / entry.path).hardlink_to(snapshot / entry.path)
    whole = sum(entry.size_bytes for entry in manifest.files())
    yield Figure(f"night {rows:,}: renewal", round(seconds, 1), "s", peer=f"full build {full_seconds:,.0f} s")
    yield Figure(f"night {rows:,}: renewal to full build", round(seconds / full_seconds, 3), "")
    yield Figure(f"night {rows:,}: written", round(written / 2**20), "MiB", peer=f"snapshot {whole / 2**20:,.0f} MiB")
    yield from _compared(rows, night, ids, snapshot, out, read_truth(folder / "truth.npz"))


def write_night(corpus: Corpus, real: Base, target: Path) -> Ints:
    """Write documents and vectors of the night; number in the id of each row."""
    rng = np.random.default_rng([SEED, 1])
    before, count = corpus.vectors(), round(corpus.rows * SHARE)
    gone, moved = np.split(rng.permutation(corpus.rows)[: 2 * count], 2)
    stays = np.setdiff1d(np.arange(corpus.rows), gone)
    fresh = derived(real.vectors, rng.integers(0, len(real.vectors), 2 * count), rng, keeps=np.zeros(2 * count, bool))
    out = np.lib.format.open_memmap(
        target / "vectors.npy", mode="w+", dtype=np.float32, shape=(len(stays) + count, before.shape[1])
    )
    out[: len(stays)] = before[stays]
    out[np.searchsorted(stays, moved)] = fresh[:count]
    out[len(stays) :] = fresh[count:]
    out.flush()
    docs = pq.read_table(corpus.folder / "docs.parquet").take(pa.array(stays))
    new = attributes(corpus.rows, rng.random(count), 0.0, rng).cast(docs.schema)
    column = "followers_max_count"
    changed = docs.set_column(
        docs.column_names.index(column), column, pa.array(docs[column].to_numpy() + 1, docs[column].type)
    )
    pq.write_table(pa.concat_tables([changed, new]), target / "docs.parquet")
    np.save(target / "queries.npy", corpus.queries())
    shutil.copyfile(corpus.folder / "cells.json", target / "cells.json")
    return np.concatenate([stays, np.arange(corpus.rows, corpus.rows + count)])


def _compared(
    rows: int, night: Corpus, ids: Ints, before: Path, after: Path, truth_before: list[Truth]
) -> Iterator[Figure]:
    """Recall in every cell, and how long a query takes, in the night and in the full build, asked for in turns."""
    cells = [_few(cell) for cell in night.cells()]
    old, new = (Ours(Searcher.open(folder)) for folder in (before, after))
    recalls: dict[str, float] = {}
    recalls_before: dict[str, float] = {}
    ratios = []
    for cell, truth, former in zip(cells, truths(night, cells), truth_before, strict=True):
        told = Truth(np.where(truth.accepted >= 0, ids[truth.accepted], -1), truth.possible)
        numbers = range(len(cell.query_of))
        recalls[cell.name] = told.score(_asked(new, night, cell)[0], numbers)[0]
        recalls_before[cell.name] = former.score(_asked(old, night, cell)[0], numbers)[0]
        with threadpool_limits(1, user_api="blas"):  # as the service does
            taken = [[_asked(engine, night, cell)[1] for engine in (old, new)] for _ in range(ROUNDS)]
        ratios.append(float(np.median([one[1] for one in taken]) / np.median([one[0] for one in taken])))
    for engine in (old, new):
        engine.close()
    name, least = min(recalls.items(), key=lambda one: one[1])
    yield Figure(f"night {rows:,}: least recall@10", round(least, 4), "", floor=TOP, peer=name)
    name, least = min(recalls_before.items(), key=lambda one: one[1])
    yield Figure(
        f"night {rows:,}: least recall@10 of the full build, by the same queries", round(least, 4), "", peer=name
    )
    worse = max(recalls_before[name] - recalls[name] for name in recalls)
    yield Figure(f"night {rows:,}: most that a cell lost of its recall", round(worse, 4), "")
    yield Figure(
        f"night {rows:,}: p50 to that of the full build, median of cells", round(float(np.median(ratios)), 3), ""
    )
    yield Figure(f"night {rows:,}: p50 to that of the full build, worst cell", round(max(ratios), 3), "")


def _few(cell: Cell) -> Cell:
    return replace(cell, filter_of=cell.filter_of[:QUERIES], query_of=cell.query_of[:QUERIES])


def _asked(engine: Ours, corpus: Corpus, cell: Cell) -> tuple[list[list[int]], float]:
    """Answers to a cell's queries, and the median seconds of one."""
    queries = corpus.queries()[list(cell.query_of)]
    filters = [engine.prepare(clauses) for clauses in cell.filters]
    answers, taken = [], []
    for query, number in zip(queries, cell.filter_of, strict=True):
        started = time.perf_counter()
        answers.append(engine.search(query, filters[number], 0))
        taken.append(time.perf_counter() - started)
    return answers, float(np.median(taken))
