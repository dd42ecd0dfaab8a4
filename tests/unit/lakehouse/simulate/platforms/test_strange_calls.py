"""Calls that make no sense: always an answer of the platform, never a failure of the emulator. Below the network."""

import datetime as dt
import json
import random

import pytest

from lakehouse.simulate.platforms.clock import VirtualClock
from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.gate import PREFIXES, Gate
from lakehouse.simulate.platforms.life import origin_of
from lakehouse.simulate.platforms.quotas import Quotas
from lakehouse.simulate.platforms.wire import Call

NAMES = [
    "id",
    "part",
    "maxResults",
    "pageToken",
    "forHandle",
    "playlistId",
    "q",
    "type",
    "ids",
    "usernames",
    "user.fields",
    "post.fields",
    "expansions",
    "max_results",
    "pagination_token",
    "since_id",
    "fields",
    "access_token",
    "since",
    "cursor",
    "limit",
    "days",
    "usage.fields",
    "videoId",
]
PATHS = [
    "channels",
    "playlistItems",
    "videos",
    "search",
    "users",
    "users/by",
    "users/{}",
    "users/{}/tweets",
    "usage/tweets",
    "user/info/",
    "video/list/",
    "research/user/info/",
    "research/video/query/",
    "oauth/token/",
    "17841400000000001",
    "profiles",
    "profiles/changed",
]
VALUES = ("", "-1", "9" * 4_999, "é☃\x00\"\\{", "0001-01-01", "2026-06-01", "9999-12-31T23:59:59+00:00", "snippet,statistics", "channel", "a,,b",
          "public_metrics", "username,follower_count", "business_discovery.username(a){media.limit(3){id}}", "AAAAAAAAAAUAAAAA")  # fmt: skip
BODIES = (b"", b"{", b"[]", b"\xff\xfe", b'{"max_count": 1e99}', b'{"cursor": -1}', b'{"username": 7}', b'{"query": {"and": [7]}}',
          b"[" * 100_000, b'{"max_count": 99999999999999999999999999}', b"client_key=tt-a")  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_every_call_has_an_answer(lively, seed):
    draw = random.Random(seed)
    now = origin_of(lively.world) + 86_400 * 20
    clock = VirtualClock(dt.datetime.fromtimestamp(now, dt.UTC), speed=0)
    gate = Gate(Emulator(lively, clock, Quotas.unlimited()))
    ids = [key for book in lively.books for key in book.platform_ids[:5]]
    handles = [key for book in lively.books for key in list(book.handles.first)[:5]]
    headers = [
        {"X-Goog-Api-Key": "yt-a"},
        {"X-Api-Key": "v-a"},
        {"Authorization": "Bearer x-a"},
        {"Authorization": "Bearer ig-a"},
    ]
    headers += [{"Authorization": f"Bearer act.{key}"} for key in lively.book("tiktok").platform_ids[:3]] + [{}]
    for _ in range(700):
        prefix, service = draw.choice(PREFIXES)
        path = prefix + draw.choice(PATHS).format(draw.choice([*ids, *handles, "٣", "%"]))
        params = {draw.choice(NAMES): draw.choice([*VALUES, *ids, *handles]) for _ in range(draw.randrange(5))}
        call = Call(
            service, draw.choice(["GET", "POST"]), path, params, draw.choice(headers), draw.choice(BODIES), now, now
        )
        answer = gate.send(call).answer
        assert answer.status in {200, 400, 401, 403, 404}
        json.loads(answer.body)
