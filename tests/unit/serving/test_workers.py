"""Several processes that answer as one service: the same tables, metrics that count together, an end that leaves none behind."""

from __future__ import annotations

import os
import re
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from serving_factories import FEW_QUERIES

from index_build.build import build_from
from index_build.export import open_files
from index_build.publish import publish
from index_build.spec import IndexSpec
from tests.support import Home, request, served

ASKED = 40


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A lake with a snapshot of somebody's own rows, which needs no encoder, and a service of two processes."""
    pq.write_table(pa.table({"creator_id": [f"c{number}" for number in range(20)]}), tmp_path / "docs.parquet")
    np.save(tmp_path / "vectors.npy", np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32))
    export = open_files(tmp_path / "docs.parquet", tmp_path / "vectors.npy")
    build_from(export, tmp_path / "snapshot", IndexSpec.model_validate(FEW_QUERIES), log=lambda _line: None)
    home = Home(tmp_path / "home", str(tmp_path / "lake"), {"CREATORLAKE_SERVE_WORKERS": "2"})
    publish(home.objects, tmp_path / "snapshot")
    return home


def test_two_processes_answer_and_count_together(home: Home) -> None:
    with served(home) as base:
        workers = [
            process
            for process in psutil.Process(os.getpid()).children(recursive=True)
            if "multiprocessing.spawn" in " ".join(process.cmdline())
        ]
        assert len(workers) == 2
        found = [request(f"{base}/v1/search", {"limit": 3}) for _ in range(ASKED)]
        assert {status for status, _ in found} == {200}
        assert len({tuple(hit["creator_id"] for hit in body["hits"]) for _, body in found}) == 1
        for _ in range(4):
            with urllib.request.urlopen(f"{base}/metrics", timeout=30) as answer:
                text = answer.read().decode()
            counted = re.findall(r'creatorlake_requests_total\{route="/v1/search",status="200"\} ([0-9.]+)', text)
            assert [float(value) for value in counted] == [ASKED]
            assert re.search(r'creatorlake_snapshot_rows\{snapshot="[0-9a-f]+"\} 20\.0', text)
            assert "creatorlake_snapshot_refused 0.0" in text
    assert not [process for process in workers if process.is_running()]
