"""DuckDB without an index: every row that passes is scored. The slow and always right answer."""

from __future__ import annotations

import threading
from pathlib import Path

import duckdb

from benchmarks.peers.arrow import tables
from benchmarks.peers.protocol import Corpus, Filter, K, Vector, sql_of

THREADS = 2
BATCH_ROWS = 20_000


def build(corpus: Corpus, folder: Path) -> None:
    """Write a database file."""
    with duckdb.connect(str(folder / "docs.duckdb"), config={"threads": THREADS}) as connection:
        for number, table in enumerate(tables(corpus, BATCH_ROWS)):
            connection.register("given", table)
            connection.execute("INSERT INTO docs FROM given" if number else "CREATE TABLE docs AS FROM given")
            connection.unregister("given")


def open(corpus: Corpus, folder: Path) -> Exact:  # noqa: A001, ARG001
    """Open it."""
    return Exact(folder / "docs.duckdb")


class Exact:
    """A connection, and a cursor of it for every thread."""

    settings = (0,)
    is_fixed = True

    def __init__(self, path: Path) -> None:
        """Open the file."""
        self._connection = duckdb.connect(str(path), read_only=True, config={"threads": THREADS})
        self._local = threading.local()

    def prepare(self, clauses: Filter) -> str:
        """A query."""
        where = f"WHERE {sql_of(clauses)} " if clauses else ""
        return f"SELECT id FROM docs {where}ORDER BY array_inner_product(vector, ?::FLOAT[384]) DESC LIMIT {K}"

    def search(self, vector: Vector, prepared: str, setting: int) -> list[int]:  # noqa: ARG002
        """Rows in order."""
        if not hasattr(self._local, "cursor"):
            self._local.cursor = self._connection.cursor()
        return [row[0] for row in self._local.cursor.execute(prepared, [vector]).fetchall()]

    def pids(self) -> list[int]:
        """None."""
        return []

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
