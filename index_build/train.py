"""Learns what all shards share: the coarse quantizer, the 4-bit codebook and the scale of stored bytes.

k-means runs on a GPU where one is there; codes are packed on the CPU, since fast-scan has no GPU form. One sample and
one seed give the same result.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import faiss
import numpy as np

from index_build.coarse import Coarse, train_coarse
from index_build.codes import learnt_codes
from index_build.manifest import IndexShape
from index_build.refine import FloatArray, fit_scale
from index_build.spec import IndexSpec, subquantizers_count
from lakehouse.errors import SettingsError

CODE_TRAIN_ROWS = 65_536
"""Rows that the codebook is learnt from: sixteen codes a sub-quantizer need no more."""

SCALE_ROOM = 0.25
"""Of the range of a dimension, on either side: vectors of a night on other topics clip less, and what it takes of two bytes is half a bit."""

LEAST_CLOSENESS = 0.1
"""Of rows to their centroids, where they have nothing in common: it divides."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What every shard is encoded with. Flat snapshots have neither coarse quantizer nor template nor `scale` of stored bytes."""

    shape: IndexShape
    coarse: Coarse | None = None
    template: faiss.IndexIVFPQ | None = None
    scale: FloatArray | None = None


def require_one_faiss() -> None:
    """Refuse an environment that holds faiss-cpu beside faiss-gpu: both own the module, one overwrites the other.

    Raises:
        SettingsError: both are installed.
    """
    found = faiss_distributions()
    if len(found) > 1:
        raise SettingsError(f"{' and '.join(found)} are installed together and overwrite each other; keep one of them.")


@cache
def faiss_distributions() -> tuple[str, ...]:
    """Installed packages that bring FAISS; looked for once a process, since all metadata are read for it."""
    names = {(dist.metadata["Name"] or "").lower() for dist in importlib.metadata.distributions()}
    return tuple(sorted(name for name in names if name.startswith("faiss-")))


def train(sample: FloatArray, *, rows: int, spec: IndexSpec) -> Trained:
    """Train on `sample` (n, d) for a corpus of `rows` rows."""
    dimensions = sample.shape[1]
    if spec.kind(rows) == "flat":
        return Trained(IndexShape(kind="flat", dimensions=dimensions, lists_count=1, refine="f16"))
    lists_count = min(spec.lists_count(rows), len(sample))
    coarse = train_coarse(sample, lists_count, iterations=spec.kmeans_iterations, seed=spec.seed, on_gpu=has_gpu())
    some = sample[:CODE_TRAIN_ROWS]
    lists = coarse.assign(some)
    shape = IndexShape(
        kind="ivf",
        dimensions=dimensions,
        lists_count=lists_count,
        closeness=_closeness(some, coarse.centroids[lists]),
        subquantizers_count=subquantizers_count(dimensions),
        refine="sq16",
    )
    codes = learnt_codes(coarse.differences(some, lists), lists_count=lists_count, parts=shape.subquantizers_count)
    return Trained(shape, coarse, codes, fit_scale(sample, room=SCALE_ROOM))


def _closeness(rows: FloatArray, centroids: FloatArray) -> float:
    """Mean cosine of rows (n, d) with their centroids (n, d), in hundredths."""
    return round(max(LEAST_CLOSENESS, float(np.einsum("nd,nd->n", rows, centroids).mean())), 2)


@contextmanager
def one_thread() -> Iterator[None]:
    """FAISS on one thread: for single queries, as serving runs them."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def has_gpu() -> bool:
    """Whether FAISS can use a GPU here."""
    return bool(faiss.get_num_gpus() > 0)
