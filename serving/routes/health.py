"""Life, readiness, metrics, and the documentation page."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from serving.docs_page import STYLE, STYLE_PATH, docs_page
from serving.errors import NotReadyError
from serving.routes.common import Service, ServiceDep, json_response

router = APIRouter()


@router.get("/healthz", tags=["health"])
def healthz() -> dict[str, str]:
    """The process lives."""
    return {"status": "alive"}


@router.get("/readyz", tags=["health"])
def readyz(service: ServiceDep) -> Response:
    """A snapshot answers; names a newer one that was refused."""
    body = readiness(service)
    return json_response(body, status=503 if body["status"] == "starting" else 200)


@router.get("/metrics", tags=["health"])
def metrics(service: ServiceDep) -> Response:
    """Prometheus text."""
    body = readiness(service)
    service.telemetry.show_snapshot(body["snapshot_id"], body["rows"], is_refused=body["refused"] is not None)
    return Response(service.telemetry.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> Response:
    """The OpenAPI description as a page."""
    return Response(docs_page(request.app.openapi()), media_type="text/html")


@router.get(STYLE_PATH, include_in_schema=False)
def docs_style() -> Response:
    """Style of that page."""
    return Response(STYLE, media_type="text/css")


def readiness(service: Service) -> dict[str, Any]:
    """Answer of `/readyz`."""
    refusal = service.holder.refusal
    body: dict[str, Any] = {
        "status": "starting",
        "snapshot_id": None,
        "as_of": None,
        "rows": 0,
        "refused": asdict(refusal) if refusal else None,
        "checked_at": service.holder.checked_at,
    }
    try:
        with service.holder.searcher() as searcher:
            snapshot = searcher.snapshot
            return body | {
                "status": "degraded" if refusal else "ready",
                "snapshot_id": snapshot.id,
                "as_of": snapshot.vocabulary.as_of.isoformat().replace("+00:00", "Z"),
                "rows": snapshot.manifest.creators_count,
            }
    except NotReadyError:
        return body
