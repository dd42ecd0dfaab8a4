"""The input folder: which files it holds, in a fixed order, and a fingerprint that says whether anything changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from lakehouse.errors import NotFoundError
from lakehouse.ingest.mapping import SHIPPED


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file of the input. `problem` is a reason code where it cannot or may not be read."""

    path: Path
    name: str
    size: int = 0
    mtime_ns: int = 0
    problem: str = ""
    detail: str = ""

    @property
    def stamp(self) -> str:
        """Changes when the file does."""
        return f"{self.name}\0{self.size}\0{self.mtime_ns}"


def find_files(folder: Path) -> list[FoundFile]:
    """All files under a folder sorted by relative path; hidden ones (leading dot) are no input. A file is its own folder.

    Links that lead outside, broken links and unreadable folders are told as problems, never followed.

    Raises:
        NotFoundError: there is no such folder.
    """
    if folder.is_file():
        return [_inspect(folder, folder.name, folder.parent.resolve())]
    if not folder.is_dir():
        raise NotFoundError(f"The input folder {folder} does not exist.")
    root = folder.resolve()
    return sorted(_walk(root), key=lambda found: found.name)


def fingerprint(folder: Path, mappings_dir: Path | None) -> str:
    """Sha256 over path, size and time of every input file and over the mappings. Reads no input file."""
    digest = hashlib.sha256()
    for found in find_files(folder):
        digest.update(f"{found.stamp}\0{found.problem}\n".encode("utf-8", "surrogateescape"))
    for mapping in _mapping_texts(mappings_dir):
        digest.update(hashlib.sha256(mapping).digest())
    return digest.hexdigest()


def _mapping_texts(extra: Path | None) -> Iterator[bytes]:
    for folder in (resources.files(__package__) / SHIPPED, extra):
        if folder is not None and folder.is_dir():
            entries = sorted((entry for entry in folder.iterdir() if entry.is_file()), key=lambda entry: entry.name)
            yield from (entry.read_bytes() for entry in entries)


def _walk(root: Path) -> Iterator[FoundFile]:
    problems: list[OSError] = []
    for parent, folders, names in os.walk(root, onerror=problems.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in (*names, *links):
            if not name.startswith("."):
                path = Path(parent) / name
                yield _inspect(path, path.relative_to(root).as_posix(), root)
    for error in problems:
        path = Path(str(error.filename))
        name = path.relative_to(root).as_posix()
        yield FoundFile(path, name, problem="unreadable_file", detail=f"{error.strerror}.")


def _inspect(path: Path, name: str, root: Path) -> FoundFile:
    try:
        target = path.resolve(strict=True)
        status = target.stat()
    except (OSError, RuntimeError) as error:
        return FoundFile(path, name, problem="unreadable_file", detail=f"{getattr(error, 'strerror', None) or error}.")
    if not target.is_relative_to(root):
        return FoundFile(path, name, problem="outside_folder")
    if not target.is_file():
        return FoundFile(path, name, problem="unreadable_file", detail="It is no regular file.")
    return FoundFile(path, name, status.st_size, status.st_mtime_ns)
