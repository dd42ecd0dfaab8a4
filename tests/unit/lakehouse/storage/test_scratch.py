"""What a killed process leaves is removed by the next one; what a living one uses is not."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys

import pytest

from lakehouse.errors import TransientError
from lakehouse.storage.scratch import held, kept_folder, own_folder, passing_folder

PROGRAM = """
import sys, time
from pathlib import Path
from lakehouse.storage.scratch import own_folder
folder = own_folder(Path(sys.argv[1]))
(folder / "blocks").write_text("much")
print(folder, flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process with a folder, and that folder."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        yield process, tmp_path / process.stdout.readline().strip()
        process.kill()


def test_the_folder_of_a_living_process_stays_and_that_of_a_killed_one_goes(tmp_path, other):
    process, left = other
    own = own_folder(tmp_path)
    assert own == own_folder(tmp_path)
    assert (left / "blocks").read_text() == "much"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    second = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("60", "0"), str(tmp_path)], check=True, text=True, stdout=subprocess.PIPE
    )
    assert not left.exists()
    assert own.exists()
    assert second.stdout.strip()


def test_a_passing_folder_goes_with_its_use_even_after_an_error(tmp_path):
    def use():
        with passing_folder(tmp_path / "scratch") as folder:
            (folder / "blocks").write_text("much")
            raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError):
            use()
        assert not (tmp_path / "scratch").exists()


def test_a_kept_folder_stays_after_an_error_and_goes_when_all_is_well(tmp_path):
    parent = tmp_path / "kept"

    def interrupted():
        with kept_folder(parent, "one") as folder:
            (folder / "half").write_text("done")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with kept_folder(parent, "one") as folder:
        assert (folder / "half").read_text() == "done"
    assert not parent.exists()


def test_a_kept_folder_belongs_to_one_process_and_others_go(tmp_path):
    for name in ("one", "two"):
        with pytest.raises(KeyboardInterrupt), kept_folder(tmp_path, name):
            raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
    with kept_folder(tmp_path, "two"):
        with pytest.raises(TransientError, match="Another process works in"), kept_folder(tmp_path, "two"):
            pass
        with kept_folder(tmp_path, "three"):
            assert (tmp_path / "two").exists()
        assert (tmp_path / "two").exists()


def test_a_folder_that_goes_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    lock, swept = fcntl.flock, []

    def swept_first(handle, how):
        lock(handle, how)
        if not swept:
            swept.append(True)
            shutil.rmtree(tmp_path / "held")

    monkeypatch.setattr(fcntl, "flock", swept_first)
    with held(tmp_path / "held"):
        assert (tmp_path / "held" / "lock").exists()
        with pytest.raises(TransientError), held(tmp_path / "held"):
            pass
