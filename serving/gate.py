"""What surrounds every request: its id, its time, security headers, one access line. Plain ASGI, so nothing is buffered."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import access_log
from serving.telemetry import Telemetry

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
REQUEST_ID_BYTES = 12
UNMATCHED = "(none)"

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Nothing inline, nothing from another host, no framing."""


class Gate:
    """Middleware around the application."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        """Wrap the next application."""
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an HTTP request on; other scopes go through untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = _Call(scope)
        try:
            await self._app(scope, receive, lambda message: call.send(message, send))
        finally:
            self._finish(call)

    def _finish(self, call: _Call) -> None:
        seconds = time.perf_counter() - call.started
        route = call.route()
        self._telemetry.requests.labels(route, str(call.status)).inc()
        self._telemetry.seconds.labels(route).observe(seconds)
        access_log.write(
            access_log.Access(
                at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                request_id=call.request_id,
                method=call.scope["method"],
                route=route,
                status=call.status,
                ms=round(seconds * 1_000, 3),
                bytes_sent=call.bytes_sent,
            )
        )


class _Call:
    """One request: what is known about it, and headers added to its answer."""

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(REQUEST_ID_BYTES)
        scope.setdefault("state", {})["request_id"] = self.request_id
        self.scope = scope
        self.started = time.perf_counter()
        self.status = 500
        self.bytes_sent = 0

    async def send(self, message: Message, send: Send) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if self.scope["path"].startswith("/v1/"):
                headers.setdefault("Cache-Control", "no-store")
        elif message["type"] == "http.response.body":
            self.bytes_sent += len(message.get("body", b""))
        await send(message)

    def route(self) -> str:
        """Template of the route that answered, so that labels stay few."""
        return getattr(self.scope.get("route"), "path", None) or UNMATCHED
