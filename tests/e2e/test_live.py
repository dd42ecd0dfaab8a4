"""What platforms say reaches the search: accounts of a list are asked for, a creator changes, the next run shows it."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lakehouse.fetch.capture import read_answers, read_manifests
from lakehouse.fetch.clock import WallClock
from lakehouse.fetch.runtime import active_sources, tools_of
from lakehouse.settings import load_settings
from lakehouse.simulate.platforms.clock import VirtualClock
from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.server import app_of, build_emulator, running
from lakehouse.simulate.platforms.truth import accounts_of
from lakehouse.simulate.world import World
from lakehouse.storage.objects import ObjectStore
from tests.fetch_factory import CREDENTIALS, batches, urls_of
from tests.support import SHORT_JVM, WORLD, Home, request, served

pytestmark = [pytest.mark.e2e, pytest.mark.proof]
LATER_SECONDS = 60 * 86_400
TOLERANCE = 0.001
"""Followers move on between the answer and the look at the truth: by this share, or by one."""
ASKED = ("licensed_instagram", "tiktok_research", "x_api", "youtube_api")


@dataclass
class Live:
    """A home whose lake was filled by files and is fed by an emulator."""

    home: Home
    emulator: Emulator
    folder: Path

    def run(self, *arguments: str) -> str:
        done = self.home.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def progress(self, step: str) -> dict[str, Any]:
        return json.loads((Path(self.home.lake) / "progress" / f"{step}.json").read_text(encoding="utf-8"))

    def asked(self, source: str, endpoint: str) -> list[str]:
        """Keys of all answers of an endpoint that were landed."""
        objects = self.home.objects
        answers = (
            answer
            for manifest in read_manifests(objects)
            if manifest.source == source
            for answer in read_answers(objects.get(manifest.path))
        )
        return [key for answer in answers if answer.task.endpoint == endpoint for key in answer.task.keys]

    def ids(self, platform: str) -> list[str]:
        return [one["id"] for one in accounts_of(self.emulator.registry, platform, self.emulator.clock.seconds())]


@pytest.fixture(scope="module")
def live(world: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A copy of the finished world, after a run that asked an emulator for every account of a list."""
    path = tmp_path_factory.mktemp("live")
    creators, seed = (int(WORLD[f"CREATORLAKE_SIMULATE_{name}"]) for name in ("CREATORS", "SEED"))
    shutil.copytree(world.lake, path / "lake")
    shutil.copytree(world.path / "world" / f"{creators}-{seed}" / "input", path / "input")
    now = VirtualClock(dt.datetime.now(tz=dt.UTC))  # what is planned goes by the clock of this machine
    emulator = build_emulator(World(creators_count=creators, seed=seed), clock=now)
    with running(app_of(emulator)) as address:
        given = {
            "CREDENTIALS": json.dumps({name: CREDENTIALS[name] for name in ASKED}),
            "ALLOWED": '["tiktok_research"]',
            "URLS": json.dumps(urls_of(address)),
            "LIST": str(world.path / "world" / f"{creators}-{seed}" / "accounts.csv"),
            "MINUTES": "1",
        }
        env = world.env | SHORT_JVM | {f"CREATORLAKE_FETCH_{name}": value for name, value in given.items()}
        found = Live(Home(path, str(path / "lake"), env), emulator, path / "input")
        found.run("run", "--input", str(found.folder), "--no-serve")
        yield found


def test_every_account_of_a_list_is_asked_for_and_its_answer_read(live: Live) -> None:
    fetched, read = live.progress("raw_fetch"), live.progress("raw_answers")
    assert tuple(sorted(fetched["by_source"])) == ASKED
    assert fetched["rows_in"] == fetched["rows_out"] > 0
    assert read["rows_in"] == read["rows_out"] + read["rows_quarantined"]
    assert read["rows_quarantined"] == 0
    channels = live.asked("youtube_api", "channels") + live.asked("youtube_api", "channels_by_handle")
    assert len(set(channels)) >= 0.8 * len(live.ids("youtube"))  # the hour's plan, and the list; some are new by now
    assert len(channels) <= 1.2 * len(live.ids("youtube"))


def test_posts_are_asked_for_where_profiles_say_that_there_are_some(live: Live) -> None:
    lists, videos = live.asked("youtube_api", "playlist_items"), live.asked("youtube_api", "videos")
    assert len(lists) == len(set(lists)) > 0
    assert len(videos) > len(lists)
    sources = live.progress("bronze_youtube__posts")["by_source"]
    assert sources["youtube_api"]["out"] > 0


def test_accounts_that_others_point_at_are_planned(live: Live) -> None:
    planned = live.progress("raw_fetch")["metadata"]
    candidates = live.home.rows("ops_ingest__candidates")
    assert planned.get("planned as discover", 0) > 0 or candidates == 0


def test_a_run_that_comes_at_once_asks_nothing(live: Live) -> None:
    assert "Nothing changed" in live.run("run", "--input", str(live.folder), "--no-serve")


def test_a_creators_change_is_shown_after_the_next_run(live: Live) -> None:
    live.emulator.clock.jump(LATER_SECONDS)
    given = {name: live.home.env[f"CREATORLAKE_FETCH_{name.upper()}"] for name in ("credentials", "urls")}
    settings = load_settings(
        home=live.home.path,
        lake=live.home.lake,
        fetch_credentials={"x_api": json.loads(given["credentials"])["x_api"]},
        fetch_urls=json.loads(given["urls"]),
    )
    with tools_of(
        settings, ObjectStore.open(settings), active_sources(settings), log=print, clock=WallClock()
    ) as tools:
        assert tools.queue.put(batches("x_api", "users", live.ids("x"), 100, cycle="later"))
    assert "x_api: " in live.run("fetch", "x_api", "--minutes", "0.2")
    live.run("run", "--input", str(live.folder), "--no-serve")
    now, book = live.emulator.clock.seconds(), live.emulator.registry.book("x")
    states = {account: book.state(book.row_of_id(account), now) for account in live.ids("x")}
    gone = {account for account, state in states.items() if state.is_gone}
    with served(live.home) as base:
        status, answer = request(f"{base}/v1/search", {"filters": {"platforms": ["x"]}, "limit": 50})
        assert status == 200
        creators = [request(f"{base}/v1/creators/{hit['creator_id']}")[1] for hit in answer["hits"]]
    shown = [one for creator in creators for one in creator["profiles"] if one["platform_account_id"] in states]
    assert len(shown) > 10
    assert not {one["platform_account_id"] for one in shown} & gone
    pairs = [(states[one["platform_account_id"]].followers, one["followers_count"]) for one in shown]
    assert [pair for pair in pairs if abs(pair[0] - pair[1]) > max(1, TOLERANCE * pair[0])] == []
