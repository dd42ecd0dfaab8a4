"""The encoder: facts about its vectors that do not depend on the machine."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from lakehouse.encoder import BATCH_CHARS, USE_MODEL_ID, Encoder, _batches, model_id_of, use_resources
from lakehouse.errors import SettingsError


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load("use-multilingual", device="cpu", threads=1)


def test_rows_are_unit_float32_in_the_order_given(encoder):
    texts = ["a longer text about cooking pasta at home", "music", "music", ""]
    vectors = encoder.encode(texts)
    assert vectors.shape == (4, encoder.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors[1] == vectors[2]).all()
    assert np.allclose(vectors[0], encoder.encode(texts[:1])[0], atol=1e-5)


def test_batch_neighbours_do_not_change_a_vector(encoder):
    texts = [f"{'football ' * (i % 40)}player number {i}" for i in range(300)]
    together = encoder.encode(texts)
    alone = np.vstack([encoder.encode([text]) for text in texts[::37]])
    assert np.abs(together[::37] - alone).max() < 1e-5


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode([]).shape == (0, encoder.dimensions)


def test_similar_texts_are_closer(encoder):
    query, footballer, makeup, song = encoder.encode(
        [
            "football player",
            "Jo Kick. sports, soccer",
            "Ann Glow. beauty, makeup tutorials",
            "The Band. music, new single",
        ]
    )
    assert query @ footballer > max(query @ makeup, query @ song) + 0.2


@pytest.mark.parametrize("translated", ["jugador de fútbol", "サッカー選手", "футболист", "لاعب كرة قدم"])
def test_translations_are_close(encoder, translated):
    english, other, unrelated = encoder.encode(["football player", translated, "makeup tutorial"])
    assert english @ other > 0.6
    assert english @ other > english @ unrelated + 0.3


def test_torch_module_agrees_with_the_numpy_path(encoder):
    torch = pytest.importorskip("torch")
    from lakehouse.use_multilingual import UseMultilingual

    texts = ["", "vegan recipes", "ሰላም for all", "旅行が好きです", "x " * 600]
    module = UseMultilingual(use_resources()).eval()
    with torch.inference_mode():
        vectors = module(module.preprocess(texts))["sentence_embedding"].numpy()
    assert np.abs(vectors - encoder.encode(texts)).max() < 1e-5


def test_a_run_of_unknown_characters_is_one_token(encoder):
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=str(use_resources() / "sp.model"))
    ids = processor.encode("ሰላም", add_bos=True, add_eos=True)
    assert ids.count(processor.unk_id()) == 1
    one, many = encoder.encode(["ሰ", "ሰላም"])
    assert np.allclose(one, many, atol=1e-5)


def test_batches_hold_the_budget_and_every_text():
    texts = ["x" * n for n in (1, 10, BATCH_CHARS, BATCH_CHARS + 5, 3)]
    groups = _batches(texts)
    assert [text for group in groups for text in group] == texts
    assert all(len(group) == 1 or sum(map(len, group)) <= BATCH_CHARS for group in groups)


def test_model_ids(tmp_path):
    assert model_id_of("use-multilingual") == USE_MODEL_ID
    first = model_id_of("minilm")
    assert first.startswith("minilm/")
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "modules.json").write_text("[]")
    before = model_id_of(str(folder))
    (folder / "weights.bin").write_bytes(b"1")
    assert before.startswith("own/")
    assert before != model_id_of(str(folder))


@pytest.mark.parametrize(("model", "device"), [("no-such-model", "cpu"), ("use-multilingual", "tpu")])
def test_wrong_settings_are_one_sentence(model, device):
    with pytest.raises(SettingsError) as caught:
        Encoder.load(model, device=device)
    assert str(caught.value).endswith(".")


def test_import_is_cheap():
    code = "import sys, lakehouse.encoder; print(any(m in sys.modules for m in ('torch', 'transformers', 'pyspark')))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "False"
