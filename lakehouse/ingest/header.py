"""Headers of one file: where a named column or key is, whatever its spelling's case and white space. Values stay as read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

CACHED_NAMES = 16_384
"""Distinct names remembered: every row of JSON repeats its keys."""
Row = Any
"""A list of cells (tabular files) or a dict (JSON)."""
Getter = Callable[[Row], Any]
Lookup = Callable[[str, int], Getter | None]
"""Header and occurrence to a reader of raw values; None when the file has no such column."""
Place = int | str
"""Where a row has a cell: its position, or its key."""


@lru_cache(maxsize=CACHED_NAMES)
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

    def spellings(self, name: str) -> list[int]:
        """All columns of that header whatever their case and white space."""
        return self._normal.get(normal(name), [])

    def position(self, name: str, at: int) -> int | None:
        """The `at`-th column (from 1) of that header."""
        found = self.positions(name)
        return found[at - 1] if len(found) >= at else None

    def lookup(self, name: str, at: int) -> Getter | None:
        """Reader of that column's cells."""
        position = self.position(name, at)
        return None if position is None else lambda row: row[position]


class JsonPaths:
    """Dotted paths of keys in JSON objects, whatever their case and white space. A list is passed through."""

    def __init__(self, paths: Iterable[str]) -> None:
        """Index the paths and the objects on the way to them."""
        self._paths = frozenset(".".join(normal(key) for key in path.split(".")) for path in paths)
        self._parents = frozenset(path[:at] for path in self._paths for at, sign in enumerate(path) if sign == ".")

    def __bool__(self) -> bool:
        """Whether there is any path."""
        return bool(self._paths)

    def are_off(self, keys: Iterable[str]) -> bool:
        """Whether an object with these keys, itself inside no other, holds nothing that the paths name."""
        places = set(map(normal, keys))
        return places.isdisjoint(self._paths) and places.isdisjoint(self._parents)

    def without(self, value: Any, above: str = "") -> Any:
        """The value without what the paths name."""
        if isinstance(value, list):
            return [self.without(item, above) for item in value]
        if not isinstance(value, dict) or (not above and self.are_off(value)):
            return value
        kept: dict[str, Any] = {}
        for key, inner in value.items():
            place = above + normal(key)
            if place not in self._paths:
                kept[key] = self.without(inner, f"{place}.") if place in self._parents else inner
        return kept


def json_place(name: str, _at: int) -> str | None:
    """The key of a JSON object that a header means; None where it may be a path."""
    return None if "." in name else name


def json_lookup(name: str, _at: int) -> Getter:
    """Reader of a key of a JSON object: the key itself, else a dotted path.

    On the way, a number picks from a list; any other key gathers what the objects of a list have there.
    """
    path = name.split(".")
    if len(path) == 1:
        return lambda row: row.get(name)

    def get(row: Row) -> Any:
        return row[name] if name in row else _along(row, path)

    return get


def _along(value: Any, path: Sequence[str]) -> Any:
    """The value at the end of a path, None where it leads nowhere."""
    for place, key in enumerate(path):
        if isinstance(value, dict):
            value = value.get(key)
        elif not isinstance(value, list):
            return None
        elif key.isdecimal():
            value = value[int(key)] if int(key) < len(value) else None
        else:
            found = (_along(item, path[place:]) for item in value)
            return [item for item in found if item is not None] or None
    return value
