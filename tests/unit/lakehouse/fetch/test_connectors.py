"""Every endpoint against the emulator, which refuses what the platforms refuse: requests are accepted, answers land."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from api_answers import landed, sources

from lakehouse.fetch.client import parse
from lakehouse.fetch.connector import ApiResponse
from lakehouse.fetch.connectors import connector_for
from lakehouse.fetch.task import AccountState, Fate, FetchTask, Reading
from lakehouse.simulate.platforms.clock import VirtualClock
from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.faults import Faults
from lakehouse.simulate.platforms.life import Life, origin_of
from lakehouse.simulate.platforms.quotas import Quotas
from lakehouse.simulate.platforms.registry import registry_of
from lakehouse.simulate.platforms.server import app_of, running
from lakehouse.simulate.world import World

WORLD = World(creators_count=60)
DAYS = 40
SECRETS = {
    "youtube_api": "yt-lab",
    "x_api": "x-lab",
    "instagram_graph": "17841400000000001|ig-lab",
    "licensed_instagram": "v-lab",
}
CLIENT = {"client_key": "tt-lab", "client_secret": "secret", "grant_type": "client_credentials"}


@dataclass
class Platforms:
    """A running emulator, asked as the worker asks."""

    emulator: Emulator
    http: httpx.Client
    address: str

    def states(self, platform: str) -> list[Any]:
        return list(self.emulator.registry.states(platform, self.emulator.clock.seconds()))

    def window(self) -> dict[str, str]:
        today = dt.datetime.fromtimestamp(self.emulator.clock.seconds(), dt.UTC).date()
        return {"since": str(today - dt.timedelta(days=28)), "until": str(today)}

    def ask(self, asked: FetchTask, secret: str = "") -> tuple[Reading, ApiResponse]:
        source = sources()[asked.source]
        request = connector_for(source).request(asked)
        account, _, token = (secret or self.secret(asked.source)).rpartition("|")
        value = source.auth.value.replace("{secret}", token)
        placed = {source.auth.header or source.auth.parameter: value}
        url = request.url.replace(
            source.base_url, self.address + ("/youtube/v3" if asked.source == "youtube_api" else "")
        )
        answer = self.http.request(
            request.method,
            url.replace("{account}", account),
            params=dict(request.params) | (placed if source.auth.parameter else {}),
            headers=placed if source.auth.header else {},
            json=request.body,
        )
        headers = {name.lower(): text for name, text in answer.headers.items()}
        response = ApiResponse(answer.status_code, headers, answer.content, parse(answer.content))
        return connector_for(source).read(asked, response), response

    def secret(self, source: str) -> str:
        if source == "tiktok_research":
            return str(self.http.post(f"{self.address}/v2/oauth/token/", data=CLIENT).json()["access_token"])
        return SECRETS[source]


@pytest.fixture(scope="module")
def platforms() -> Iterator[Platforms]:
    now = dt.datetime.fromtimestamp(origin_of(WORLD), dt.UTC) + dt.timedelta(days=DAYS)
    emulator = Emulator(registry_of(WORLD, Life.none()), VirtualClock(now, speed=0), Quotas())
    with running(app_of(emulator)) as address, httpx.Client(timeout=10, verify=False) as http:
        yield Platforms(emulator, http, address)


def check(asked: FetchTask, found: tuple[Reading, ApiResponse], *, records: bool = True) -> Reading:
    reading, response = found
    assert (reading.fate, reading.reason, response.status) == (Fate.DONE, "", 200), response.body[:500]
    landing = landed(asked, response.document)
    assert landing.entries == []
    assert bool(landing.records) == records
    return reading


def test_youtube(platforms: Platforms) -> None:
    states = platforms.states("youtube")[:50]
    ids = tuple(state.platform_id for state in states)
    asked = FetchTask(
        "youtube_api", "channels", (*ids[:-1], "UC" + "x" * 22), params={"posts": "1"} | platforms.window()
    )
    channels = check(asked, platforms.ask(asked))
    assert [one.state for one in channels.sightings] == [AccountState.DELETED]
    by_handle = FetchTask("youtube_api", "channels_by_handle", (states[0].handle,))
    check(by_handle, platforms.ask(by_handle))
    lists = [check(one, platforms.ask(one), records=False) for one in channels.follow_ups[:5]]
    videos = [one for reading in lists for one in reading.follow_ups if one.endpoint == "videos"]
    assert videos
    check(videos[0], platforms.ask(videos[0]))
    search = FetchTask("youtube_api", "search", (states[0].handle,), params={"language": "en"})
    assert platforms.ask(search)[0].fate is Fate.DONE


def test_x(platforms: Platforms) -> None:
    states = platforms.states("x")[:60]
    for endpoint, keys in (
        ("users", (*(state.platform_id for state in states), "999")),
        ("users_by_username", (*(state.handle for state in states), "nobody_here")),
    ):
        asked = FetchTask("x_api", endpoint, keys, params={"posts": "1", "pages": "2"})
        reading = check(asked, platforms.ask(asked))
        assert len(reading.sightings) == 1
    posts = reading.follow_ups[0]
    assert check(posts, platforms.ask(posts)).rows > 0
    window = FetchTask("x_api", "user_posts", posts.keys, params=platforms.window())
    assert platforms.ask(window)[0].fate is Fate.DONE


def test_tiktok_display(platforms: Platforms) -> None:
    state = next(one for one in platforms.states("tiktok") if one.profile.has_consent)
    token = f"act.{state.platform_id}"
    asked = FetchTask("tiktok_display", "user_info", (state.handle,), params={"posts": "1"} | platforms.window())
    (videos,) = check(asked, platforms.ask(asked, token)).follow_ups
    assert platforms.ask(videos, token)[0].fate is Fate.DONE
    assert platforms.ask(asked, "act.0")[0].fate is Fate.DEAD


def test_tiktok_research(platforms: Platforms) -> None:
    asked = FetchTask("tiktok_research", "user_info", (platforms.states("tiktok")[0].handle,))
    check(asked, platforms.ask(asked))
    query = FetchTask("tiktok_research", "video_query", asked.keys, params=platforms.window())
    check(query, platforms.ask(query))
    nobody = FetchTask("tiktok_research", "user_info", ("nobody.here",))
    assert [one.state for one in platforms.ask(nobody)[0].sightings] == [AccountState.UNKNOWN]


def test_instagram(platforms: Platforms) -> None:
    seen = set()
    for state in platforms.states("instagram")[:40]:
        asked = FetchTask("instagram_graph", "business_discovery", (state.handle,), params={"posts": "1"})
        reading, response = platforms.ask(asked)
        assert reading.fate is Fate.DONE
        if not reading.sightings:
            check(asked, (reading, response))
            media = FetchTask("instagram_graph", "media", asked.keys, params=platforms.window())
            assert platforms.ask(media)[0].fate is Fate.DONE
        seen.add(len(reading.sightings))
    assert seen == {0, 1}


def test_the_vendor(platforms: Platforms) -> None:
    names = tuple(state.handle for state in platforms.states("instagram")[:60])
    asked = FetchTask("licensed_instagram", "profiles", (*names, "nobody.here"))
    assert len(check(asked, platforms.ask(asked)).sightings) == 1
    changed = FetchTask("licensed_instagram", "profiles_changed", (), params=platforms.window())
    check(changed, platforms.ask(changed))


def test_no_account_is_lost_in_a_storm(platforms: Platforms) -> None:
    """In a world where nothing is ever deleted, every call that goes wrong is one to repeat, to wait for or to give up."""
    youtube, x, instagram = (platforms.states(name)[:40] for name in ("youtube", "x", "instagram"))
    batches = [
        FetchTask("youtube_api", "channels", tuple(state.platform_id for state in youtube)),
        FetchTask("x_api", "users", tuple(state.platform_id for state in x)),
        FetchTask("licensed_instagram", "profiles", tuple(state.handle for state in instagram)),
    ]
    fates: set[Fate] = set()
    platforms.emulator.set_faults(replace(Faults.storm(), lost=0.0, reset=0.0, slow=0.0))
    try:
        for asked in batches * 60:
            platforms.emulator.clock.jump(10)  # past windows of a second
            try:
                reading, response = platforms.ask(asked)
            except httpx.TransportError:  # cut short: the client's matter
                continue
            fates.add(reading.fate)
            assert reading.sightings == (), response.body[:300]
            assert (reading.fate is Fate.DONE) == bool(reading.rows)
    finally:
        platforms.emulator.set_faults(Faults())
    assert fates == {Fate.DONE, Fate.RETRY, Fate.PARK}


@pytest.mark.parametrize(
    "asked",
    [
        FetchTask("youtube_api", "playlist_items", ("UC" + "x" * 22,), cursor="bogus"),
        FetchTask("x_api", "user_posts", ("1",), cursor="bogus"),
        FetchTask("licensed_instagram", "profiles_changed", (), cursor="bogus", params={"since": "2026-01-01"}),
    ],
)
def test_stale_cursors(platforms: Platforms, asked: FetchTask) -> None:
    keyed = asked
    if asked.keys:
        state = platforms.states("youtube" if asked.source == "youtube_api" else "x")[0]
        keyed = FetchTask(asked.source, asked.endpoint, (state.platform_id,), cursor=asked.cursor)
    reading, _ = platforms.ask(keyed)
    assert (reading.fate, [one.cursor for one in reading.follow_ups]) == (Fate.DONE, [""])
