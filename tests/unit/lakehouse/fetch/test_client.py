"""The one client against a real server on the loopback: bounded, without redirects, and silent about its credential."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from lakehouse.fetch import client as module
from lakehouse.fetch.client import CredentialRefusedError, HttpClient, TransportError
from lakehouse.fetch.connector import ApiRequest, ApiResponse
from lakehouse.fetch.source import Auth

SECRET = "k-0123456789"


async def echo(request: web.Request) -> web.Response:
    told = {"query": request.query_string, "key": request.headers.get("X-Key"), "path": request.path}
    return web.json_response(told, headers={"Retry-After": "7", "Set-Cookie": "a=b", "X-Other": "no"})


async def elsewhere(_request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"}, text="{}")


async def large(_request: web.Request) -> web.Response:
    return web.Response(body=b"x" * 2_000)


async def slow(_request: web.Request) -> web.Response:
    await asyncio.sleep(5)
    return web.Response()


async def token(request: web.Request) -> web.Response:
    form = await request.post()
    if form["client_secret"] != "right":
        return web.json_response({"error": "invalid_client"}, status=400)
    return web.json_response({"access_token": f"clt.{form['client_key']}", "expires_in": 7200})


def asked(auth: Auth, ask: Callable[[HttpClient, str], Awaitable[Any]], *, speed: float = 1.0) -> Any:
    """What a call gives over a server of its own."""

    async def run() -> Any:
        app = web.Application()
        app.add_routes([web.get("/slow", slow), web.get("/large", large), web.get("/elsewhere", elsewhere)])
        app.add_routes([web.post("/token", token), web.get("/{path:.*}", echo)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with HttpClient(auth, connections=2, speed=speed) as client:
                return await ask(client, address)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def get(path: str, secret: str = SECRET) -> Callable[[HttpClient, str], Awaitable[ApiResponse]]:
    return lambda client, address: client.send(ApiRequest("GET", address + path, {"a": "b"}), secret)


def test_a_header_takes_the_credential_and_an_answer_that_repeats_it_is_masked() -> None:
    found = asked(Auth(header="X-Key"), get("/x"))
    assert found.document == {"query": "a=b", "key": "REDACTED", "path": "/x"}
    assert SECRET.encode() not in found.body


def test_a_parameter_takes_the_credential_and_an_address_the_account() -> None:
    found = asked(Auth(parameter="access_token", has_account=True), get("/{account}", f"1784|{SECRET}"))
    assert found.document == {"query": "a=b&access_token=REDACTED", "key": None, "path": "/1784"}


def test_only_headers_of_limits_and_times_are_kept() -> None:
    assert set(asked(Auth(header="X-Key"), get("/x")).headers) == {"content-type", "date", "retry-after"}


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    assert asked(Auth(header="X-Key"), get("/elsewhere")).status == 302


def test_an_answer_that_is_too_large_too_slow_or_none_is_told_without_query_and_credential(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1_000)
    for path, speed in (("/large", 1.0), ("/slow", 100.0)):
        with pytest.raises(TransportError) as failed:
            asked(Auth(parameter="key"), get(path), speed=speed)
        assert SECRET not in str(failed.value)
        assert "a=b" not in str(failed.value)
    with pytest.raises(TransportError):
        asked(Auth(header="X-Key"), lambda client, _: client.send(ApiRequest("GET", "http://127.0.0.1:9/"), SECRET))


def test_a_token_is_had_for_a_clients_credentials_and_a_refusal_is_told_apart() -> None:
    given = asked(Auth(header="X-Key"), lambda client, address: client.token(f"{address}/token", "me", "right"))
    assert given == ("clt.me", 7200.0)
    with pytest.raises(CredentialRefusedError):
        asked(Auth(header="X-Key"), lambda client, address: client.token(f"{address}/token", "me", "wrong"))


def test_deep_and_broken_documents_are_none_and_large_numbers_keep_their_digits() -> None:
    assert module.parse(b'{"id":7123456789012345678}') == {"id": 7123456789012345678}
    assert module.parse(b"[" * 65 + b"]" * 65) is None
    assert module.parse(b"[" * 100_000) is None
    assert module.parse(b'{"a":') is None
