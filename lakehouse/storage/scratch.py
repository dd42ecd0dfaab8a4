"""Folders for files that are worth nothing after a process, however it ends: the next one removes them, or goes on with them."""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from lakehouse.errors import TransientError

LOCK = "lock"
BEING_MADE = "."
"""Begin of the name of a folder whose lock is not taken yet."""
_own: dict[Path, tuple[Path, TextIO]] = {}
"""Folders of this process with their locks, which end with it."""


def own_folder(parent: Path) -> Path:
    """This process's folder under `parent`, the same at every call; folders of processes that ended are removed.

    A folder belongs to whoever holds the lock in it, so processes of other machines and containers are told apart as well.
    """
    if parent not in _own:
        for folder in parent.glob("*/"):
            _remove_if_left(folder)
        _own[parent] = _made(parent)
    return _own[parent][0]


@contextmanager
def passing_folder(parent: Path) -> Iterator[Path]:
    """`own_folder` for a while: it is removed at the end, and `parent` with it when nobody else works there."""
    try:
        yield own_folder(parent)
    finally:
        if parent in _own:
            folder, lock = _own.pop(parent)
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def kept_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder for work that a killed process leaves to the next one that asks for the same name; removed when the block ends well.

    Folders of other names under `parent` are removed unless somebody works in them.

    Raises:
        TransientError: another process works in it.
    """
    folder = parent / name
    for other in parent.glob("*/"):
        if other != folder:
            _remove_if_left(other)
    with held(folder):
        yield folder
        shutil.rmtree(folder)
    with suppress(OSError):
        parent.rmdir()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, which is made when it is not there.

    Raises:
        TransientError: another process works in it.
    """
    with _locked(folder):
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process of this machine is in this block for the folder; where nothing can be written there is nothing to wait for."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        handle = folder.with_name(f"{folder.name}.lock").open("w")
    except OSError:
        yield
        return
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _locked(folder: Path) -> TextIO:
    """The lock of a folder that is there: what was opened may have been removed before it was locked."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / LOCK).open("a")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.close()
            raise TransientError(f"Another process works in {folder}; try again when it has ended.") from error
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle.fileno()), (folder / LOCK).stat()):
                return handle
        handle.close()


def _made(parent: Path) -> tuple[Path, TextIO]:
    """A new folder and its lock; it gets its name once it is locked, so that nobody takes it for one that was left."""
    name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    draft = parent / f"{BEING_MADE}{name}"
    draft.mkdir(parents=True)
    handle = (draft / LOCK).open("w")
    fcntl.flock(handle, fcntl.LOCK_EX)
    return draft.rename(parent / name), handle


def _remove_if_left(folder: Path) -> None:
    if folder.name.startswith(BEING_MADE):
        return
    try:
        with (folder / LOCK).open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # somebody works there, or has just removed it
        return
