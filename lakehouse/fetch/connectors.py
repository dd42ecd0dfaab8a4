"""Which class speaks for which source: a list to read, nothing is searched for."""

from __future__ import annotations

from lakehouse.errors import SettingsError
from lakehouse.fetch.connector import Connector
from lakehouse.fetch.declared import DeclaredConnector
from lakehouse.fetch.instagram import InstagramConnector
from lakehouse.fetch.source import Source
from lakehouse.fetch.tiktok import TikTokConnector
from lakehouse.fetch.x import XConnector
from lakehouse.fetch.youtube import YouTubeConnector

CONNECTORS: dict[str, type[DeclaredConnector]] = {
    "declared": DeclaredConnector,
    "youtube": YouTubeConnector,
    "x": XConnector,
    "tiktok": TikTokConnector,
    "instagram": InstagramConnector,
}


def connector_for(source: Source) -> Connector:
    """The connector of a source.

    Raises:
        SettingsError: it names none that we have.
    """
    if source.connector not in CONNECTORS:
        raise SettingsError(
            f"Source {source.source} wants the connector {source.connector!r}; there are {', '.join(CONNECTORS)}."
        )
    return CONNECTORS[source.connector](source)
