"""One small synthetic world, run once for the session through the real command line."""

from __future__ import annotations

import pytest

from tests.support import Home

CREATORS = "220"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Home of a finished default run over a small world; tests must not change it."""
    path = tmp_path_factory.mktemp("world")
    home = Home(path, str(path / "lake"), {"CREATORLAKE_SIMULATE_CREATORS": CREATORS})
    done = home.run("run", "--no-serve")
    assert done.returncode == 0, done.stdout + done.stderr
    return home
