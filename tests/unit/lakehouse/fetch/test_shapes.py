"""Fields that answers must have: without any of them the record is stopped and told of. Nothing of a whole one is unknown."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from api_answers import (
    CHANNEL,
    DISCOVERED,
    MEDIUM,
    POST,
    TIKTOK_USER,
    TIKTOK_VIDEO,
    USER,
    VENDOR_PROFILE,
    VIDEO,
    discovery,
    landed,
    mappings,
    sources,
    task,
    tiktok,
    youtube,
)
from ingest_factories import read

from lakehouse.fetch.task import FetchTask
from lakehouse.ingest.mapping import Column, Layout, Source
from lakehouse.ingest.values import source_columns

WRAPPED: dict[tuple[str, str, str], tuple[dict[str, Any], Any]] = {
    ("youtube_api", "channels", "channels"): (CHANNEL, youtube),
    ("youtube_api", "videos", "videos"): (VIDEO, youtube),
    ("x_api", "users", "users"): (USER, lambda record: {"data": [record]}),
    ("x_api", "user_posts", "posts"): (POST, lambda record: {"data": [record]}),
    ("tiktok_display", "user_info", "users"): (TIKTOK_USER, lambda record: tiktok(user=record)),
    ("tiktok_display", "video_list", "videos"): (TIKTOK_VIDEO, lambda record: tiktok(videos=[record])),
    ("tiktok_research", "user_info", "users"): (TIKTOK_USER, lambda record: tiktok(**record)),
    ("instagram_graph", "business_discovery", "profile"): (DISCOVERED, lambda record: discovery(**record)),
    ("instagram_graph", "media", "media"): (MEDIUM, discovery),
    ("licensed_instagram", "profiles", "profiles"): (VENDOR_PROFILE, lambda record: {"data": [record]}),
}
"""By source, endpoint and layout: a whole record, and the answer around it."""


def required_fields() -> list[tuple[str, str, str, str]]:
    """Every field that a layout requires of an answer and that has a column besides what was asked for."""
    return [(*place, field) for place in WRAPPED for field in sorted(required_of(layout_of(*place)))]


def layout_of(source: str, endpoint: str, name: str) -> Layout:
    mapping = mappings()[sources()[source].mapping or source]
    return next(one for one in mapping.layouts if one.name == name)


def required_of(layout: Layout) -> set[str]:
    (record,) = layout.records
    needed = {*layout.required, *(field for rule in layout.required_if for field in rule.fields)}
    needed |= {"post_id"} if record.type == "post" else set()
    told = {
        field
        for field in needed
        if any(c.startswith(("_request", "_account")) for c in columns_of(record.fields[field]))
    }
    return needed - told


def columns_of(source: Source) -> set[str]:
    """Columns that a field takes its value from."""
    return {source.column} if isinstance(source, Column) else {column for column, _ in source_columns(source)}


def asked(source: str, endpoint: str) -> FetchTask:
    return task(source, endpoint, "7" if endpoint == "user_posts" else "oat")


@pytest.mark.parametrize("place", WRAPPED, ids="-".join)
def test_a_whole_record_leaves_nothing_unknown(place: tuple[str, str, str]) -> None:
    source, endpoint, _ = place
    record, wrap = WRAPPED[place]
    found = landed(asked(source, endpoint), wrap(record))
    assert (len(found.records), found.reasons) == (1, [])


@pytest.mark.parametrize(("source", "endpoint", "name", "field"), required_fields())
def test_without_a_required_field_the_record_is_stopped(source: str, endpoint: str, name: str, field: str) -> None:
    record, wrap = WRAPPED[source, endpoint, name]
    layout = layout_of(source, endpoint, name)
    changed = copy.deepcopy(record)
    for column in columns_of(layout.records[0].fields[field]):
        drop(changed, column.split("."))
    assert changed != record
    found = landed(asked(source, endpoint), wrap(changed))
    assert found.records == []
    assert found.reasons == [("missing_required_value", field)]


def test_there_are_required_fields_for_every_layout() -> None:
    assert {(source, endpoint, name) for source, endpoint, name, _ in required_fields()} == WRAPPED.keys()
    assert len(required_fields()) > 30


FILES = {
    "youtube_api": {"channels": "youtube_channels_1.jsonl", "videos": "youtube_videos_1.jsonl"},
    "x_api": {"users": "x_users_1.jsonl", "posts": "x_posts_1.jsonl"},
    "tiktok_api": {"users": "tiktok_users_1.jsonl", "videos": "tiktok_videos_1.jsonl"},
    "instagram_api": {"profile": "instagram_profiles_api_1.jsonl", "media": "instagram_media_api_1.jsonl"},
    "licensed_instagram": {"profiles": "licensed_profiles_1.jsonl"},
}
"""By mapping and layout: a file of the same records, as somebody else may have kept them."""


@pytest.mark.parametrize("place", WRAPPED, ids="-".join)
def test_the_same_records_land_from_files(place: tuple[str, str, str], tmp_path: Path) -> None:
    source, _, name = place
    mapping = mappings()[sources()[source].mapping or source]
    told: dict[str, dict[str, str]] = {
        "posts": {"author_id": "7"},
        "profiles": {"observed_at": "2023-12-31"},
        "media": {"username": "oat"},
        "videos": {} if source == "youtube_api" else {"username": "oat"},
    }
    record = WRAPPED[place][0] | told.get(name, {})
    _, records, entries = read(tmp_path, json.dumps(record), mapping, FILES[mapping.source][name])
    assert (len(records), entries) == (1, [])


def drop(record: Any, path: list[str]) -> None:
    for step in path[:-1]:
        record = record.get(step, {})
    record.pop(path[-1], None)
