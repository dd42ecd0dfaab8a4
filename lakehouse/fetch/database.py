"""The database that workers share: an SQLite file in WAL mode on one machine, PostgreSQL on several. Connections only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

BUSY_MILLISECONDS = 30_000
"""How long a writer waits for another one."""

POSTGRES = re.compile(r"^postgres(?:ql)?://")
"""An address without a driver; SQLAlchemy's own choice is one that is not installed."""
ADVISORY_LOCK = 0x6372_6C6B
"""Number of PostgreSQL's lock that transactions of ours take; the letters "crlk"."""


class Database:
    """Short transactions that see each other one after the other."""

    def __init__(self, engine: sa.Engine) -> None:
        """Wrap an engine."""
        self.engine = engine

    @classmethod
    def open(cls, address: str | Path) -> Database:
        """Open an SQLite file (made when missing), or a `postgresql` address."""
        if isinstance(address, Path):
            address.parent.mkdir(parents=True, exist_ok=True)
            engine = sa.create_engine(f"sqlite:///{address}", connect_args={"timeout": BUSY_MILLISECONDS / 1000})
            event.listen(engine, "connect", _tune)
            event.listen(engine, "begin", _begin)
            return cls(engine)
        plain = POSTGRES.sub("postgresql+psycopg2://", address)
        engine = sa.create_engine(plain, pool_pre_ping=True, hide_parameters=True)
        event.listen(engine, "begin", _queue_up)
        return cls(engine)

    def create(self, metadata: sa.MetaData) -> None:
        """Make the tables that are missing; two processes may do so at once."""
        with self.transaction() as connection:
            metadata.create_all(connection)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction that holds the write lock from its start; an exception undoes it."""
        with self.engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Release connections."""
        self.engine.dispose()


def _tune(connection: Any, _record: object) -> None:
    """WAL, so that readers never wait; a commit survives the process, not always the power (a charge may be lost then)."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_MILLISECONDS}"):
        connection.execute(f"PRAGMA {pragma}")


def _queue_up(connection: sa.Connection) -> None:
    """One transaction at a time, as in SQLite: they are short, and none has to be repeated."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
