"""What a build has finished, so that a killed one goes on from there: what was trained, each shard with its exact answers, the manifest.

All of it lies in the work folder of the build and is written beside its name and then renamed: what has its name is whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

from index_build.coarse import Coarse
from index_build.encode import EncodedShard, shard_files
from index_build.manifest import CENTROID_CODES, IndexShape, Manifest, parse_manifest
from index_build.queries import Best, Truth
from index_build.refine import FloatArray
from index_build.train import Trained

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Progress:
    """Records of one build in `work`, whose shards are under `draft`."""

    work: Path
    draft: Path

    def trained(self) -> tuple[Trained, FloatArray] | None:
        """What was trained, and the rows that queries are made of; None where it is not done."""
        folder = self.work / "trained"
        if not folder.exists():
            return None
        shape = IndexShape.model_validate_json((folder / "shape.json").read_bytes())
        with np.load(folder / "arrays.npz") as arrays:
            scale = np.asarray(arrays["scale"], np.float32) if "scale" in arrays else None
            sample = np.asarray(arrays["sample"], np.float32)
        if shape.kind == "flat":
            return Trained(shape, scale=scale), sample
        coarse = Coarse.open(folder, has_codes=(folder / CENTROID_CODES).exists())
        return Trained(shape, coarse, faiss.read_index(str(folder / "template.faiss")), scale), sample

    def put_trained(self, trained: Trained, sample: FloatArray) -> None:
        """Record it."""
        draft = self.work / "trained.draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        (draft / "shape.json").write_text(trained.shape.model_dump_json(), encoding="utf-8")
        arrays: Arrays = {"sample": sample}
        if trained.scale is not None:
            arrays["scale"] = trained.scale
        _save(draft / "arrays.npz", arrays)
        if trained.coarse is not None:
            trained.coarse.save(draft)
            faiss.write_index(trained.template, str(draft / "template.faiss"))
        draft.rename(self.work / "trained")

    def shard(self, number: int) -> EncodedShard | None:
        """A written shard, None where it is not done."""
        path = self._shard_path(number)
        if not path.exists():
            return None
        with np.load(path) as found:
            arrays = dict(found)
        shard = shard_files(
            self.draft,
            number,
            rows=int(arrays["rows"]),
            truths=_truths(arrays),
            stored_similarity=float(arrays["stored_similarity"]),
        )
        return shard if _sizes(shard) == arrays["sizes"].tolist() else None

    def put_shard(self, shard: EncodedShard) -> None:
        """Record it, once its files are on the disk."""
        path = self._shard_path(shard.shard)
        draft = path.with_suffix(".draft.npz")
        for file in shard.paths:
            _flush(file)
        numbers = {
            "rows": np.array(shard.rows),
            "stored_similarity": np.array(shard.stored_similarity),
            "sizes": np.array(_sizes(shard)),
        }
        _save(draft, _arrays(shard.truths) | numbers)
        draft.rename(path)

    def manifest(self) -> Manifest | None:
        """Manifest of the snapshot without its domains, None where it is not done or files of it are lacking."""
        path = self.work / "part.json"
        if not path.exists():
            return None
        manifest = parse_manifest(path.read_bytes())
        is_there = all(_size(self.draft / file.path) == file.size_bytes for file in manifest.files())
        return manifest if is_there else None

    def put_manifest(self, manifest: Manifest) -> None:
        """Record it."""
        draft = self.work / "part.draft"
        draft.write_bytes(manifest.to_json())
        draft.rename(self.work / "part.json")

    def _shard_path(self, number: int) -> Path:
        return self.work / f"shard-{number:04d}.npz"


def _sizes(shard: EncodedShard) -> list[int]:
    return [_size(path) for path in shard.paths]


def _size(path: Path) -> int:
    """Bytes of a file, -1 where it is not there."""
    return path.stat().st_size if path.is_file() else -1


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _save(path: Path, arrays: Arrays) -> None:
    np.savez(path, allow_pickle=False, **arrays)


def _arrays(truths: Sequence[Truth]) -> Arrays:
    """Exact answers as arrays: of each cell its matches and set of rows, and the best rows of all its queries one after the other."""
    arrays: Arrays = {"matches": np.array([truth.matches for truth in truths], np.int64)}
    for cell, truth in enumerate(truths):
        if truth.words is not None:
            arrays[f"words-{cell}"] = truth.words
        arrays[f"counts-{cell}"] = np.array([len(best.row_ids) for best in truth.best], np.int64)
        arrays[f"row_ids-{cell}"] = np.concatenate([np.empty(0, np.int64), *(best.row_ids for best in truth.best)])
        arrays[f"scores-{cell}"] = np.concatenate([np.empty(0, np.float32), *(best.scores for best in truth.best)])
    return arrays


def _truths(arrays: Arrays) -> tuple[Truth, ...]:
    return tuple(_truth(arrays, cell, int(matches)) for cell, matches in enumerate(arrays["matches"].tolist()))


def _truth(arrays: Arrays, cell: int, matches: int) -> Truth:
    cuts = np.cumsum(arrays[f"counts-{cell}"].astype(np.int64))[:-1]
    rows = np.split(arrays[f"row_ids-{cell}"].astype(np.int64), cuts)
    scores = np.split(arrays[f"scores-{cell}"].astype(np.float32), cuts)
    words = arrays.get(f"words-{cell}")
    best = tuple(Best(*each) for each in zip(rows, scores, strict=True))
    return Truth(None if words is None else words.astype(np.uint64), matches, best)
