"""Locks of a home that end with their process, however it ends: one for a run, one for Dagster's web page and daemon."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from lakehouse.errors import PermanentError
from lakehouse.settings import Settings

RUN, DEV = "run.lock", "dev.lock"


@contextmanager
def one_run_at_a_time(settings: Settings) -> Iterator[None]:
    """Hold the home's run lock.

    Raises:
        PermanentError: another run of this home holds it.
    """
    with _open(settings.home / RUN) as handle:
        if not _take(handle):
            raise PermanentError(f"Another run is working in {settings.home}; wait for it to end.")
        yield


def keep_dev_lock(settings: Settings) -> None:
    """Take the lock of Dagster's web page and daemon for this process and the program that replaces it.

    Raises:
        PermanentError: they run already.
    """
    handle = _open(settings.home / DEV)
    if not _take(handle):
        raise PermanentError(f"Dagster is already open over {settings.home}.")
    os.set_inheritable(os.dup(handle.fileno()), True)


def is_free(settings: Settings, name: str) -> bool:
    """Whether nobody holds a lock of the home."""
    with _open(settings.home / name) as handle:
        return _take(handle)


def _open(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w")


def _take(handle: TextIO) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
