"""`GET /v1/creators/{creator_id}` and `GET /v1/accounts/{platform}/{handle}`."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Response

from serving.models import CreatorAnswer
from serving.routes.common import ServiceDep, json_response

router = APIRouter(prefix="/v1", tags=["creators"])


@router.get("/creators/{creator_id}", response_model=CreatorAnswer)
def read_creator(creator_id: str, service: ServiceDep) -> Response:
    """One creator with accounts, history and posts; former ids answer with today's creator."""
    with service.holder.searcher() as searcher:
        return _answer(searcher.creator(creator_id))


@router.get("/accounts/{platform}/{handle}", response_model=CreatorAnswer)
def read_account(platform: str, handle: str, service: ServiceDep) -> Response:
    """The creator that owns an account, by handle with or without @."""
    with service.holder.searcher() as searcher:
        return _answer(searcher.account(platform, handle))


def _answer(creator: dict[str, Any]) -> Response:
    address = f"/v1/creators/{quote(creator['creator_id'], safe='')}"
    return json_response(creator, headers={"Content-Location": address})
