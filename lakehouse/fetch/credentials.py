"""Credentials of sources: from the settings only, never written, logged or landed. Short-lived tokens are renewed here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import SecretStr

from lakehouse.errors import SettingsError
from lakehouse.fetch.client import HttpClient
from lakehouse.fetch.source import Source
from lakehouse.fetch.task import FetchTask

RENEW_SECONDS = 300
"""A token is renewed so long before it ends."""


@dataclass(slots=True)
class Credentials:
    """Secrets by name: a source's code, or `{source}/{key}` for one user of it."""

    secrets: Mapping[str, SecretStr]
    pepper: bytes = b""
    _tokens: dict[str, tuple[str, dt.datetime]] = field(default_factory=dict)

    def name(self, source: Source) -> str:
        """The secret's text for hashing into a project name."""
        found = self.secrets.get(source.source)
        return found.get_secret_value() if found is not None else source.source

    def has(self, source: Source) -> bool:
        """Whether a source can be asked at all."""
        prefix = f"{source.source}/"
        return source.source in self.secrets or any(name.startswith(prefix) for name in self.secrets)

    def own_keys(self) -> dict[str, frozenset[str]]:
        """Keys with a credential of their own, by source."""
        pairs = [name.split("/", 1) for name in self.secrets if "/" in name]
        return {source: frozenset(key for one, key in pairs if one == source) for source, _ in pairs}

    async def secret(self, source: Source, task: FetchTask, client: HttpClient, now: dt.datetime) -> str:
        """The credential of a task: its key's where each has one, a short-lived token where the source wants that.

        Raises:
            SettingsError: there is none.
            TransientError: the source gives no token.
        """
        name = f"{source.source}/{task.keys[0]}" if source.auth.per_key and task.keys else source.source
        found = self.secrets.get(name)
        if found is None:
            raise SettingsError(f"There is no credential for {name}.")
        secret = found.get_secret_value()
        return secret if not source.auth.token_path else await self._token(source, secret, client, now)

    def forget(self, source: Source) -> None:
        """A token of ours was refused: the next request takes a new one."""
        self._tokens.pop(source.source, None)

    async def _token(self, source: Source, secret: str, client: HttpClient, now: dt.datetime) -> str:
        """A token of ours that lives on for a while, or a new one; one at a time asks for it."""
        async with client.renewing:
            token, until = self._tokens.get(source.source, ("", now))
            if until - dt.timedelta(seconds=RENEW_SECONDS) > now:
                return token
            key, _, own = secret.partition(":")
            token, seconds = await client.token(f"{source.base_url}{source.auth.token_path}", key, own)
            self._tokens[source.source] = token, now + dt.timedelta(seconds=seconds)
            return token


def read_credentials(given: Mapping[str, SecretStr], file: Path | None) -> dict[str, SecretStr]:
    """Secrets of the settings, over those of a YAML or JSON file of names and secrets.

    Raises:
        SettingsError: the file cannot be read; the sentence never repeats what it holds.
    """
    if file is None:
        return dict(given)
    try:
        body = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        raise SettingsError(f"The credentials file {file} cannot be read.") from None
    if not isinstance(body, dict) or not all(isinstance(value, str) for value in body.values()):
        raise SettingsError(f"The credentials file {file} must hold names and secrets.")
    return {str(name): SecretStr(value) for name, value in body.items()} | dict(given)
