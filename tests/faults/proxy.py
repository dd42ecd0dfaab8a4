"""An HTTP/1.1 proxy in front of an S3 server that breaks the requests that its rules pick.

Modes: `503`, `500` and `409` answer instead of the server; `reset` cuts the connection before the request is passed on,
`lost` after the server did its work, `lost500` answers 500 after it; `slow` waits first, `meet` waits for a second request
of the same path. Each rule draws from its own seed.
"""

from __future__ import annotations

import http.client
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWERS = {
    "503": (503, "SlowDown", "Please reduce your request rate."),
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "409": (
        409,
        "ConditionalRequestConflict",
        "The conditional request cannot succeed due to a conflicting operation.",
    ),
    "lost500": (500, "InternalError", "We encountered an internal error. Please try again."),
}
BEFORE = frozenset({"503", "500", "409", "reset"})
"""Modes in which the server never sees the request."""
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "proxy-connection", "content-length"})
UPSTREAM_SECONDS = 120
LOG_COMMIT = r"/_delta_log/\d{20}\.json$"
"""Path of a Delta commit."""


@dataclass
class Rule:
    """Which requests to break, and how.

    Args:
        mode: see the module.
        method: pattern of the whole method.
        path: pattern searched in the path, without the query.
        probability: of each matching request.
        skip: matching requests let through first.
        times: how often at most; None for ever.
        delay_seconds: of mode `slow`; of mode `meet`, how long to wait for the other request.
        on_hit: called at the moment of the fault: after the server's work in the `lost` modes, before it in all others.
    """

    mode: str
    method: str = ".*"
    path: str = ""
    probability: float = 1.0
    skip: int = 0
    times: int | None = None
    delay_seconds: float = 0.0
    seed: int = 0
    on_hit: Callable[[], None] = lambda: None
    hits: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _draws: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._draws = random.Random(self.seed)

    def takes(self, method: str, path: str) -> bool:
        """Whether this request is broken; counts it."""
        if not (re.fullmatch(self.method, method) and re.search(self.path, path)):
            return False
        with self._lock:
            if self.skip:
                self.skip -= 1
                return False
            if (self.times is not None and self.hits >= self.times) or self._draws.random() >= self.probability:
                return False
            self.hits += 1
            return True


class FaultProxy(ThreadingHTTPServer):
    """Listens on a free port of the loopback; `rules` may be changed at any time."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream_port = upstream_port
        self.rules: list[Rule] = []
        self.forgets: frozenset[str] = frozenset()
        """Request headers, in lower case, that are not passed on."""
        self.requests: Counter[str] = Counter()
        self._meetings: dict[str, threading.Barrier] = {}
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def meet(self, path: str, seconds: float) -> None:
        """Return when two requests of a path are here, or after some seconds."""
        with self._lock:
            barrier = self._meetings.setdefault(path, threading.Barrier(2))
        with suppress(threading.BrokenBarrierError):
            barrier.wait(seconds)
        with self._lock:
            self._meetings.pop(path, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def _pass(self) -> None:
        body = self._body()
        path = self.path.partition("?")[0]
        self.server.requests[self.command] += 1
        rule = next((rule for rule in self.server.rules if rule.takes(self.command, path)), None)
        if rule is None:
            self._relay(*self._ask(body))
            return
        self._break(rule, body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_OPTIONS = _pass

    def _break(self, rule: Rule, body: bytes) -> None:
        if rule.mode == "meet":
            self.server.meet(self.path.partition("?")[0], rule.delay_seconds)
        elif rule.mode == "slow":
            time.sleep(rule.delay_seconds)
        if rule.mode not in BEFORE:
            status, headers, answer = self._ask(body)
        rule.on_hit()
        if rule.mode in {"slow", "meet"}:
            self._relay(status, headers, answer)
        elif rule.mode in ANSWERS:
            self._refuse(*ANSWERS[rule.mode])
        else:
            self._reset()

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """The server's answer. The client's Host header goes along: it is part of the signature."""
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream_port, timeout=UPSTREAM_SECONDS)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP | {"expect"} | self.server.forgets:
                    upstream.putheader(name, value)
            if body or self.command in {"PUT", "POST"}:
                upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except OSError:
            return 502, [], b""
        finally:
            upstream.close()

    def _relay(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str, message: str) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        self._relay(status, [("Content-Type", "application/xml")], text.encode())

    def _reset(self) -> None:
        """End the connection with RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):  # reset above
            return

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal quiet."""


def meetings(fenced: str, unfenced: str) -> list[Rule]:
    """Rules that hold each commit of two tables until the other driver's commit of the same version arrives.

    A commit that lost against the fence comes again while the other driver is at the other table: it waits for nobody.
    """
    return [
        Rule("meet", "PUT", f"/{fenced}{LOG_COMMIT}", delay_seconds=1.0),
        Rule("meet", "PUT", f"/{unfenced}{LOG_COMMIT}", delay_seconds=30.0),
    ]


@contextmanager
def proxied(upstream_port: int) -> Iterator[FaultProxy]:
    """A proxy in front of a server of the loopback."""
    with FaultProxy(upstream_port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
