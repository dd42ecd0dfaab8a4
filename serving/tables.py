"""A snapshot in the form that requests read: documents, columns and words, made once on a machine, then memory-mapped.

Made beside its final name and renamed when complete, so that a killed making leaves nothing half done; the newest few are
kept. Beside them stands which files of the snapshot were checked, by size and time: bytes are hashed once, not at every
start. `creatorlake index verify` hashes them whenever it is asked to.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import duckdb

from index_build.manifest import Manifest
from index_build.verify import read_manifest, verify_folder
from lakehouse.storage.scratch import alone
from serving.catalog import Catalog
from serving.code_columns import CodeColumns
from serving.columns import Columns
from serving.documents import Documents
from serving.domains import write_places
from serving.lexical import WordIndex

VERSION = 3
"""Of the form of the tables; another one is made anew."""

KEPT = 3
"""Tables that stay: of the snapshot in service, the one before, and one that is being opened."""

DRAFT = ".draft-"
DRAFT_SECONDS = 6 * 3600
"""A draft of this age was left by a killed process."""

CHECKED, MADE = "checked.json", "made.json"
"""What was checked of the snapshot, and the files of the tables with their sizes; the last one is written last."""

CATALOG, DOCUMENTS, COLUMNS, CODES, WORDS = "catalog.duckdb", "documents.arrow", "columns", "codes", "words"
PLACES = "domains"


def prepared(folder: Path, home: Path, *, threads: int) -> tuple[Manifest, Path]:
    """Manifest of a checked snapshot folder, and the folder of its tables under `home`, which are made when absent.

    Raises:
        NotFoundError: there is no manifest.
        ContractError: the snapshot is damaged.
    """
    manifest = read_manifest(folder)
    tables = home / f"{manifest.snapshot_id}-{_version()}"
    if not _is_ready(tables, _seen(folder, manifest)):
        with alone(home):  # another process may be making them
            manifest = _prepare(folder, tables, manifest, threads=threads)
    with suppress(OSError):
        os.utime(tables)
    return manifest, tables


def _prepare(folder: Path, tables: Path, manifest: Manifest, *, threads: int) -> Manifest:
    """Check the snapshot, and make its tables when they are absent."""
    seen = _seen(folder, manifest)
    if _is_ready(tables, seen):
        return manifest
    checked = verify_folder(folder)
    if not _is_whole(tables):
        discard(tables)
        _make(folder, checked, tables, threads=threads)
    with suppress(OSError):  # a folder that cannot be written is checked again at every start
        (tables / CHECKED).write_text(seen, encoding="utf-8")
    return checked


def _is_ready(tables: Path, seen: str) -> bool:
    return _is_whole(tables) and _read(tables / CHECKED) == seen


def discard(tables: Path) -> None:
    """Remove tables: first from their name, so that one that is killed leaves no half of them there."""
    if tables.exists():
        gone = tables.with_name(f"{DRAFT}{tables.name}-{os.getpid()}-{time.monotonic_ns()}")
        with suppress(OSError):
            tables.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _make(folder: Path, manifest: Manifest, tables: Path, *, threads: int) -> None:
    tables.parent.mkdir(parents=True, exist_ok=True)
    _prune(tables.parent)
    with tempfile.TemporaryDirectory(dir=tables.parent, prefix=DRAFT) as held:
        draft = Path(held) / "tables"
        draft.mkdir()
        with closing(Catalog.make(draft / CATALOG, folder, manifest, threads=threads)) as catalog:
            columns = Columns.load(catalog, as_of=catalog.vocabulary(manifest).as_of)
            columns.save(draft / COLUMNS)
            CodeColumns.load(catalog).save(draft / CODES)
            WordIndex.load(catalog).save(draft / WORDS)
            Documents.write(draft / DOCUMENTS, *catalog.shown_batches())
            for domain in manifest.domains:
                write_places(draft / PLACES / domain.name, folder, domain, catalog)
        (draft / MADE).write_text(json.dumps(_sizes(draft)), encoding="utf-8")
        try:
            draft.rename(tables)
        except OSError:
            if not tables.is_dir():  # else another process was faster
                raise


def _prune(home: Path) -> None:
    """Remove all but the newest tables, and drafts that nobody works on. What is mapped stays readable until it is closed."""
    found = sorted(home.iterdir(), key=_age)
    drafts = [path for path in found if path.name.startswith(DRAFT) and _age(path) > DRAFT_SECONDS]
    tables = [path for path in found if not path.name.startswith(DRAFT)]
    for path in drafts:
        shutil.rmtree(path, ignore_errors=True)
    for path in tables[KEPT - 1 :]:
        discard(path)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _version() -> str:
    return hashlib.sha256(f"{VERSION} {duckdb.__version__}".encode()).hexdigest()[:8]


def _is_whole(tables: Path) -> bool:
    """Whether every file that was made is there in its size."""
    try:
        return bool(json.loads(_read(tables / MADE) or "{}") == _sizes(tables) != {})
    except ValueError:
        return False


def _sizes(tables: Path) -> dict[str, int]:
    """Size of every file by its path, without the marks themselves."""
    files = [path for path in sorted(tables.rglob("*")) if path.is_file() and path.name not in (MADE, CHECKED)]
    return {path.relative_to(tables).as_posix(): path.stat().st_size for path in files}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _seen(folder: Path, manifest: Manifest) -> str:
    """Size, inode and time of every file, as text; a file that is not there has none."""

    def state(path: Path) -> list[int]:
        try:
            found = path.stat()
        except OSError:
            return []
        return [found.st_size, found.st_ino, found.st_mtime_ns]

    files = {entry.path: state(folder / entry.path) for entry in manifest.files()}
    return json.dumps({"folder": str(folder.resolve()), "files": files}, sort_keys=True)
