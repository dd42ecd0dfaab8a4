"""Crash points: named places where a test may kill the process, so that "killed at any point" is proven point by point.

`CREATORLAKE_CRASH_AT=name:n` kills at the n-th time that the point is reached (SIGKILL: no handler, no flush). Inside a
Delta write there is no Python to stand in; those two points are struck at the S3 request (`tests/faults`). Without the
setting a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

from lakehouse.errors import SettingsError

BEFORE_DATA = "before_data"
MID_DATA = "mid_data"
AFTER_DATA = "after_data_before_commit"
AFTER_COMMIT = "after_commit_before_event"
STAGES = (BEFORE_DATA, MID_DATA, AFTER_DATA, AFTER_COMMIT)
"""Points of every step: before its work; with some of its data stored; with all of it, not yet visible; visible, not yet
recorded as progress."""
AFTER_FILE, BEFORE_MANIFEST, BEFORE_CURRENT, MID_REMOVAL = (
    "publisher.after_file",
    "publisher.before_manifest",
    "publisher.before_current",
    "publisher.mid_removal",
)
PUBLISHER = (AFTER_FILE, BEFORE_MANIFEST, BEFORE_CURRENT, MID_REMOVAL)
"""Points of a snapshot's way into the lake, and of an old one's way out."""

_armed: tuple[str, int] | None = None
_passed: Counter[str] = Counter()


def arm(text: str) -> None:
    """Kill this process at `name:n`; an empty text arms nothing.

    Raises:
        SettingsError: it is not of that form.
    """
    global _armed  # noqa: PLW0603  (one process, one death)
    name, _, count = text.rpartition(":")
    if text and not (name and count.isdigit()):
        raise SettingsError("CREATORLAKE_CRASH_AT is wrong: it names a crash point and a count, as in step.mid_data:1.")
    _armed = (name, int(count)) if text else None
    _passed.clear()


def point(step: str, stage: str) -> str:
    """Name of a step's crash point."""
    return f"{step}.{stage}"


def crashpoint(name: str) -> None:
    """Die here if a test asked for it."""
    if _armed is None or _armed[0] != name:
        return
    _passed[name] += 1
    if _passed[name] == _armed[1]:
        os.kill(os.getpid(), signal.SIGKILL)
