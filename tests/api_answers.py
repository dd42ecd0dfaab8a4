"""Answers of platforms for the tests of connectors: made by hand, or recorded; read as landed ones are."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lakehouse.fetch.capture import Answer
from lakehouse.fetch.client import parse
from lakehouse.fetch.connector import ApiResponse, Connector
from lakehouse.fetch.connectors import connector_for
from lakehouse.fetch.landing import Reader, _of_answer
from lakehouse.fetch.source import Source, load_sources
from lakehouse.fetch.task import FetchTask, Reading
from lakehouse.ingest.convert import Counts, LandedRecord
from lakehouse.ingest.entries import Entry
from lakehouse.ingest.mapping import Mapping as FieldMapping
from lakehouse.ingest.mapping import load_mappings

FETCHED_AT = "2026-11-20T12:00:00Z"
DATE = "Fri, 20 Nov 2026 12:00:00 GMT"


@dataclass(frozen=True)
class Landed:
    """What became of an answer: its records and its quarantine entries."""

    records: list[LandedRecord]
    entries: list[Entry]

    @property
    def payloads(self) -> list[dict[str, Any]]:
        return [record.payload for record in self.records]

    @property
    def reasons(self) -> list[tuple[str, str | None]]:
        return [(entry.reason_code, entry.field_name) for entry in self.entries]


@cache
def sources() -> dict[str, Source]:
    return load_sources()


@cache
def mappings() -> dict[str, FieldMapping]:
    return {mapping.source: mapping for mapping in load_mappings()}


def connector(name: str) -> Connector:
    return connector_for(sources()[name])


def task(source: str, endpoint: str, *keys: str, **more: Any) -> FetchTask:
    return FetchTask(source, endpoint, keys, **more)


def answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> ApiResponse:
    """An answer with a JSON document, or with the text that is given."""
    body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
    return ApiResponse(status, {"date": DATE, **(headers or {})}, body, parse(body))


def read(of: FetchTask, document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reading:
    return connector(of.source).read(of, answer(document, status, headers))


def landed(of: FetchTask, document: Any) -> Landed:
    """The answer through connector, rows and mapping, without its sightings."""
    speaker = connector(of.source)
    reader = Reader(speaker, mappings()[speaker.source.mapping or of.source])
    response = answer(document)
    reading = speaker.read(of, response)
    counts = Counts()
    items = list(_of_answer(reader, Answer(of, response, FETCHED_AT, 1), reading, {}, FETCHED_AT, counts))
    entries = [item for item in items if isinstance(item, Entry)]
    records = [item for item in items if isinstance(item, LandedRecord)]
    return Landed([one for one in records if "state_reason" not in one.payload], entries)


def without(document: Any, path: Sequence[str | int]) -> Any:
    """The document without what is at a path."""
    changed = copy.deepcopy(document)
    place = changed
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return changed


def api_folder(real_data: Path, platform: str) -> Path:
    """Recorded answers of a platform; the test skips where there are none."""
    folder = real_data / "api" / platform
    if not folder.is_dir():
        pytest.skip(f"no recorded answers in {folder}")
    return folder


def recorded(folder: Path, pattern: str = "**/*.json") -> Iterator[tuple[str, Any]]:
    """Recorded documents below a folder, by relative path."""
    for path in sorted(folder.glob(pattern)):
        yield str(path.relative_to(folder)), json.loads(path.read_bytes())


CHANNEL = {
    "kind": "youtube#channel",
    "etag": "e",
    "id": "UCaaaaaaaaaaaaaaaaaaaaaa",
    "snippet": {
        "title": "Oat",
        "description": "Porridge",
        "customUrl": "@oat",
        "publishedAt": "2015-03-01T10:00:00.123Z",
        "thumbnails": {"default": {"url": "https://example.org/a.jpg"}},
        "localized": {"title": "Oat", "description": "Porridge"},
        "country": "DE",
    },
    "contentDetails": {"relatedPlaylists": {"likes": "", "uploads": "UUaaaaaaaaaaaaaaaaaaaaaa"}},
    "statistics": {
        "viewCount": "90071992547409931",
        "subscriberCount": "12300",
        "hiddenSubscriberCount": False,
        "videoCount": "7",
    },
    "topicDetails": {"topicCategories": ["https://en.wikipedia.org/wiki/Food"]},
    "brandingSettings": {"channel": {"title": "Oat", "keywords": '"oat milk" oats'}},
    "status": {"privacyStatus": "public", "madeForKids": False},
}
VIDEO = {
    "kind": "youtube#video",
    "etag": "e",
    "id": "aaaaaaaaaaa",
    "snippet": {
        "publishedAt": "2026-10-01T10:00:00Z",
        "channelId": "UCaaaaaaaaaaaaaaaaaaaaaa",
        "channelTitle": "Oat",
        "title": "Oats",
        "description": "How to",
        "tags": ["oats"],
        "categoryId": "26",
    },
    "contentDetails": {"duration": "PT1M2S", "caption": "false", "definition": "hd"},
    "statistics": {"viewCount": "10", "favoriteCount": "0"},
    "status": {"privacyStatus": "public"},
}
USER = {
    "id": "1234567890123456789",
    "name": "Oat",
    "username": "oat",
    "created_at": "2015-03-01T10:00:00.000Z",
    "description": "Porridge https://t.co/b",
    "entities": {
        "url": {"urls": [{"start": 0, "end": 5, "url": "https://t.co/a", "expanded_url": "https://oat.example"}]},
        "description": {"urls": [{"url": "https://t.co/b", "expanded_url": "https://youtube.com/@oat"}]},
    },
    "location": "everywhere",
    "protected": False,
    "verified": True,
    "verified_type": "blue",
    "url": "https://t.co/a",
    "public_metrics": {
        "followers_count": 10,
        "following_count": 2,
        "post_count": 3,
        "listed_count": 0,
        "like_count": 4,
        "media_count": 1,
    },
}
POST = {
    "id": "1990000000000000001",
    "text": "Oats #porridge",
    "created_at": "2026-10-01T10:00:00.000Z",
    "lang": "und",
    "edit_history_post_ids": ["1990000000000000001"],
    "entities": {"hashtags": [{"start": 5, "end": 14, "tag": "porridge"}]},
    "public_metrics": {
        "repost_count": 1,
        "reply_count": 2,
        "like_count": 3,
        "quote_count": 0,
        "bookmark_count": 5,
        "impression_count": 100,
    },
}
TIKTOK_OK = {"code": "ok", "message": "", "log_id": "20261101"}
TIKTOK_USER = {
    "open_id": "-000a",
    "union_id": "u",
    "avatar_url": "https://example.org/a.jpg",
    "display_name": "Oat",
    "bio_description": "Porridge",
    "profile_deep_link": "https://vm.tiktok.com/a/",
    "is_verified": False,
    "username": "oat",
    "follower_count": 10,
    "following_count": 2,
    "likes_count": 30,
    "video_count": 3,
}
TIKTOK_VIDEO = {
    "id": 7702874395068494965,
    "create_time": 1790000000,
    "video_description": "Oats #porridge",
    "duration": 12,
    "title": "Oats",
    "share_url": "https://www.tiktok.com/@oat/video/1",
    "like_count": 3,
    "comment_count": 2,
    "share_count": 1,
    "view_count": 100,
}
DISCOVERED = {
    "id": "17841400000000002",
    "ig_id": 123456789,
    "username": "oat",
    "name": "Oat",
    "biography": "Porridge",
    "website": "https://oat.example",
    "profile_picture_url": "https://example.org/a.jpg",
    "followers_count": 10,
    "follows_count": 2,
    "media_count": 3,
}
MEDIUM = {
    "id": "17900000000000001",
    "caption": "Oats",
    "comments_count": 2,
    "like_count": 3,
    "media_type": "IMAGE",
    "media_product_type": "FEED",
    "permalink": "https://www.instagram.com/p/a/",
    "timestamp": "2026-10-01T10:00:00+0000",
}
VENDOR_PROFILE = {
    "id": "123456789",
    "username": "oat",
    "full_name": "Oat",
    "biography": "Porridge",
    "external_url": None,
    "bio_links": ["https://oat.example"],
    "category": "Food",
    "country": "DE",
    "language": "de",
    "profile_url": "https://www.instagram.com/oat/",
    "account_type": "creator",
    "is_verified": False,
    "is_private": False,
    "followers_count": None,
    "following_count": 2,
    "posts_count": 3,
    "created_at": "2015-03-01T10:00:00Z",
    "observed_at": "2026-11-20T11:00:00Z",
}
"""One record of each kind with every field that we ask for."""


def youtube(*items: Any, **more: Any) -> dict[str, Any]:
    return {
        "kind": "youtube#listResponse",
        "etag": "e",
        "pageInfo": {},
        **({"items": [*items]} if items else {}),
        **more,
    }


def tiktok(**data: Any) -> dict[str, Any]:
    return {"data": data, "error": TIKTOK_OK}


def discovery(*media: Any, after: str = "", **profile: Any) -> dict[str, Any]:
    found = {**(profile or DISCOVERED)}
    if media:
        paging = {"paging": {"cursors": {"after": after}}} if after else {}
        found["media"] = {"data": [*media], **paging}
    return {"business_discovery": found, "id": "17841400000000001"}
