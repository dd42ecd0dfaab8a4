"""`POST /v1/search`, `GET /v1/dictionaries`, `GET /v1/snapshot`."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from serving.dictionaries import dictionaries, snapshot_info
from serving.errors import BadRequestError, TooLargeError
from serving.models import SearchResponse
from serving.routes.common import Service, ServiceDep, json_response

router = APIRouter(prefix="/v1", tags=["search"])

CLIENT_CLOSED_REQUEST = 499
"""Status of a search whose caller went away before it was sent whole; only the log and the metrics see it."""

BODY_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SearchRequest"}}},
    }
}
"""The body is validated by the searcher, which alone knows the snapshot's columns; this describes it."""


@router.post("/search", response_model=SearchResponse, openapi_extra=BODY_SCHEMA)
async def search(request: Request, service: ServiceDep) -> Response:
    """Ranked creators for a text, filters, or creators to be similar to."""
    try:
        body = await _read(request, service.settings.max_body_bytes)
    except ClientDisconnect:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return await run_in_threadpool(_search, service, body)


@router.get("/dictionaries")
def read_dictionaries(service: ServiceDep) -> Response:
    """Values that filters accept, with counts of this snapshot."""
    with service.holder.searcher() as searcher:
        return json_response(dictionaries(searcher))


@router.get("/snapshot")
def read_snapshot(service: ServiceDep) -> Response:
    """What is served: id, age, rows, encoder, measured recall."""
    with service.holder.searcher() as searcher:
        return json_response(snapshot_info(searcher))


def _search(service: Service, body: bytes) -> Response:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError("invalid_json", "The body is not JSON.") from error
    with service.holder.searcher() as searcher:
        answer = searcher.search(value)
    service.telemetry.plans.labels(answer.plan.name, answer.plan.stop).inc()
    return Response(answer.model_dump_json(), media_type="application/json")


async def _read(request: Request, limit: int) -> bytes:
    """Whole body, refused as soon as it is too long."""
    parts: list[bytes] = []
    room = limit
    async for chunk in request.stream():
        room -= len(chunk)
        if room < 0:
            raise TooLargeError("body_too_large", f"The body has more than {limit} bytes.", details={"limit": limit})
        parts.append(chunk)
    return b"".join(parts)
