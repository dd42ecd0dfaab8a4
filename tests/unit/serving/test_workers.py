"""Several processes that answer as one service: the same tables, metrics that count together, an end that leaves none behind."""

from __future__ import annotations

import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from obstore.store import LocalStore
from serving_factories import FEW_QUERIES

from index_build.build import build_from
from index_build.export import open_files
from index_build.publish import publish, read_current
from index_build.spec import IndexSpec
from index_build.verify import verify_folder
from lakehouse.contracts.layout import Layout
from lakehouse.storage.objects import ObjectStore
from serving.asgi import create
from serving.snapshot import LakeSource
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


def workers_below(pid: int) -> list[psutil.Process]:
    """Processes that answer; what other tests left to be waited for is none."""
    below = [one for one in psutil.Process(pid).children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]
    return [process for process in below if "multiprocessing.spawn" in " ".join(process.cmdline())]


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait a minute at most."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_two_processes_answer_and_count_together(home: Home) -> None:
    with served(home) as base:
        workers = workers_below(os.getpid())
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


def test_workers_end_with_the_process_that_started_them(home: Home) -> None:
    with served(home):
        workers = workers_below(os.getpid())
        parent = psutil.Process(workers[0].ppid())
        parent.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(process.is_running() for process in workers))


def test_the_other_entry_point_knows_one_process(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in home.environment().items():
        monkeypatch.setenv(name, value)
    app = create()
    assert b"creatorlake_snapshot_refused" in app.state.service.telemetry.text()


def test_a_remote_snapshot_is_fetched_once_for_all(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot_id = read_current(home.objects).snapshot_id
    remote = ObjectStore(Layout("s3://bucket"), LocalStore(home.lake))
    download, fetched = ObjectStore.download, []

    def slow(self: ObjectStore, key: str, target: Path, *, sha256: str | None = None) -> None:
        fetched.append(key)
        time.sleep(0.05)
        download(self, key, target, sha256=sha256)

    monkeypatch.setattr(ObjectStore, "download", slow)
    with ThreadPoolExecutor(2) as pool:
        sources = [LakeSource(remote, tmp_path / "cache") for _ in range(2)]
        folders = list(pool.map(lambda source: source.fetch(snapshot_id), sources))
    assert len(set(folders)) == 1
    assert sorted(fetched) == sorted(set(fetched))
    assert verify_folder(folders[0]).snapshot_id == snapshot_id
