"""The databases that workers share: an SQLite file in WAL mode on one machine, PostgreSQL on several.

How one is opened, how its transactions lock, and what its errors mean. Tables belong to those who use them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError

from lakehouse.errors import CreatorlakeError, PermanentError, SettingsError, TransientError

BUSY_SECONDS = 30
"""How long a worker waits for SQLite's lock; the holder needs milliseconds."""
CONNECT_SECONDS = 10
"""How long PostgreSQL may take to answer at first."""
DRIVERS = {"sqlite": "sqlite", "postgres": "postgresql+psycopg2", "postgresql": "postgresql+psycopg2"}
"""SQLAlchemy's own choice for PostgreSQL is a driver that is not installed."""
REFUSALS = (
    "authentication failed",
    "does not exist",
    "permission denied",
    "unable to open",
    "readonly",
    "not a database",
)
"""Words of the databases for what a retry cannot help."""
READS = "creatorlake_reads"
"""Execution option of a transaction that only reads: in SQLite it waits for nobody."""
LEDGER_LOCK = 0x6372_6C6B
"""Advisory lock of PostgreSQL that transactions of a `Database` take."""


class Database:
    """Short transactions that see each other one after the other, in PostgreSQL as in SQLite: none has to be repeated."""

    def __init__(self, address: str | sa.URL) -> None:
        """Connect to an address; see `open_engine`."""
        self._engine = open_engine(address)

    @classmethod
    def file(cls, path: Path) -> Database:
        """An SQLite file."""
        return cls(sa.URL.create("sqlite", database=str(path)))

    def create(self, metadata: sa.MetaData) -> None:
        """Make the tables that are missing; two processes may do so at once."""
        with self.transaction() as connection:
            metadata.create_all(connection)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction that holds the write lock from its start; an exception undoes it.

        Raises:
            TransientError: the database does not answer.
            PermanentError: the database refuses.
        """
        try:
            with self._engine.begin() as connection:
                lock(connection, LEDGER_LOCK)
                yield connection
        except DBAPIError as error:
            raise told(error) from None

    def close(self) -> None:
        """Release connections."""
        self._engine.dispose()


def open_engine(address: str | sa.URL) -> sa.Engine:
    """An engine whose transactions lock as workers need; a commit in SQLite survives the process, not always the power.

    Raises:
        SettingsError: the address is none of SQLite or PostgreSQL.
    """
    try:
        url = sa.make_url(address)
        url = url.set(drivername=DRIVERS[url.drivername])
        if url.drivername == "sqlite":
            Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
            return _sqlite_engine(url)
        waits = {"connect_timeout": CONNECT_SECONDS}
        return sa.create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=waits)
    except (ArgumentError, NoSuchModuleError, KeyError, ValueError):
        raise SettingsError(
            "A database of the fetch work has an address that is none of sqlite:// or postgresql://."
        ) from None


def lock(connection: sa.Connection, number: int) -> None:
    """Wait for the others of this kind of transaction; a write in SQLite has waited already."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def told(error: DBAPIError) -> CreatorlakeError:
    """Our error for a database's, without its text: that names hosts and users."""
    text = str(error.orig)
    cause = type(error.orig).__name__
    if isinstance(error, OperationalError | InterfaceError) and not any(word in text for word in REFUSALS):
        return TransientError(f"A database of the fetch work does not answer: {cause}.")
    return PermanentError(f"A database of the fetch work refuses: {cause}.")


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin below, not where the driver thinks
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get(READS)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
