"""The encoder that made a snapshot's vectors, for queries: found by model id, loaded on first use, answers remembered."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from index_build.manifest import Manifest
from lakehouse.contracts.taxonomy import NICHES
from lakehouse.encoder import MINILM, USE_MULTILINGUAL, Encoder, model_id_of
from lakehouse.errors import ContractError, SettingsError

Vector = npt.NDArray[np.float32]

QUERIES_CACHED = 4_096
"""Query vectors that are kept: 8 MB at 512 dimensions."""

ENCODER_THREADS = 1
"""One query is too short to divide: on a busy machine two BLAS threads wait for each other, 350 ms instead of 4."""

TEMPERATURE = 0.05
"""Cosine difference that changes the odds of a niche by e; the same as in the pipeline's tagger."""

TOP_FLOOR, FLOOR = 0.2, 0.15
"""A query is about a niche from this probability on: for the best one, and for further ones."""


class QueryEncoder:
    """One encoder, loaded when first needed. Thread-safe: queries are encoded one at a time."""

    def __init__(self, load: Callable[[], Encoder], *, dimensions: int) -> None:
        """Wrap a loader; `dimensions` are those of the snapshot."""
        self._load = load
        self._dimensions = dimensions
        self._lock = threading.Lock()
        self._encoder: Encoder | None = None
        self._prototypes: tuple[tuple[str, ...], Vector] | None = None
        self.vector = lru_cache(maxsize=QUERIES_CACHED)(self._vector)

    def warm(self) -> None:
        """Load now, so that the first query does not wait."""
        self.vector("warm")
        self.niches("warm")

    def niches(self, text: str) -> dict[str, float]:
        """Niches that a query is about, the best one at 1; empty when it is about none in particular."""
        codes, prototypes = self._niche_prototypes()
        logits = (prototypes @ self.vector(text)).astype(np.float64) / TEMPERATURE
        scores = np.exp(logits - logits.max())
        scores /= scores.sum()
        best = float(scores.max())
        if best < TOP_FLOOR:
            return {}
        return {code: float(score / best) for code, score in zip(codes, scores, strict=True) if score >= FLOOR}

    def _vector(self, text: str) -> Vector:
        with self._lock:
            vector: Vector = self._loaded().encode([text])[0]
        return vector

    def _niche_prototypes(self) -> tuple[tuple[str, ...], Vector]:
        with self._lock:
            if self._prototypes is None:
                self._prototypes = niche_prototypes(self._loaded())
            return self._prototypes

    def _loaded(self) -> Encoder:
        if self._encoder is None:
            encoder = self._load()
            if encoder.dimensions != self._dimensions:
                raise ContractError(
                    f"The encoder {encoder.model_id} makes {encoder.dimensions} dimensions, the snapshot has {self._dimensions}."
                )
            self._encoder = encoder
        return self._encoder


def niche_prototypes(encoder: Encoder) -> tuple[tuple[str, ...], Vector]:
    """Codes and unit vectors (niches, d): the mean of a niche's phrases."""
    told = [niche for niche in NICHES if any(niche.prototypes)]
    phrases = encoder.encode([phrase for niche in told for phrase in niche.prototypes])
    ends = np.cumsum([len(niche.prototypes) for niche in told])[:-1]
    means = np.stack([part.mean(axis=0) for part in np.split(phrases, ends)])
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    return tuple(niche.code for niche in told), unit.astype(np.float32)


def encoder_for(manifest: Manifest, *, preferred: str, device: str) -> QueryEncoder | None:
    """The encoder of a snapshot's vectors.

    A snapshot that states no model gets the preferred one where the dimensions fit, else none: it is then searched by
    seeds, filters and given vectors.

    Raises:
        ContractError: the stated model is not installed here.
    """
    dimensions = manifest.shape.dimensions
    for model in dict.fromkeys((preferred, USE_MULTILINGUAL, MINILM)):
        if manifest.model_id and _id_or_none(model) == manifest.model_id:
            return QueryEncoder(lambda chosen=model: _load(chosen, device), dimensions=dimensions)  # type: ignore[misc]
    if manifest.model_id:
        raise ContractError(
            f"Snapshot {manifest.snapshot_id} was encoded by {manifest.model_id}, which is not installed; "
            "set CREATORLAKE_ENCODER_MODEL to its folder."
        )
    fits = _dimensions_or_none(preferred, device) == dimensions
    return QueryEncoder(lambda: _load(preferred, device), dimensions=dimensions) if fits else None


@lru_cache(maxsize=4)
def _load(model: str, device: str) -> Encoder:
    """One loaded copy a process, shared by old and new snapshots."""
    return Encoder.load(model, device=device, threads=ENCODER_THREADS)


@lru_cache(maxsize=8)
def _id_or_none(model: str) -> str | None:
    try:
        return model_id_of(model)
    except SettingsError:
        return None


def _dimensions_or_none(model: str, device: str) -> int | None:
    try:
        return _load(model, device).dimensions
    except SettingsError:
        return None
