"""Memory of a tree of processes: every program once, a fork that has not begun its own not at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from jobs.memory import GIB, PeakMemory, resident_bytes

HELD = 200 << 20
"""Bytes that a parent holds; a Python of its own takes a twentieth of it."""
FORKS = f"import os, sys\nheld = b'x' * {HELD}\nos.fork()\nprint(1, flush=True)\nsys.stdin.read()"
"""A program and a fork of it, both waiting."""
STARTS = (
    f"import subprocess, sys\nheld = b'x' * {HELD}\n"
    "own = \"import sys; held = b'y' * (100 << 20); print(1, flush=True); sys.stdin.read()\"\n"
    "subprocess.Popen([sys.executable, '-c', own])\nprint(1, flush=True)\nsys.stdin.read()"
)
"""A program and another one that it started, with half as much."""


@contextmanager
def _running(program: str) -> Iterator[psutil.Process]:
    """A program that has said twice that it waits."""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert [started.stdout.readline() for _ in range(2)] == [b"1\n"] * 2
        yield psutil.Process(started.pid)


@pytest.mark.parametrize(("program", "least", "most"), [(FORKS, 1.0, 1.3), (STARTS, 1.5, 1.9)])
def test_a_fork_is_its_parents_memory_and_a_program_has_its_own(program: str, least: float, most: float) -> None:
    with _running(program) as root:
        assert least * HELD < resident_bytes(root) < most * HELD


def test_the_peak_outlives_what_reached_it() -> None:
    with PeakMemory() as peak:
        subprocess.run([sys.executable, "-c", f"import time; held = b'x' * {HELD}; time.sleep(1.2)"], check=True)
    assert peak.gib * GIB > HELD + psutil.Process().memory_info().rss / 2
