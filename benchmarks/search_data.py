"""Corpora of the search benchmark: real texts as vectors, scaled up, with attributes. Writes files; measures nothing.

A corpus of more rows than texts is derived: x' = (x + s (y - z)) scaled to unit length, of three texts x, y, z. Two numbers
tell how an attribute relates to the vectors: `pick` is independent of them, `place` is the position of x in an order in which
neighbours mean alike, so that a range of it is a region. Both are in millionths.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.protocol import NUMBERS
from benchmarks.search_texts import real_texts
from lakehouse.encoder import MINILM, Encoder

FOLDER = Path(os.environ.get("CREATORLAKE_BENCH_FOLDER") or Path(__file__).parents[1] / ".creatorlake" / "bench")
"""Scratch folder: vectors, indexes, results of single engines. Not small: 8 GB for a million rows and all peers."""
TEXTS = 60_000
HELD_OUT = 2_000
"""Texts that are queries and in no corpus."""
SPREADS = (0.25, 0.5)
BLOCK_ROWS = 65_536
MILLION = 1_000_000
SEED = 20_261
LEAF = 2
"""Texts from which on their order is left as it is."""
TOPICS, REGIONS = 10, 20

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Base:
    """Real vectors: those of the corpora with the position of each in the order of meaning, and the held-out ones."""

    vectors: Floats
    order: Ints
    held_out: Floats
    sources: dict[str, int]

    @property
    def places(self) -> Ints:
        """Position of each text in the order of meaning."""
        ranks = np.empty(len(self.order), dtype=np.int64)
        ranks[self.order] = np.arange(len(self.order))
        return ranks


def base(folder: Path = FOLDER) -> Base:
    """Real vectors, encoded once and kept in the scratch folder."""
    path, about = folder / "base.npz", folder / "base.json"
    if not about.exists():
        folder.mkdir(parents=True, exist_ok=True)
        data = os.environ.get("CREATORLAKE_TEST_DATA")
        texts, sources = real_texts(TEXTS, Path(data) if data else None)
        vectors = Encoder.load(MINILM).encode(texts)
        np.savez(
            path, vectors=vectors[HELD_OUT:], held_out=vectors[:HELD_OUT], order=order_of_meaning(vectors[HELD_OUT:])
        )
        about.write_text(json.dumps(sources))
    with np.load(path) as stored:
        return Base(stored["vectors"], stored["order"], stored["held_out"], json.loads(about.read_text()))


def order_of_meaning(vectors: Floats) -> Ints:
    """Rows in an order in which any range is a region: halved along the main direction again and again."""
    done, open_parts = [], [np.arange(len(vectors))]
    while open_parts:
        rows = open_parts.pop()
        if len(rows) <= LEAF:
            done.append(rows)
            continue
        along = vectors[rows] @ main_direction(vectors[rows])
        ranked = rows[np.argsort(along, kind="stable")]
        open_parts += [ranked[len(rows) // 2 :], ranked[: len(rows) // 2]]
    return np.concatenate(done)


def main_direction(vectors: Floats, rounds: int = 6) -> Floats:
    """Direction of the largest variance, nearly."""
    centred = vectors - vectors.mean(axis=0)
    direction = centred[int(np.argmax(np.linalg.norm(centred, axis=1)))]
    for _ in range(rounds):
        direction = centred.T @ (centred @ direction)
        direction = direction / max(float(np.linalg.norm(direction)), 1e-12)
    return direction


def corpus(rows: int, folder: Path = FOLDER) -> Path:
    """Folder of a corpus with `vectors.npy` and `docs.parquet`, made where it is not there."""
    target = folder / f"corpus_{rows}"
    if not (target / "docs.parquet").exists():
        target.mkdir(parents=True, exist_ok=True)
        write_corpus(base(folder), rows, target)
    return target


def write_corpus(real: Base, rows: int, target: Path) -> None:
    """Write a corpus block by block, so that a large one is never whole in memory."""
    shape = (rows, real.vectors.shape[1])
    out = np.lib.format.open_memmap(target / "vectors.npy", mode="w+", dtype=np.float32, shape=shape)
    draft = target / "docs.parquet.draft"
    writer = None
    start = 0
    for vectors, table in blocks(real, rows):
        out[start : start + len(vectors)] = vectors
        writer = writer or pq.ParquetWriter(draft, table.schema)
        writer.write_table(table)
        start += len(vectors)
    out.flush()
    if writer is not None:
        writer.close()
    draft.replace(target / "docs.parquet")


def blocks(real: Base, rows: int) -> Iterator[tuple[Floats, pa.Table]]:
    """Vectors and attributes of a corpus, some rows at a time; the same ones each time."""
    for start in range(0, rows, BLOCK_ROWS):
        numbers = np.arange(start, min(start + BLOCK_ROWS, rows))
        rng = np.random.default_rng([SEED, start])
        of = numbers % len(real.vectors)
        vectors = derived(real.vectors, of, rng, keeps=numbers < len(real.vectors))
        yield vectors, attributes(start, real.places[of] / len(real.vectors), 1 / len(real.vectors), rng)


def derived(vectors: Floats, of: Ints, rng: np.random.Generator, *, keeps: npt.NDArray[np.bool_]) -> Floats:
    """Rows `of` moved by a difference of two others and scaled to unit length; those that it `keeps` as they are."""
    others = rng.integers(0, len(vectors), size=(2, len(of)))
    spread = rng.choice(np.asarray(SPREADS, dtype=np.float32), size=(len(of), 1))
    moved = vectors[of] + spread * (vectors[others[0]] - vectors[others[1]])
    moved /= np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-6)
    return np.where(keeps[:, None], vectors[of], moved).astype(np.float32)


def attributes(start: int, share: npt.NDArray[np.float64], step: float, rng: np.random.Generator) -> pa.Table:
    """Attributes of consecutive rows; `share` is the place of their texts, 0-1, and `step` what one text takes of it."""
    count = len(share)
    values = {name: rng.integers(0, MILLION, count) for name in ("pick", "size", "age")}
    values["place"] = np.minimum(((share + step * rng.random(count)) * MILLION).astype(np.int64), MILLION - 1)
    for name in ("pick", "place"):
        values |= {f"{name}_{parts}": values[name] // (MILLION // parts) for parts in (10, 100, 1_000, 10_000)}
    topics, regions = rng.integers(0, TOPICS, count), rng.integers(0, REGIONS, count)
    return pa.table(
        {
            "creator_id": [f"c{row:09d}" for row in range(start, start + count)],
            "topic": [f"topic{value}" for value in topics],
            "region": [f"region{value}" for value in regions],
            **{name: pa.array(values[name], pa.int32()) for name in NUMBERS},
            "followers_max_count": pa.array(np.exp(rng.normal(9.0, 2.0, count)), pa.int64(), safe=False),
            "quality_score": pa.array(rng.random(count)),
        }
    )
