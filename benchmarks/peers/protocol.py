"""What a search engine under measurement offers, and the files that it reads. Imports nothing outside this folder.

The same files, filters and queries go to every engine: `vectors.npy` (n, d) of unit rows, `docs.parquet` in the same order,
`queries.npy`, `cells.json` and, for recall, `truth.npz`. Ids are row numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

K = 10
TEXTS = ("topic", "region")
"""Columns of text; all others that a filter names are whole numbers."""
NUMBERS = (
    "pick",
    "pick_10",
    "pick_100",
    "pick_1000",
    "pick_10000",
    "place",
    "place_10",
    "place_100",
    "place_1000",
    "place_10000",
    "size",
    "age",
)
FILTERED = (*TEXTS, *NUMBERS)
RANGED = ("pick", "place", "size", "age")
"""Columns of many values, filtered by range; the others have at most 10,000 and are filtered by value."""

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition on a column: one of `values`, or a whole number from `least` to `most`, both inclusive."""

    column: str
    values: tuple[Any, ...] = ()
    least: int = 0
    most: int = 0

    def sql(self) -> str:
        """As SQL."""
        if not self.values:
            return f"{self.column} >= {self.least} AND {self.column} <= {self.most}"
        listed = [f"'{value}'" if isinstance(value, str) else str(value) for value in self.values]
        return f"{self.column} = {listed[0]}" if len(listed) == 1 else f"{self.column} IN ({', '.join(listed)})"

    def passes(self, column: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Rows that pass."""
        if self.values:
            return np.isin(column, np.array(self.values, dtype=column.dtype))
        return (column >= self.least) & (column <= self.most)


Filter = tuple[Clause, ...]
"""Clauses joined by AND; none: every row passes."""


def sql_of(clauses: Filter) -> str:
    """All clauses as SQL, empty without any."""
    return " AND ".join(clause.sql() for clause in clauses)


@dataclass(frozen=True, slots=True)
class Cell:
    """Queries with filters of one kind. Query `i` is row `query_of[i]` of the queries, under filter `filter_of[i]`."""

    name: str
    selectivity: float
    correlation: str
    form: str
    filters: tuple[Filter, ...]
    filter_of: tuple[int, ...]
    query_of: tuple[int, ...]


@dataclass(frozen=True)
class Corpus:
    """Files of one size."""

    folder: Path
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", len(self.vectors()))

    def vectors(self) -> Vector:
        """All rows, memory-mapped."""
        return np.load(self.folder / "vectors.npy", mmap_mode="r")

    def queries(self) -> Vector:
        """All queries."""
        return np.load(self.folder / "queries.npy")

    def cells(self) -> list[Cell]:
        """All cells."""
        return [_cell(entry) for entry in json.loads((self.folder / "cells.json").read_text())]

    def batches(self, rows: int) -> Iterator[tuple[int, Vector, dict[str, list[Any]]]]:
        """Number of the first row, vectors and filtered columns, some rows at a time."""
        vectors, start = self.vectors(), 0
        with pq.ParquetFile(self.folder / "docs.parquet") as source:
            for batch in source.iter_batches(batch_size=rows, columns=list(FILTERED)):
                yield start, np.array(vectors[start : start + len(batch)]), batch.to_pydict()
                start += len(batch)


def write_cells(cells: Sequence[Cell], path: Path) -> None:
    """Write cells where `Corpus.cells` reads them."""
    path.write_text(json.dumps([asdict(cell) for cell in cells]))


def _cell(entry: dict[str, Any]) -> Cell:
    filters = tuple(
        tuple(Clause(**clause | {"values": tuple(clause["values"])}) for clause in clauses)
        for clauses in entry.pop("filters")
    )
    return Cell(
        filters=filters, filter_of=tuple(entry.pop("filter_of")), query_of=tuple(entry.pop("query_of")), **entry
    )


class Engine(Protocol):
    """An opened engine. Built by a function `build(corpus, folder)` and opened by `open(corpus, folder)`."""

    settings: tuple[int, ...]
    """Values of its search parameter, the cheapest first."""
    is_fixed: bool
    """Whether the value that serves without a filter is kept under every filter."""

    def prepare(self, clauses: Filter) -> Any:
        """The engine's own form of a filter; made once, its cost is not counted."""

    def search(self, vector: Vector, prepared: Any, setting: int) -> list[int]:
        """Row numbers of the best `K`, best first. Called by several threads."""

    def pids(self) -> list[int]:
        """Processes other than this one that do the work."""

    def close(self) -> None:
        """End it."""


Recall = tuple[float, int]


@dataclass(frozen=True, slots=True)
class Truth:
    """Row numbers that are right answers of each query of a cell, (q, places), -1 where there are fewer; ties included."""

    accepted: npt.NDArray[np.int64]
    possible: npt.NDArray[np.int64]

    def score(self, found: Sequence[Sequence[int]], numbers: Sequence[int]) -> Recall:
        """Recall of answers to some queries, and how many answers are shorter than they could be."""
        hits = short = 0
        for answer, number in zip(found, numbers, strict=True):
            possible = int(self.possible[number])
            right = len(set(answer) & set(self.accepted[number].tolist()) - {-1})
            hits += min(possible, right)
            short += len(set(answer)) < possible
        return hits / max(1, int(self.possible[list(numbers)].sum())), short


def read_truth(path: Path) -> list[Truth]:
    """Truth of every cell, in order."""
    with np.load(path) as stored:
        count = len(stored.files) // 2
        return [Truth(stored[f"accepted_{number}"], stored[f"possible_{number}"]) for number in range(count)]
