"""Memory of a tree of processes: every program counts, a fork that has not begun its own does not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import psutil

from jobs.memory import GIB, Image, PeakMemory, is_copy

HELD = 200 << 20
"""Bytes that a child holds."""
JVM = Image(1, ("java", "-cp", "spark.jar"), 8 * GIB, 4 * GIB)


def test_a_fork_is_its_parents_memory_until_it_begins_its_own_program() -> None:
    fork = replace(JVM, parent=2)
    assert is_copy(fork, JVM)
    assert is_copy(replace(fork, size=JVM.size + GIB // 64), JVM)
    assert not is_copy(replace(fork, command=("bash", "-c", "exec ls")), JVM)
    assert not is_copy(replace(fork, size=JVM.size // 2), JVM)
    assert not is_copy(JVM, None)


def test_the_peak_outlives_what_reached_it() -> None:
    with PeakMemory() as peak:
        subprocess.run([sys.executable, "-c", f"import time; held = b'x' * {HELD}; time.sleep(2)"], check=True)
    assert peak.gib * GIB > HELD + psutil.Process().memory_info().rss / 2
