"""The emulator on the network: one HTTP server on the loopback for all platforms, alone or inside another process."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from lakehouse.simulate.platforms.clock import VirtualClock
from lakehouse.simulate.platforms.control import BASE as CONTROL_BASE
from lakehouse.simulate.platforms.control import Control
from lakehouse.simulate.platforms.drift import Drift
from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.faults import Fault, Faults
from lakehouse.simulate.platforms.gate import Gate, Sent, platform_of
from lakehouse.simulate.platforms.life import Life, origin_of
from lakehouse.simulate.platforms.quotas import Quotas
from lakehouse.simulate.platforms.registry import registry_of
from lakehouse.simulate.platforms.wire import Answer, Call, http_date
from lakehouse.simulate.world import World

HOST = "127.0.0.1"
EMULATOR = web.AppKey("emulator", Emulator)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with 0 seconds: closing sends a reset."""
START_SECONDS = 30
"""A server that has not started by then has failed."""
STOP_SECONDS = 0.1
"""What answers under way are given when the server ends."""
MOST_BODY_BYTES = 1 << 20


def build_app(
    world: World,
    *,
    clock: VirtualClock | None = None,
    quotas: Quotas | None = None,
    faults: Faults | None = None,
    life: Life | None = None,
    drift: Drift | None = None,
) -> web.Application:
    """An emulator of all platforms over a world. The clock starts at the newest snapshot if none is given."""
    return app_of(build_emulator(world, clock=clock, quotas=quotas, faults=faults, life=life, drift=drift))


def build_emulator(
    world: World,
    *,
    clock: VirtualClock | None = None,
    quotas: Quotas | None = None,
    faults: Faults | None = None,
    life: Life | None = None,
    drift: Drift | None = None,
) -> Emulator:
    """The same without its server; `registry`, `clock` and `ledger` are its truth."""
    start = dt.datetime.fromtimestamp(origin_of(world), dt.UTC)
    emulator = Emulator(
        registry=registry_of(world, life or Life()),
        clock=clock or VirtualClock(start),
        quotas=quotas or Quotas(),
        drift=drift or Drift(),
    )
    if faults is not None:
        emulator.set_faults(faults)
    return emulator


def app_of(emulator: Emulator) -> web.Application:
    """The web application of an emulator."""
    app = web.Application(client_max_size=MOST_BODY_BYTES)
    app[EMULATOR] = emulator
    gate, control = Gate(emulator), Control(emulator)

    async def handle(request: web.Request) -> web.StreamResponse:
        call = await _call(request, emulator)
        if call.path.startswith(CONTROL_BASE):
            return _response(call, control.answer(call), call.now)
        if not call.platform:
            return web.Response(status=404, text="Not Found")
        return await _send(request, call, gate.send(call), emulator)

    app.router.add_route("*", "/{path:.*}", handle)
    return app


async def _call(request: web.Request, emulator: Emulator) -> Call:
    path, _, query = request.raw_path.partition("?")
    params: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        params[name] = f"{params[name]},{value}" if name in params else value
    body = await request.read() if request.can_read_body else b""
    now = emulator.clock.seconds()
    path = unquote(path)
    return Call(platform_of(path) or "", request.method, path, params, request.headers, body, now, now)


def _response(call: Call, answer: Answer, now: float) -> web.Response:
    """The answer as an HTTP response; its `Date` is virtual time."""
    headers = [("Content-Type", answer.content_type), ("Date", http_date(int(now)))]
    headers += call.answer_headers
    headers += answer.headers
    return web.Response(status=answer.status, body=answer.body.encode(), headers=headers)  # type: ignore[arg-type]


async def _send(request: web.Request, call: Call, sent: Sent, emulator: Emulator) -> web.StreamResponse:
    if sent.fault in {Fault.RESET, Fault.LOST}:
        _reset(request)
    if sent.fault == Fault.SLOW:
        await asyncio.sleep(emulator.faults.faults.slow_seconds)
    response = _response(call, sent.answer, call.now)
    return await _truncated(request, response) if sent.fault == Fault.TRUNCATED else response


def _reset(request: web.Request) -> None:
    """End the connection without an answer."""
    transport = request.transport
    if transport is not None:
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        transport.abort()


async def _truncated(request: web.Request, whole: web.Response) -> web.StreamResponse:
    """Half of the body under the length of all of it, then the end."""
    body = whole.body if isinstance(whole.body, bytes) else b""
    response = web.StreamResponse(status=whole.status, headers=whole.headers)
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


@contextmanager
def running(app: web.Application, *, port: int = 0) -> Iterator[str]:
    """Serve an application from a thread of this process; gives its address, `http://127.0.0.1:PORT`.

    Raises:
        OSError: the port is taken.
    """
    loop = asyncio.new_event_loop()
    started: Future[int] = Future()
    thread = threading.Thread(target=_serve_in, args=(loop, app, port, started), daemon=True)
    thread.start()
    address = f"http://{HOST}:{started.result(START_SECONDS)}"
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _serve_in(loop: asyncio.AbstractEventLoop, app: web.Application, port: int, started: Future[int]) -> None:
    """Serve until the loop is stopped; `started` gets the port, or why there is none."""
    asyncio.set_event_loop(loop)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=STOP_SECONDS)
    try:
        loop.run_until_complete(runner.setup())
        loop.run_until_complete(web.TCPSite(runner, HOST, port).start())
        started.set_result(runner.addresses[0][1])
        loop.run_forever()
    except OSError as error:
        started.set_exception(error)
    finally:
        loop.run_until_complete(runner.cleanup())
        loop.close()
