"""F16: the disk is full. The run ends in one sentence, what is served stays, and the next run, with room, completes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import WORLD, Home

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(1200)]
DISK_BYTES, LEFT_BYTES = 256 << 20, 300 << 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own and of fixed size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_f16_a_full_disk_ends_in_a_sentence_and_a_rerun_completes(disk: Path):
    home = Home(disk, str(disk / "lake"), WORLD | {"CREATORLAKE_SIMULATE_CREATORS": "60"})
    assert home.run("run", "--no-serve").returncode == 0
    served = home.object("snapshots/CURRENT")
    before = home.rows("gold_creator__profiles")
    shutil.rmtree(disk / "lake" / "delta" / "gold_creator__profiles")
    filler = disk / "filler"
    filler.write_bytes(b"\0" * (shutil.disk_usage(disk).free - LEFT_BYTES))
    full = home.run("run", "--no-serve")
    assert full.returncode == 1
    assert "the disk is full" in full.stderr
    assert full.stderr.strip().count("\n") <= 3
    assert home.object("snapshots/CURRENT") == served
    filler.unlink()
    done = home.run("run", "--no-serve")
    assert done.returncode == 0, done.stdout + done.stderr
    assert home.rows("gold_creator__profiles") == before
