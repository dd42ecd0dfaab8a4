"""Creators by id and by account, and the evidence: `GET /v1/creators/...`, `GET /v1/accounts/...`, `GET /v1/evidence`."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response

from serving.models import CreatorAnswer, EvidenceAnswer, PairAnswer
from serving.routes.common import ServiceDep, json_response

MAX_NAME_CHARS = 300
"""Longest `platform/name` of an account."""
AccountName = Annotated[str, Query(description="platform/handle or platform/id", max_length=MAX_NAME_CHARS)]

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


@router.get("/creators/{creator_id}/evidence", response_model=EvidenceAnswer)
def read_evidence(creator_id: str, service: ServiceDep) -> Response:
    """Why the accounts of a creator are one: every scored pair with its reasons, and what came near."""
    with service.holder.searcher() as searcher:
        return _answer(searcher.evidence.creator(creator_id), suffix="/evidence")


@router.get("/evidence", response_model=PairAnswer)
def read_pair(left: AccountName, right: AccountName, service: ServiceDep) -> Response:
    """Why two accounts are one creator's, or are not."""
    with service.holder.searcher() as searcher:
        return json_response(searcher.evidence.pair(left, right))


def _answer(creator: dict[str, Any], *, suffix: str = "") -> Response:
    address = f"/v1/creators/{quote(creator['creator_id'], safe='')}{suffix}"
    return json_response(creator, headers={"Content-Location": address})
