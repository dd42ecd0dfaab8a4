"""F16: no more may be written. The run ends in one sentence, and the next one, with room, completes."""

from __future__ import annotations

import resource
import subprocess

import pytest

from tests.support import REPO, WORLD, Home

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(900)]
LIMIT_BYTES = 100_000
"""Files stay below this: landing objects pass, Spark's and the index's larger ones do not."""


def test_f16_a_full_disk_ends_in_a_sentence_and_a_rerun_completes(tmp_path):
    home = Home(tmp_path, str(tmp_path / "lake"), WORLD | {"CREATORLAKE_SIMULATE_CREATORS": "60"})
    assert home.run("run", "--no-serve").returncode == 0
    served = home.object("snapshots/CURRENT")
    (tmp_path / "lake" / "progress" / "index_snapshot.json").unlink()
    for file in (tmp_path / "lake" / "delta" / "gold_creator__profiles").rglob("*"):
        if file.is_file():
            file.unlink()
    full = subprocess.run(
        home.command("run", "--no-serve"),
        cwd=REPO,
        env=home.environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES)),
    )
    assert full.returncode == 1
    assert "the disk is full" in full.stderr
    assert full.stderr.strip().count("\n") <= 3
    assert home.object("snapshots/CURRENT") == served
    done = home.run("run", "--no-serve")
    assert done.returncode == 0, done.stdout + done.stderr
