"""What a platform says reaches the search: a creator changes on the emulator, the next run shows it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lakehouse.fetch.clock import WallClock
from lakehouse.fetch.runtime import active_sources, tools_of
from lakehouse.settings import load_settings
from lakehouse.simulate.platforms.server import app_of, build_emulator, running
from lakehouse.simulate.platforms.truth import accounts_of
from lakehouse.simulate.world import World
from lakehouse.storage.objects import ObjectStore
from tests.fetch_factory import CREDENTIALS, batches, urls_of
from tests.support import WORLD, Home, request, served

pytestmark = pytest.mark.e2e
LATER_DAYS = 60
TOLERANCE = 0.001
"""Followers move on between the answer and the look at the truth."""


def test_the_default_run_asked_the_platforms(world: Home) -> None:
    fetched = world.progress("raw_fetch")
    assert fetched["rows_out"] > 0
    assert set(fetched["by_source"]) == {"licensed_instagram", "tiktok_research", "x_api", "youtube_api"}
    assert world.progress("raw_answers")["rows_in"] >= fetched["rows_out"]
    assert "lost" not in json.dumps(fetched["metadata"])


def test_a_creators_change_is_shown_after_the_next_run(world: Home, tmp_path: Path) -> None:
    creators, seed = (int(WORLD[f"CREATORLAKE_SIMULATE_{name}"]) for name in ("CREATORS", "SEED"))
    emulator = build_emulator(World(creators_count=creators, seed=seed))
    home = Home(tmp_path, str(tmp_path / "lake"), dict(world.env))
    shutil.copytree(world.lake, home.lake)
    folder = tmp_path / "input"
    shutil.copytree(world.path / "world" / f"{creators}-{seed}" / "input", folder)
    emulator.clock.jump(LATER_DAYS * 86_400)
    with running(app_of(emulator)) as address:
        live = {
            "CREATORLAKE_FETCH_CREDENTIALS": json.dumps({"x_api": CREDENTIALS["x_api"]}),
            "CREATORLAKE_FETCH_URLS": json.dumps(urls_of(address)),
            "CREATORLAKE_FETCH_MINUTES": "0.2",
        }
        home.env |= live
        ids = [one["id"] for one in accounts_of(emulator.registry, "x", emulator.clock.seconds())]
        settings = load_settings(
            home=home.path, lake=home.lake, fetch_credentials=json.loads(live["CREATORLAKE_FETCH_CREDENTIALS"])
        )
        sources = active_sources(settings)
        with tools_of(settings, ObjectStore.open(settings), sources, log=print, clock=WallClock()) as tools:
            assert tools.queue.put(batches("x_api", "users", ids, 100, cycle="later"))
        done = home.run("fetch", "x_api", "--minutes", "0.2")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "x_api: " in done.stdout, done.stdout
        done = home.run("run", "--input", str(folder), "--no-serve")
        assert done.returncode == 0, done.stdout + done.stderr
    now = emulator.clock.seconds()
    book = emulator.registry.book("x")
    states = {one["id"]: book.state(book.row_of_id(one["id"]), now) for one in accounts_of(emulator.registry, "x", now)}
    shown = {platform_id: state for platform_id, state in states.items() if not state.is_gone}
    gone = {platform_id for platform_id, state in states.items() if state.is_gone}
    with served(home) as base:
        status, answer = request(f"{base}/v1/search", {"filters": {"platforms": ["x"]}, "limit": 50})
        assert status == 200
        found = [
            profile
            for hit in answer["hits"]
            for profile in request(f"{base}/v1/creators/{hit['creator_id']}")[1]["profiles"]
            if profile["platform"] == "x" and profile["platform_account_id"] in states
        ]
    assert found
    assert not {profile["platform_account_id"] for profile in found} & gone
    pairs = [(shown[one["platform_account_id"]].followers, one["followers_count"]) for one in found]
    assert [pair for pair in pairs if abs(pair[0] - pair[1]) > TOLERANCE * pair[0]] == []
