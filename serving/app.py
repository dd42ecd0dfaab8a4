"""Assembles the application. Importing does nothing; `create_app` builds everything from settings.

Routes, errors, middleware and the watcher of `CURRENT` are put together here and written elsewhere.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from threadpoolctl import threadpool_limits

from lakehouse.errors import CreatorlakeError
from serving.encoder import QueryEncoder
from serving.errors import RequestError
from serving.gate import Gate
from serving.holder import SnapshotHolder
from serving.models import SearchRequest
from serving.routes import creators, health, search
from serving.routes.common import Service, json_response
from serving.search import Searcher
from serving.settings import ServingSettings
from serving.snapshot import Snapshot, Source, open_source
from serving.telemetry import Telemetry

TITLE = "creatorlake"
DESCRIPTION = "Find creators over one published snapshot. Every unknown key is an error, every score adds up."

HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}

WARM_REQUEST = {"limit": 1}


def create_app(
    settings: ServingSettings, *, source: Source | None = None, encoder: QueryEncoder | None = None
) -> FastAPI:
    """The search service.

    Args:
        settings: everything it can be told.
        source: where snapshots come from; the lake of the settings when None.
        encoder: used instead of the one that a snapshot names.
    """
    chosen = source or open_source(settings.lake.lake_root, settings)
    holder = SnapshotHolder(chosen, _opener(chosen, settings, encoder))
    app = FastAPI(title=TITLE, description=DESCRIPTION, docs_url=None, redoc_url=None, lifespan=_lifespan)
    app.state.service = Service(settings, holder, Telemetry())
    for router in (search.router, creators.router, health.router):
        app.include_router(router)
    _add_page(app, settings)
    _add_errors(app)
    app.add_middleware(Gate, telemetry=app.state.service.telemetry)
    app.openapi = _openapi(app.openapi)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Watch `CURRENT` in a thread while the application runs; the first look is the start-up."""
    service: Service = app.state.service
    stop = threading.Event()
    watcher = threading.Thread(
        target=service.holder.watch, args=(stop, service.settings.poll_seconds), name="snapshots", daemon=True
    )
    with threadpool_limits(1, user_api="blas"):  # requests run beside each other, not each on all cores
        watcher.start()
        yield
        stop.set()
        watcher.join()
    service.holder.close()


def _opener(source: Source, settings: ServingSettings, encoder: QueryEncoder | None) -> Callable[[str], Searcher]:
    """Fetch, check, open and warm a snapshot."""
    secret = settings.cursor_secret()

    def open_searcher(snapshot_id: str) -> Searcher:
        searcher = Searcher(Snapshot.open(source.fetch(snapshot_id), settings, encoder=encoder), secret=secret)
        try:
            if searcher.snapshot.encoder is not None:
                searcher.snapshot.encoder.warm()
            searcher.search(WARM_REQUEST)
        except Exception:
            searcher.close()
            raise
        return searcher

    return open_searcher


def _add_page(app: FastAPI, settings: ServingSettings) -> None:
    """The search page at `/` and its files under `/static`; none where the folder has no page."""
    index = settings.web_folder / "index.html"
    if not index.is_file():
        return
    app.mount("/static", StaticFiles(directory=settings.web_folder), name="static")

    @app.get("/", include_in_schema=False)
    def _page() -> Response:
        return FileResponse(index)


def _add_errors(app: FastAPI) -> None:
    """Every failure has one shape."""

    @app.exception_handler(RequestError)
    async def _request_error(_request: Request, error: RequestError) -> Response:
        return json_response(error.body(), status=error.status)

    @app.exception_handler(CreatorlakeError)
    async def _lake_error(_request: Request, error: CreatorlakeError) -> Response:
        return json_response(_error("internal", str(error)), status=500)

    @app.exception_handler(RequestValidationError)
    async def _validation_error(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        return json_response(_error("invalid_value", f"{field}: {first['msg']}.", field=field), status=422)

    @app.exception_handler(HTTPException)
    async def _http_error(_request: Request, error: HTTPException) -> Response:
        code = HTTP_CODES.get(error.status_code, "http_error")
        return json_response(
            _error(code, str(error.detail)), status=error.status_code, headers=dict(error.headers or {})
        )

    @app.exception_handler(Exception)
    async def _bug(request: Request, _problem: Exception) -> Response:
        body = _error("internal", "The service failed; its log says why.")
        return json_response(body, status=500, headers={"X-Request-Id": request.state.request_id})


def _error(code: str, message: str, *, field: str | None = None) -> dict[str, Any]:
    return RequestError(code, message, field=field).body()


def _openapi(describe: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """The description with the schema of the search body, which no route parameter declares."""

    def described() -> dict[str, Any]:
        document = describe()
        template = "#/components/schemas/{model}"
        _, schemas = models_json_schema([(SearchRequest, "validation")], ref_template=template)
        components = document.setdefault("components", {}).setdefault("schemas", {})
        for name, schema in schemas["$defs"].items():
            components.setdefault(name, schema)
        return document

    return described
