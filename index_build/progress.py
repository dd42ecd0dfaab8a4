"""What a build has finished, so that a killed one goes on from there: what was trained, each shard with its exact answers, the manifest.

All of it lies in the work folder of the build and is written beside its name and then renamed: what has its name is whole. A build whose
shards are made in runs of their own shares what was trained, and shards, through the lake (`apart.py`).
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

from index_build.apart import TRAINED, Pieces, shard_key
from index_build.coarse import Coarse
from index_build.encode import EncodedShard, shard_files
from index_build.manifest import CENTROID_CODES, IndexShape, Manifest, parse_manifest
from index_build.queries import Best, Truth
from index_build.refine import FloatArray
from index_build.train import Trained
from lakehouse.errors import IntegrityError, NotFoundError, TransientError

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Progress:
    """Records of one build in `work`, whose shards are under `draft`; `pieces` are those of other runs of it."""

    work: Path
    draft: Path
    pieces: Pieces | None = None

    def trained(self) -> tuple[Trained, FloatArray] | None:
        """What was trained, and the rows that queries are made of; None where it is not done."""
        folder = self.work / TRAINED
        if not folder.exists() and not self._fetch_trained():
            return None
        shape = IndexShape.model_validate_json((folder / "shape.json").read_bytes())
        with np.load(folder / "arrays.npz") as arrays:
            scale = np.asarray(arrays["scale"], np.float32) if "scale" in arrays else None
            sample = np.asarray(arrays["sample"], np.float32)
        if shape.kind == "flat":
            return Trained(shape, scale=scale), sample
        coarse = Coarse.open(folder, has_codes=(folder / CENTROID_CODES).exists())
        return Trained(shape, coarse, faiss.read_index(str(folder / "template.faiss")), scale), sample

    def put_trained(self, trained: Trained, sample: FloatArray) -> tuple[Trained, FloatArray]:
        """Record it; what another run recorded before counts instead, and is returned then."""
        draft = self._draft(TRAINED)
        (draft / "shape.json").write_text(trained.shape.model_dump_json(), encoding="utf-8")
        arrays: Arrays = {"sample": sample}
        if trained.scale is not None:
            arrays["scale"] = trained.scale
        _save(draft / "arrays.npz", arrays)
        if trained.coarse is not None:
            trained.coarse.save(draft)
            faiss.write_index(trained.template, str(draft / "template.faiss"))
        if self.pieces is None or self.pieces.give(TRAINED, _files(draft)):
            draft.rename(self.work / TRAINED)
            return trained, sample
        theirs = self.trained()
        if theirs is None:
            raise TransientError("What the build was trained with was removed meanwhile; run it again.")
        return theirs

    def shard(self, number: int) -> EncodedShard | None:
        """A written shard, None where it is not done."""
        path = self._shard_path(number)
        if not path.exists() and not self._fetch_shard(number):
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

    def share(self, shard: EncodedShard) -> None:
        """Let other runs of the build have a recorded shard, unless they do."""
        if self.pieces is not None:
            files = (*shard.paths, self._shard_path(shard.shard))
            self.pieces.give(shard_key(shard.shard), {file.name: file for file in files})

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

    def _fetch_trained(self) -> bool:
        if self.pieces is None:
            return False
        draft = self._draft(TRAINED)
        if not self.pieces.fetch(TRAINED, draft):
            return False
        draft.rename(self.work / TRAINED)
        return True

    def _fetch_shard(self, number: int) -> bool:
        if self.pieces is None:
            return False
        draft = self._draft("shard")
        try:
            if not self.pieces.fetch(shard_key(number), draft):
                return False
        except (IntegrityError, NotFoundError):  # it is built again, here
            return False
        record = self._shard_path(number)
        target = shard_files(self.draft, number).docs.parent
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        fetched = (draft / record.name).rename(record.with_suffix(".draft.npz"))
        draft.rename(target)
        fetched.rename(record)
        return True

    def _draft(self, name: str) -> Path:
        """An empty folder for what gets its name when it is whole."""
        draft = self.work / f"{name}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        return draft


def _sizes(shard: EncodedShard) -> list[int]:
    return [_size(path) for path in shard.paths]


def _size(path: Path) -> int:
    """Bytes of a file, -1 where it is not there."""
    return path.stat().st_size if path.is_file() else -1


def _files(folder: Path) -> dict[str, Path]:
    """Files of a folder by their paths in it."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


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
