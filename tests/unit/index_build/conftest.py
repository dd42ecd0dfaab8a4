"""Small clustered worlds as export folders, and snapshots built of them once a session."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_build.build import build_snapshot
from index_build.manifest import Manifest
from index_build.spec import IndexSpec
from lakehouse.settings import load_settings
from lakehouse.storage.objects import ObjectStore

IVF_SPEC = IndexSpec(flat_max_rows=1_000, shard_max_rows=12_000, queries_per_cell=16)
FLAT_SPEC = IndexSpec(queries_per_cell=16)
FEW_LISTS = 64


def clustered(rows: int, dimensions: int, *, seed: int) -> npt.NDArray[np.float32]:
    """Unit vectors around clusters of clusters, as text embeddings are; never uniform."""
    rng = np.random.default_rng(seed)
    topics = rng.normal(size=(8, dimensions))
    centres = topics[rng.integers(0, 8, 60)] + 0.8 * rng.normal(size=(60, dimensions))
    points = centres[rng.integers(0, 60, rows)] + 0.5 * rng.normal(size=(rows, dimensions))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def write_export(
    folder: Path, *, rows: int, dimensions: int = 32, seed: int = 0, order: npt.NDArray[np.int64] | None = None
) -> Path:
    """Export folder with vectors inside the docs, in two files, and one side table; `order` permutes the rows."""
    vectors = clustered(rows, dimensions, seed=seed)
    order = np.arange(rows) if order is None else order
    table = pa.table(
        {
            "creator_id": [f"c{number:06d}" for number in range(rows)],
            "followers_total_count": np.arange(rows) * 10,
            "platforms": [["x"], ["tiktok", "x"]] * (rows // 2) + [["x"]] * (rows % 2),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dimensions).cast(
                pa.list_(pa.float32())
            ),
        }
    ).take(pa.array(order))
    for name in ("docs", "accounts"):
        (folder / name).mkdir(parents=True)
    pq.write_table(table.slice(0, rows // 2), folder / "docs" / "part-0.parquet")
    pq.write_table(table.slice(rows // 2), folder / "docs" / "part-1.parquet")
    pq.write_table(pa.table({"creator_id": ["c000000"]}), folder / "accounts" / "part-0.parquet")
    info = {
        "export_id": f"e{seed + 1}",
        "model_id": "test",
        "dimensions": dimensions,
        "source_tables": {"gold": 3},
        "rows": {},
    }
    (folder / "export.json").write_text(json.dumps(info))
    return folder


@dataclass(frozen=True)
class Built:
    """A snapshot folder, its manifest and the vectors it was made of (row i belongs to creator c{i:06d})."""

    folder: Path
    manifest: Manifest
    export: Path
    vectors: npt.NDArray[np.float32]


def build(folder: Path, spec: IndexSpec, *, rows: int, seed: int = 0) -> Built:
    export = write_export(folder / "export", rows=rows, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("index_build.coarse.GROUPED_LISTS", FEW_LISTS)
        manifest = build_snapshot(export, folder / "snapshot", spec, log=lambda _line: None)
    return Built(folder / "snapshot", manifest, export, clustered(rows, 32, seed=seed))


@pytest.fixture(autouse=True)
def few_lists_are_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists in two levels with codes of their centroids from 64 on, so that small worlds have what large ones have."""
    monkeypatch.setattr("index_build.coarse.GROUPED_LISTS", FEW_LISTS)


@pytest.fixture(scope="session")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One flat shard of 500 rows."""
    return build(tmp_path_factory.mktemp("flat"), FLAT_SPEC, rows=500)


@pytest.fixture(scope="session")
def ivf(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Two IVF shards of about 10,000 rows."""
    return build(tmp_path_factory.mktemp("ivf"), IVF_SPEC, rows=20_000)


@pytest.fixture(params=["flat", "ivf"])
def built(request: pytest.FixtureRequest) -> Built:
    """A flat shard, two of IVF."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def copied(built: Built, tmp_path: Path) -> Built:
    """A copy that a test may damage."""
    shutil.copytree(built.folder, tmp_path / "copy")
    return Built(tmp_path / "copy", built.manifest, built.export, built.vectors)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """Objects of an empty local lake."""
    return ObjectStore.open(load_settings(home=tmp_path / "home", lake=str(tmp_path / "lake")))


@pytest.fixture
def make_snapshot(tmp_path: Path) -> Callable[[int], Path]:
    """Builds a small flat snapshot whose content depends on the seed."""

    def make(seed: int) -> Path:
        return build(tmp_path / f"seed-{seed}", FLAT_SPEC, rows=60, seed=seed).folder

    return make
