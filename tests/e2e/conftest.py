"""One small synthetic world, brought into a folder by the real command line: killed half-way, then run again."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import pytest

from tests.support import WORLD, Home

HALF_WAY = "progress/silver_core__posts.json"
"""Written by the step in the middle of the pipeline."""
HALF_WAY_SECONDS = 300
TIMEOUT_SECONDS = 1500
"""For the first test that asks for the world, which waits for two runs, and for one that adds its own; busy machines take three times as long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of this folder may take longer than others."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Home of a finished default run that was killed half-way and started again; tests must not change it."""
    path = tmp_path_factory.mktemp("world")
    home = Home(path, str(path / "lake"), dict(WORLD))
    _kill_half_way(home)
    assert not (path / "lake" / "snapshots" / "CURRENT").exists()
    done = home.run("run", "--no-serve")
    assert done.returncode == 0, done.stdout + done.stderr
    return home


def _kill_half_way(home: Home) -> None:
    marker = Path(home.lake) / HALF_WAY
    deadline = time.monotonic() + HALF_WAY_SECONDS
    with tempfile.TemporaryFile("w+") as output:
        process = home.start("run", "--no-serve", output=output)
        while not marker.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        is_half_way = marker.exists() and process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        output.seek(0)
        assert is_half_way, output.read()
