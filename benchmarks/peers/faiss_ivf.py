"""FAISS used plainly: inverted lists of 8-bit rows, a bitmap selector, and one number of probed lists for every query."""

from __future__ import annotations

import math
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from benchmarks.peers.protocol import FILTERED, TEXTS, Corpus, Filter, K, Vector

TRAINED_A_LIST = 64
ADDED_ROWS = 65_536


def build(corpus: Corpus, folder: Path) -> None:
    """Train and fill the index."""
    vectors, lists = corpus.vectors(), 1 << round(math.log2(2 * math.sqrt(corpus.rows)))
    index = faiss.index_factory(vectors.shape[1], f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    chosen = np.sort(np.random.default_rng(1).permutation(corpus.rows)[: lists * TRAINED_A_LIST])
    index.train(np.ascontiguousarray(vectors[chosen]))
    for start in range(0, corpus.rows, ADDED_ROWS):
        index.add(np.ascontiguousarray(vectors[start : start + ADDED_ROWS]))
    faiss.write_index(index, str(folder / "index.faiss"))


def open(corpus: Corpus, folder: Path) -> Ivf:  # noqa: A001
    """Open it."""
    return Ivf(corpus, folder / "index.faiss")


class Ivf:
    """An index and the filtered columns."""

    settings = (4, 8, 16, 32, 64, 128)
    """Lists that are probed."""
    is_fixed = True
    """What serves without a filter serves everywhere."""

    def __init__(self, corpus: Corpus, path: Path) -> None:
        """Read the index."""
        faiss.omp_set_num_threads(1)
        self._index = faiss.read_index(str(path))
        table = pq.read_table(corpus.folder / "docs.parquet", columns=list(FILTERED))
        self._columns = {
            name: table[name].to_numpy() if name not in TEXTS else np.asarray(table[name].to_pylist())
            for name in FILTERED
        }

    def prepare(self, clauses: Filter) -> npt.NDArray[np.uint8] | None:
        """A bitmap."""
        if not clauses:
            return None
        mask = np.logical_and.reduce([clause.passes(self._columns[clause.column]) for clause in clauses])
        return np.packbits(mask, bitorder="little")

    def search(self, vector: Vector, prepared: npt.NDArray[np.uint8] | None, setting: int) -> list[int]:
        """Rows in order."""
        selector = None
        if prepared is not None:
            selector = faiss.IDSelectorBitmap(8 * len(prepared), faiss.swig_ptr(prepared))
        chosen = faiss.SearchParametersIVF(nprobe=setting, sel=selector)
        found = self._index.search(vector[None, :], K, params=chosen)[1][0]
        return [int(row) for row in found if row >= 0]

    def pids(self) -> list[int]:
        """None."""
        return []

    def close(self) -> None:
        """Nothing."""
