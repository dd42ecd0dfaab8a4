"""What the settings make of fetching: which sources are asked, with which credentials, at which addresses, through which queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from lakehouse.errors import SettingsError
from lakehouse.fetch.asked import Asked
from lakehouse.fetch.clock import Clock, WallClock
from lakehouse.fetch.connector import Connector
from lakehouse.fetch.connectors import connector_for
from lakehouse.fetch.credentials import Credentials, read_credentials
from lakehouse.fetch.database import Database
from lakehouse.fetch.landing import Reader
from lakehouse.fetch.ledger import Ledger
from lakehouse.fetch.queues import open_queue
from lakehouse.fetch.source import Source, load_sources
from lakehouse.fetch.withheld import Withheld
from lakehouse.fetch.worker import Tools
from lakehouse.ingest.mapping import load_mappings
from lakehouse.ops.alerts import FETCH_TROUBLE, raise_alert
from lakehouse.settings import Settings
from lakehouse.storage.objects import ObjectStore

FOLDER = "fetch"
LEDGER_FILE = "ledger.db"


def credentials_of(settings: Settings) -> Credentials:
    """Secrets of the settings.

    Raises:
        SettingsError: the credentials file cannot be read.
    """
    return Credentials(read_credentials(settings.fetch_credentials, settings.fetch_credentials_file), settings.pepper())


def sources_of(settings: Settings) -> dict[str, Source]:
    """Every declared source at its address, by code.

    Raises:
        SettingsError: a source or the addresses are wrong.
    """
    known = load_sources(settings.fetch_sources_dir)
    for name in settings.fetch_urls:
        if name not in known:
            raise SettingsError(f"CREATORLAKE_FETCH_URLS names {name!r}, which is no source.")
    return {
        name: source.model_copy(update={"base_url": settings.fetch_urls.get(name, source.base_url).rstrip("/")})
        for name, source in known.items()
    }


def active_sources(settings: Settings) -> dict[str, Source]:
    """The sources that are asked: those with a credential; one that ships disabled only where the settings name it."""
    credentials = credentials_of(settings)
    return {
        name: source.model_copy(update={"is_enabled": True})
        for name, source in sources_of(settings).items()
        if credentials.has(source) and (source.is_enabled or name in settings.fetch_allowed)
    }


def ledger_of(settings: Settings, clock: Clock) -> Ledger:
    """The ledger that all workers of this lake share."""
    return Ledger(_database(settings), clock.now)


@contextmanager
def asked_of(settings: Settings, clock: Clock) -> Iterator[Asked]:
    """What planners of this lake asked for; beside the ledger."""
    database = _database(settings)
    try:
        yield Asked(database, clock.now)
    finally:
        database.close()


def _database(settings: Settings) -> Database:
    given = settings.fetch_ledger
    file = settings.home / FOLDER / LEDGER_FILE
    return Database(given.get_secret_value()) if given is not None else Database.file(file)


@contextmanager
def tools_of(
    settings: Settings,
    objects: ObjectStore,
    sources: Mapping[str, Source],
    *,
    log: Callable[[str], None],
    clock: Clock | None = None,
) -> Iterator[Tools]:
    """Everything that a worker needs; closed at the end."""
    clock = clock or WallClock()
    queue, ledger = open_queue(settings, now=clock.now), ledger_of(settings, clock)

    def alert(subject: str, text: str) -> None:
        raise_alert(objects, settings, kind=FETCH_TROUBLE, subject=subject, text=text)

    try:
        yield Tools(
            queue=queue,
            ledger=ledger,
            objects=objects,
            connectors=connectors_of(sources),
            credentials=credentials_of(settings),
            clock=clock,
            alert=alert,
            log=log,
            withheld=Withheld.of(objects, settings.pepper()),
        )
    finally:
        queue.close()
        ledger.close()


def connectors_of(sources: Mapping[str, Source]) -> dict[str, Connector]:
    """The connector of each source."""
    return {name: connector_for(source) for name, source in sources.items()}


def readers_of(settings: Settings) -> dict[str, Reader]:
    """What reads landed answers, of every declared source that has a mapping.

    Raises:
        SettingsError: a source names a mapping that does not exist.
    """
    mappings = {mapping.source: mapping for mapping in load_mappings(settings.mappings_dir)}
    readers = {}
    for name, connector in connectors_of(sources_of(settings)).items():
        wanted = connector.source.mapping or name
        if wanted not in mappings:
            raise SettingsError(f"Source {name} is read by the mapping {wanted}, which does not exist.")
        readers[name] = Reader(connector, mappings[wanted])
    return readers
