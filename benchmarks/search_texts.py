"""Real short texts that any machine with this project has: nothing is fetched, nothing of them is kept in the repository.

Sources: the first line of docstrings of the installed packages, the summaries of their metadata, the descriptions of the
system's package lists where there are any, and titles of the files of CREATORLAKE_TEST_DATA where that is set.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import subprocess
import sysconfig
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from itertools import islice
from pathlib import Path
from shutil import which

LEAST_CHARS, MOST_CHARS = 25, 240
LARGEST_MODULE_BYTES = 400_000
TITLE_COLUMNS: Mapping[str, str] = {
    "creators/youtube_trending_2018/*.csv": "title",
    "creators/tiktok_trending_2020/*.csv": "text",
}


def real_texts(count: int, data: Path | None) -> tuple[list[str], dict[str, int]]:
    """Up to `count` distinct texts in an order that mixes the sources, and how many are of each source."""
    sources = {"titles": titles(data), "summaries": summaries(), "system packages": system_packages()}
    found: dict[str, tuple[str, str]] = {}
    for name, source in sources.items():
        room = count // 3
        for text in islice(_distinct(source, found), room):
            found[text.casefold()] = (name, text)
    for text in islice(_distinct(docstrings(), found), count - len(found)):
        found[text.casefold()] = ("docstrings", text)
    mixed = sorted(found.values(), key=lambda one: hashlib.sha256(one[1].encode()).digest())
    counts = {name: sum(source == name for source, _ in mixed) for name in [*sources, "docstrings"]}
    return [text for _, text in mixed], counts


def _distinct(texts: Iterator[str], found: Mapping[str, object]) -> Iterator[str]:
    """Texts of a useful length that were not found yet."""
    for raw in texts:
        text = " ".join(raw.split())[:MOST_CHARS]
        if len(text) >= LEAST_CHARS and text.casefold() not in found:
            yield text


def docstrings() -> Iterator[str]:
    """First paragraph of every docstring of the installed packages, modules in a mixed order."""
    root = Path(sysconfig.get_paths()["purelib"])
    modules = sorted(root.rglob("*.py"), key=lambda path: hashlib.sha256(str(path.relative_to(root)).encode()).digest())
    for path in modules:
        if path.stat().st_size <= LARGEST_MODULE_BYTES:
            yield from _docstrings_of(path)


def _docstrings_of(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text.strip().split("\n\n")[0]


def summaries() -> Iterator[str]:
    """Summary of every installed package."""
    for distribution in distributions():
        yield distribution.metadata.get("Summary") or ""


def system_packages() -> Iterator[str]:
    """Descriptions of the system's package lists; none where it has none."""
    program = which("apt-cache")
    if program is None:
        return
    listed = subprocess.run([program, "dumpavail"], capture_output=True, text=True, check=False).stdout
    lines = sorted({line for line in listed.splitlines() if line.startswith("Description: ")})
    yield from (line.removeprefix("Description: ") for line in sorted(lines, key=_digest))


def titles(data: Path | None) -> Iterator[str]:
    """Titles of real videos; none without the files."""
    for pattern, column in TITLE_COLUMNS.items():
        for path in sorted(data.glob(pattern)) if data else []:
            with path.open(encoding="utf-8", errors="replace", newline="") as file:
                yield from (row.get(column) or "" for row in csv.DictReader(file))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
