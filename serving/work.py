"""A request on its way: what was asked, in which form, and how long each stage took."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt

from serving.filters import FilterSet
from serving.models import RELEVANCE, SearchRequest

KEY_CHARS = 32
"""Hex digits of a request key: 128 bits."""


class Stopwatch:
    """Milliseconds of named stages."""

    def __init__(self) -> None:
        """Start."""
        self._started = time.perf_counter()
        self.stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + (time.perf_counter() - begun) * 1_000

    def total(self) -> float:
        """Milliseconds since the start."""
        return (time.perf_counter() - self._started) * 1_000


@dataclass(frozen=True, slots=True)
class Work:
    """A parsed request. `key` names everything that decides the order of the result.

    `seeds` and `opposites` map the ids of `similar_to` and `dissimilar_to` to rows.
    """

    request: SearchRequest
    filters: FilterSet
    key: str
    offset: int
    day: date
    seeds: Mapping[str, int] = field(default_factory=dict)
    opposites: Mapping[str, int] = field(default_factory=dict)
    vector: npt.NDArray[np.float32] | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def is_compared(self) -> bool:
        """There is something to be similar to."""
        return bool(self.request.text or self.seeds) or self.vector is not None

    @property
    def is_by_metric(self) -> bool:
        """The caller chose another order than relevance."""
        return self.request.sort.by != RELEVANCE


def request_key(request: SearchRequest, filters: FilterSet, vector: npt.NDArray[np.float32] | None) -> str:
    """Hash of what decides the order of the result; page size and explanation do not."""
    parts = [
        filters.key,
        request.text,
        sorted(set(request.similar_to)),
        sorted(set(request.dissimilar_to)),
        request.domain,
        request.weights.model_dump(),
        request.sort.model_dump(),
        None if vector is None else hashlib.sha256(vector.tobytes()).hexdigest(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:KEY_CHARS]
