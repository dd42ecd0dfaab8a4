"""The one HTTP client: one attempt at one request, bounded in time and size, with the credential put in at the last moment.

No meaning is read here; an answer comes back whole, whatever its status, and trouble on the way is a `TransportError`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from lakehouse.errors import PermanentError, SettingsError, TransientError
from lakehouse.fetch.connector import ApiRequest, ApiResponse
from lakehouse.fetch.source import Auth

MAX_BYTES = 8 << 20
"""Largest answer that is taken (platforms.md 6)."""
CONNECT_SECONDS, READ_SECONDS, TOTAL_SECONDS = 10.0, 30.0, 60.0
CHUNK_BYTES = 64 << 10
MAX_DEPTH = 64
"""Deepest nesting of an answer that is parsed."""
REFUSALS = frozenset({400, 401, 403})
"""How a token endpoint refuses a client (OAuth 2.0, 5.2)."""
REDACTED = b"REDACTED"
USER_AGENT = "creatorlake/0.1 (+https://github.com/creatorlake)"
KEPT_HEADERS = frozenset(
    {
        "content-type",
        "date",
        "retry-after",
        "x-rate-limit-limit",
        "x-rate-limit-remaining",
        "x-rate-limit-reset",
        "x-app-usage",
        "x-business-use-case-usage",
    }
)
"""Headers that are landed with an answer: limits and times, nothing that identifies us."""


class TransportError(TransientError):
    """No whole answer came: connection, time, size. The request may have been counted all the same."""


class CredentialRefusedError(PermanentError):
    """The source does not accept our credential."""


class HttpClient:
    """Sends requests of one source; use as an asynchronous context manager."""

    def __init__(self, auth: Auth, *, connections: int, speed: float = 1.0) -> None:
        """Make a client.

        Args:
            auth: where the credential goes.
            connections: open at once.
            speed: of the clock that time limits are meant in.
        """
        self._auth = auth
        self._connections = connections
        self._times = aiohttp.ClientTimeout(
            total=TOTAL_SECONDS / speed, sock_connect=CONNECT_SECONDS / speed, sock_read=READ_SECONDS / speed
        )
        self._session: aiohttp.ClientSession | None = None
        self.renewing = asyncio.Lock()
        """Held by whoever asks for a token."""

    async def __aenter__(self) -> Self:
        """Open the session; proxies of the environment and cookies are not used."""
        connector = aiohttp.TCPConnector(limit=self._connections)
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
        jar = aiohttp.DummyCookieJar()
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=self._times, headers=headers, cookie_jar=jar, auto_decompress=True
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def send(self, request: ApiRequest, secret: str) -> ApiResponse:
        """One attempt. Redirects are not followed: they would carry the credential to another host.

        Raises:
            TransportError: no whole answer; the sentence names neither credential nor query.
        """
        if self._session is None:
            raise SettingsError("The client is not open.")
        url, params, headers = self._signed(request, secret)
        try:
            async with self._session.request(
                request.method,
                url,
                params=params,
                json=None if request.body is None else dict(request.body),
                headers=headers,
                allow_redirects=False,
            ) as answer:
                body = _without(await _read(answer), secret)
                kept = {name.lower(): value for name, value in answer.headers.items() if name.lower() in KEPT_HEADERS}
                return ApiResponse(answer.status, kept, body, parse(body))
        except (TimeoutError, aiohttp.ClientError, ConnectionError) as error:
            raise TransportError(f"{request.url} gave no whole answer ({type(error).__name__}).") from None

    async def token(self, url: str, client: str, secret: str) -> tuple[str, float]:
        """A short-lived token for a client's own credentials (OAuth 2.0, 4.4), and its seconds of life.

        Raises:
            CredentialRefusedError: the credentials are not accepted.
            TransportError: no token came; the sentence names no secret.
        """
        if self._session is None:
            raise SettingsError("The client is not open.")
        form = {"client_key": client, "client_secret": secret, "grant_type": "client_credentials"}
        try:
            async with self._session.post(url, data=form, allow_redirects=False) as answer:
                body = parse(await _read(answer))
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise TransportError(f"{url} gave no whole answer ({type(error).__name__}).") from None
        if not isinstance(body, dict) or not isinstance(body.get("access_token"), str):
            if answer.status in REFUSALS:
                raise CredentialRefusedError(f"{url} gives no token for this credential")
            raise TransportError(f"{url} gives no token: {answer.status}.")
        return body["access_token"], float(body.get("expires_in") or 0)

    def _signed(self, request: ApiRequest, secret: str) -> tuple[str, dict[str, str], dict[str, str]]:
        """Address, parameters and headers with the credential."""
        url, params, headers = request.url, dict(request.params), dict(request.headers)
        if self._auth.has_account:
            account, _, secret = secret.partition("|")
            url = url.replace("{account}", account)
        value = self._auth.value.replace("{secret}", secret)
        if self._auth.header:
            headers[self._auth.header] = value
        if self._auth.parameter:
            params[self._auth.parameter] = value
        return url, params, headers


def _without(body: bytes, secret: str) -> bytes:
    """The body without our credential, should the answer repeat it: answers are landed as they came but for this."""
    own = secret.rpartition("|")[2].encode()
    return body.replace(own, REDACTED) if own else body


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The whole body.

    Raises:
        TransportError: it is larger than `MAX_BYTES`.
    """
    parts: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
        size += len(chunk)
        if size > MAX_BYTES:
            raise TransportError(f"{answer.url.origin()} answered with more than {MAX_BYTES >> 20} MB.")
        parts.append(chunk)
    return b"".join(parts)


def parse(body: bytes) -> Any:
    """The JSON document, None where the body is none or is nested too deeply; integers keep all their digits."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if _depth(document) <= MAX_DEPTH else None


def _depth(document: Any) -> int:
    """Levels of nesting, counted without recursion."""
    level, layer = 0, [document]
    while layer and level <= MAX_DEPTH:
        inner = [
            list(one.values()) if isinstance(one, Mapping) else one for one in layer if isinstance(one, Mapping | list)
        ]
        if not inner:
            return level
        level, layer = level + 1, [item for items in inner for item in items]
    return level
