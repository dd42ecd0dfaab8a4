"""Fixtures for all tests: settings on a temporary home, one Spark session for the whole run, the real data if present."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # beside others: threads that spin while they wait would take their cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import pytest
from xdist.scheduler import LoadScopeScheduling

from lakehouse.settings import Settings, cores, load_settings
from lakehouse.storage.lake import Lake
from tests.s3_backends import MINISTACK, S3Backend, running
from tests.support import NO_RETENTION, SHORT_JVM

DATA_VARIABLE = "CREATORLAKE_TEST_DATA"
E2E = "tests/e2e"
DEFAULT_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


WORKER_GIB = 6
"""Memory of one process of tests: a JVM, the encoder, a run of the main job."""
MOST_WORKERS = 4


def pytest_xdist_auto_num_workers() -> int:
    """Processes of tests for `-n auto`: as many as cores and memory carry; 0 runs the tests in this one."""
    memory = psutil.virtual_memory().total >> 30
    found = min(cores(), memory // WORKER_GIB, MOST_WORKERS)
    return found if found > 1 else 0


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]  (pytest-xdist is untyped)
    """Tests of one file stay together, and so do those of the main job: they share what is dear to build."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return E2E if file.startswith(f"{E2E}/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """How `-n` shares the tests out: by `_ByFile`. (pytest-xdist 3.8 ignores its groups under pytest 9.2: its issue 1386.)"""
    return _ByFile(config, log)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with real creator files; tests that need it skip where it is absent."""
    folder = Path(os.environ.get(DATA_VARIABLE, DEFAULT_DATA))
    if not (folder / "creators").is_dir():
        pytest.skip(f"no real data: set {DATA_VARIABLE} to a folder with creators/ and identity/")
    return folder


@pytest.fixture(scope="session")
def _no_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("no-home")


@pytest.fixture(autouse=True)
def _own_environment(_no_home: Path) -> Iterator[None]:
    """No test works on the lake of the caller's last run, and none leaves a variable to the next."""
    with patch.dict(os.environ, {"CREATORLAKE_HOME": str(_no_home)}):
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a lake in a temporary folder; nothing from the caller's environment matters but the Spark jars."""
    return load_settings(home=tmp_path / "home", lake=str(tmp_path / "lake"), email_pepper="test-pepper")


@pytest.fixture(scope="session")
def spark_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home of the session's Spark: its scratch folders must outlive any single test."""
    return tmp_path_factory.mktemp("spark-home")


@pytest.fixture(scope="session")
def _spark(spark_home: Path) -> Iterator[None]:
    lake = Lake(load_settings(home=spark_home, spark_driver_memory="2g"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SHORT_JVM.items():
            patch.setenv(name, value)
        _ = lake.spark
    yield
    lake.spark.stop()


@pytest.fixture
def lake(_spark: None, settings: Settings, spark_home: Path) -> Lake:
    """An empty lake of its own on the session's Spark."""
    return Lake(settings.model_copy(update={"home": spark_home}))


@pytest.fixture
def no_retention(lake: Lake) -> Iterator[None]:
    """Lets VACUUM remove what was written a moment ago; outside tests the check is never taken away."""
    for name, value in NO_RETENTION.items():
        lake.spark.conf.set(name, value)
    yield
    for name in NO_RETENTION:
        lake.spark.conf.unset(name)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Backend]:
    """The S3 server of most tests, in memory; the suite stops if it overwrites on conditional create."""
    if not MINISTACK.exists():
        pytest.skip("no S3 emulator: run `make test`, which installs it")
    yield from _backend("ministack", tmp_path_factory)


@pytest.fixture(scope="session", params=["ministack", "moto", pytest.param("seaweedfs", marks=pytest.mark.s3_real)])
def any_s3(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Backend]:
    """Each S3 server in turn."""
    known = {"ministack": "s3", "seaweedfs": "s3_real"}
    if request.param in known:
        yield request.getfixturevalue(known[request.param])
    else:
        yield from _backend(request.param, tmp_path_factory)


@pytest.fixture(scope="session")
def s3_real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Backend]:
    """The S3 server that keeps its objects on disk and checks credentials."""
    yield from _backend("seaweedfs", tmp_path_factory)


def _backend(name: str, folders: pytest.TempPathFactory) -> Iterator[S3Backend]:
    server = running(name, folders.mktemp(name))
    try:
        backend = server.__enter__()
    except AssertionError as error:
        pytest.exit(f"Nothing can be proven on this S3 server: {error}", returncode=1)
    with ExitStack() as stack:
        stack.push(server)
        yield backend
