"""The service over HTTP, in process: routes, error shape, headers, limits, readiness, metrics, log."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from serving_factories import serving_settings, word_encoder
from starlette.testclient import TestClient

from index_build.publish import publish
from lakehouse.errors import PermanentError
from lakehouse.storage.objects import ObjectStore
from serving.app import create_app
from serving.cli import search_text
from serving.docs_page import docs_page
from serving.models import Filters, SearchResponse, Weights
from serving.settings import ServingSettings

API_DOCS = Path(__file__).parents[3] / "docs" / "api.md"


@pytest.fixture(scope="module")
def app(people_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    settings = serving_settings(tmp_path_factory.mktemp("lake"), max_body_bytes=20_000)
    publish(ObjectStore.open(settings.lake), people_folder)
    return create_app(settings, encoder=word_encoder())


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    app.state.service.holder.refresh()
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


def test_search_answers_in_the_documented_shape(client: TestClient) -> None:
    answer = client.post("/v1/search", json={"query": "football player", "limit": 1})
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == set(SearchResponse.model_fields)
    assert body["hits"][0]["creator_id"] in ("c_messi", "c_cr7")
    assert body["as_of"] == "2026-03-01T00:00:00Z"
    following = client.post("/v1/search", json={"query": "football player", "limit": 1, "cursor": body["next_cursor"]})
    assert following.json()["hits"][0]["creator_id"] != body["hits"][0]["creator_id"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("POST", "/v1/search", b"{", 400, "invalid_json"),
        ("POST", "/v1/search", b"[" * 10_000, 400, "invalid_json"),
        ("POST", "/v1/search", b"[]", 422, "invalid_value"),
        ("POST", "/v1/search", b'{"filters": {"folowers": {}}}', 422, "unknown_filter"),
        ("POST", "/v1/search", b'{"cursor": "abc"}', 400, "invalid_cursor"),
        ("POST", "/v1/search", b'{"query": "' + b"x" * 20_000 + b'"}', 413, "body_too_large"),
        ("GET", "/v1/search", None, 405, "method_not_allowed"),
        ("GET", "/v1/creators/nobody", None, 404, "unknown_creator"),
        ("GET", "/v1/accounts/instagram/nobody", None, 404, "unknown_account"),
        ("GET", "/v1/nothing", None, 404, "not_found"),
    ],
)
def test_errors_have_one_shape(
    client: TestClient, method: str, path: str, content: bytes | None, status: int, code: str
) -> None:
    answer = client.request(method, path, content=content)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"code", "message", "details", "field"}
    assert answer.json()["error"]["code"] == code


def test_a_bug_is_a_plain_500_with_the_request_id(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("serving.search.Searcher.creator", broken)
    answer = client.get("/v1/creators/c_messi", headers={"X-Request-Id": "abc-1"})
    assert (answer.status_code, answer.headers["X-Request-Id"]) == (500, "abc-1")
    assert "secret" not in answer.text


def test_a_cancelled_search_is_no_failure(app: FastAPI, client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    assert client.get("/healthz").status_code == 200
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/search", "query_string": b"", "headers": []}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 499
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_what_is_not_unicode_is_a_plain_422(client: TestClient) -> None:
    for body in (b'{"filters": {"\\ud800": 1}}', b'{"\\ud800": 1}', b'{"query": "\\ud800"}', b'{"sort": "\\ud800"}'):
        assert client.post("/v1/search", content=body).status_code == 422, body


def test_former_ids_and_handles_lead_to_the_creator(client: TestClient) -> None:
    for path in ("/v1/creators/c_old_messi", "/v1/accounts/instagram/@LeoMessi"):
        answer = client.get(path)
        assert answer.json()["creator_id"] == "c_messi"
        assert answer.headers["Content-Location"] == "/v1/creators/c_messi"


def test_dictionaries_and_snapshot(client: TestClient) -> None:
    found = client.get("/v1/dictionaries").json()
    assert {entry["code"]: entry["count"] for entry in found["platforms"]}["instagram"] == 3
    assert set(Filters.model_fields) == set(found["filters"])
    assert found["weights"] == Weights().model_dump()
    assert client.get("/v1/snapshot").json()["rows"] == 6


def test_health_readiness_and_metrics(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["status"], ready.json()["rows"]) == (200, "ready", 6)
    metrics = client.get("/metrics").text
    assert 'creatorlake_requests_total{route="/v1/search",status="200"}' in metrics
    assert "creatorlake_snapshot_rows{" in metrics
    assert "leomessi" not in metrics


def test_an_application_without_a_snapshot_is_alive_but_not_ready(tmp_path: Path) -> None:
    settings = serving_settings(tmp_path)
    Path(settings.lake.lake_root).mkdir(parents=True)
    with TestClient(create_app(settings, encoder=word_encoder())) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        assert client.post("/v1/search", json={}).json()["error"]["code"] == "not_ready"


def test_every_answer_has_an_id_and_safe_headers(client: TestClient) -> None:
    answer = client.get("/healthz", headers={"X-Request-Id": "mine.1"})
    assert answer.headers["X-Request-Id"] == "mine.1"
    assert "unsafe-inline" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    replaced = client.get("/healthz", headers={"X-Request-Id": "a b\n"}).headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f]{24}", replaced)


def test_the_access_log_never_holds_the_question(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="creatorlake.access"):
        client.post("/v1/search?debug=tulips", json={"query": "tulips"})
        client.get("/v1/accounts/instagram/leomessi")
    lines = [json.loads(record.message) for record in caplog.records if record.name == "creatorlake.access"]
    assert [line["route"] for line in lines] == ["/v1/search", "/v1/accounts/{platform}/{handle}"]
    assert "tulips" not in caplog.text
    assert "leomessi" not in "".join(record.message for record in caplog.records if record.name == "creatorlake.access")


def test_the_documentation_needs_no_other_host(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "<script" not in page.text
    assert "/v1/search" in page.text
    assert client.get("/docs/style.css").headers["content-type"].startswith("text/css")
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert set(schemas["Filters"]["properties"]) == set(Filters.model_fields)


def test_documentation_escapes_what_it_quotes() -> None:
    page = docs_page({"info": {"title": "<b>"}, "paths": {"/<x>": {"get": {"summary": "<script>"}}}})
    assert "<b>" not in page
    assert "<script>" not in page


def test_every_filter_weight_and_route_is_documented(app: FastAPI) -> None:
    text = API_DOCS.read_text(encoding="utf-8")
    routes = [path for path in app.openapi()["paths"] if path != "/"]
    for name in (*Filters.model_fields, *Weights.model_fields, *routes):
        assert f"`{name}`" in text or f" {name}`" in text, name
    for name in set(ServingSettings.model_fields) - {"lake"}:
        assert f"`CREATORLAKE_SERVE_{name.upper()}`" in text, name
    for name, weight in Weights().model_dump().items():
        assert re.search(rf"\| `{name}` \| {weight:.2f} \|", text), name


def test_requests_in_parallel_agree(client: TestClient) -> None:
    bodies = [{"query": "football player"}, {"filters": {"niche": ["food"]}}, {"sort": "followers"}]
    expected = [[h["score"] for h in client.post("/v1/search", json=body).json()["hits"]] for body in bodies]
    wrong: list[Any] = []

    def ask(place: int) -> None:
        for _ in range(5):
            found = [h["score"] for h in client.post("/v1/search", json=bodies[place]).json()["hits"]]
            wrong.extend([found] if found != expected[place] else [])

    threads = [threading.Thread(target=ask, args=(place % 3,)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_terminal_prints_hits_and_reasons(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = app.state.service.settings.lake.lake_root
    monkeypatch.setattr("serving.snapshot.encoder_for", lambda *_, **__: word_encoder())
    assert search_text("leo messi", filters='{"platforms": ["instagram"]}', limit=2, lake=lake) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[1].split()[1:3] == ["Leo", "Messi"]
    assert "instagram @leomessi" in shown
    with pytest.raises(PermanentError, match="Unknown domain 'short'"):
        search_text("leo messi", domain="short", lake=lake)
