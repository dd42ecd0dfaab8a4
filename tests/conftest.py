"""Fixtures for all tests: settings on a temporary home, one Spark session for the whole run, the real data if present."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.settings import Settings, load_settings
from lakehouse.storage.lake import Lake

DATA_VARIABLE = "CREATORLAKE_TEST_DATA"
DEFAULT_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with real creator files; tests that need it skip where it is absent."""
    folder = Path(os.environ.get(DATA_VARIABLE, DEFAULT_DATA))
    if not (folder / "creators").is_dir():
        pytest.skip(f"no real data: set {DATA_VARIABLE} to a folder with creators/ and identity/")
    return folder


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
    _ = lake.spark
    yield
    lake.spark.stop()


@pytest.fixture
def lake(_spark: None, settings: Settings, spark_home: Path) -> Lake:
    """An empty lake of its own on the session's Spark."""
    return Lake(settings.model_copy(update={"home": spark_home}))
