"""Stored rows: what the first byte of a dimension may leave out, for vectors that are unlike those of an encoder."""

from __future__ import annotations

import numpy as np

from index_build.refine import RefineRows, fit_scale
from index_build.train import SCALE_ROOM


def test_sparse_rows_are_not_ranked_by_how_their_zeros_are_rounded():
    rng = np.random.default_rng(0)
    vectors = rng.random((20_000, 384)) * (rng.random((20_000, 384)) < 0.03) + 1e-6  # zeros but for noise
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    refine, every = RefineRows.of(vectors, fit_scale(vectors, room=SCALE_ROOM)), np.arange(len(vectors))
    for query in rng.random((5, 384)).astype(np.float32):
        rough, similarities = refine.rough(query, every), refine.similarities(query, every)
        assert np.ptp(rough - similarities) < refine.slack(query)
        _, found = refine.best(query, every, k=10)
        assert np.sort(found)[-10:].tolist() == np.sort(similarities)[-10:].tolist()
