"""Headers of one file: where a named column is, whatever its spelling's case and white space. Positions only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

Row = Any
"""A list of cells (tabular files) or a dict (JSON)."""
Getter = Callable[[Row], Any]
Lookup = Callable[[str, int], Getter | None]
"""Header and occurrence to a reader of raw values; None when the file has no such column."""


def normal(header: str) -> str:
    """A header without differences of case and white space (line breaks too)."""
    return " ".join(header.split()).casefold()


class Header:
    """Positions of a tabular file's columns. The exact spelling wins over the normalised one."""

    def __init__(self, names: Sequence[str]) -> None:
        """Index the names as they are in the file."""
        self.names = tuple(names)
        self._exact: dict[str, list[int]] = defaultdict(list)
        self._normal: dict[str, list[int]] = defaultdict(list)
        for position, name in enumerate(names):
            self._exact[name].append(position)
            self._normal[normal(name)].append(position)

    def positions(self, name: str) -> list[int]:
        """All columns of that header, left to right."""
        return self._exact.get(name) or self._normal.get(normal(name), [])

    def position(self, name: str, at: int) -> int | None:
        """The `at`-th column (from 1) of that header."""
        found = self.positions(name)
        return found[at - 1] if len(found) >= at else None

    def lookup(self, name: str, at: int) -> Getter | None:
        """Reader of that column's cells."""
        position = self.position(name, at)
        return None if position is None else lambda row: row[position]


def json_lookup(name: str, _at: int) -> Getter:
    """Reader of a key of a JSON object: the key itself, else a dotted path."""
    path = name.split(".")
    if len(path) == 1:
        return lambda row: row.get(name)

    def get(row: Row) -> Any:
        if name in row:
            return row[name]
        value = row
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    return get
