"""Encoders behind sentence-transformers: slow to import, so apart from the unit tests."""

from __future__ import annotations

import numpy as np
import pytest

from lakehouse.encoder import Encoder, use_resources

pytestmark = pytest.mark.integration
TEXTS = ["football player", "soccer athlete", "makeup tutorial", ""]


def test_the_multilingual_module_works_behind_sentence_transformers(tmp_path):
    from sentence_transformers import SentenceTransformer

    from lakehouse.use_multilingual import UseMultilingual

    model = SentenceTransformer(modules=[UseMultilingual(use_resources())], device="cpu")
    vectors = model.encode(TEXTS, normalize_embeddings=True)
    assert np.abs(vectors - Encoder.load(device="cpu", threads=1).encode(TEXTS)).max() < 1e-5
    model[0].save(str(tmp_path))
    again = UseMultilingual.load(str(tmp_path))
    assert again.get_embedding_dimension() == model.get_embedding_dimension() == vectors.shape[1]


def test_minilm_loads_offline_and_knows_english():
    encoder = Encoder.load("minilm", device="cpu", threads=1)
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (4, encoder.dimensions) == (4, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
