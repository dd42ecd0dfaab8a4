"""How long a change takes from a platform to the search, stage by stage: an emulated platform, a filled lake, the hourly path.

`make bench-ingest PART=lag`. The world moves on by two months at once; every account of X is asked for; times are from then on.
"""

from __future__ import annotations

import datetime as dt
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Figure
from lakehouse.contracts.layout import ANSWERS, CURRENT, progress_key
from lakehouse.fetch.capture import read_manifests
from lakehouse.fetch.runtime import active_sources, tools_of
from lakehouse.fetch.task import FetchTask
from lakehouse.settings import Settings, load_settings
from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.server import app_of, build_emulator, running
from lakehouse.simulate.platforms.truth import accounts_of
from lakehouse.simulate.world import World
from lakehouse.storage.objects import ObjectStore
from tests.fetch_factory import urls_of
from tests.support import Home, request, served

LAG = "lag"
CREATORS, SEED = 2_000, 7
"""The world of `make run`."""
LATER_SECONDS = 60 * 86_400
SOURCE, ENDPOINT, PLATFORM = "x_api", "users", "x"
SECRET = "x-test"
BATCH = 100
WORK_MINUTES = "0.1"
"""As long as the worker stays, idle or not; the hourly job goes on at once."""
TOLERANCE = 0.001
"""Followers move on between the answer and the look at the truth."""
STAGES = {
    "answers read into records": "raw_answers",
    "bronze": "bronze_x__profiles",
    "silver": "silver_core__accounts",
    "people": "silver_identity__creator_ids",
    "gold": "gold_creator__search_docs",
    "export": "gold_export",
    "snapshot published": "index_snapshot",
}
"""Steps whose end is the end of a stage."""


@dataclass(frozen=True)
class Changed:
    """An account of the platform whose number of followers moves on."""

    account_id: str
    creator_id: str
    followers: int


def measure() -> list[Figure]:
    """Seconds from the change to the end of each stage, and to the answer of `POST /v1/search`."""
    with _filled() as (home, emulator, settings), served(home) as base:
        before = _shown(base)
        emulator.clock.jump(LATER_SECONDS)
        began, changed = time.time(), _changed(emulator, before)
        ids = [one["id"] for one in accounts_of(emulator.registry, PLATFORM, emulator.clock.seconds())]
        _queue(settings, ids)
        _done(home, "fetch", SOURCE, "--minutes", WORK_MINUTES)
        fetched = max(dt.datetime.fromisoformat(one.last_at).timestamp() for one in read_manifests(home.objects))
        landed = max(info.modified_at.timestamp() for info in home.objects.list(ANSWERS))
        started = time.time()
        _done(home, "run", "--input", str(home.path / "world" / f"{CREATORS}-{SEED}" / "input"), "--no-serve")
        ends = {name: _ended(home, step) for name, step in STAGES.items()}
        served_at = _wait(base, home, emulator, changed)
    stages = (
        {"answered": fetched, "landed": landed, "run started": started} | ends | {"shown by POST /v1/search": served_at}
    )
    return [
        Figure(f"{LAG} accounts asked for", len(ids), "accounts"),
        *(Figure(f"{LAG} change to: {name}", round(at - began, 1), "s") for name, at in stages.items()),
    ]


@contextmanager
def _filled() -> Iterator[tuple[Home, Emulator, Settings]]:
    """A home whose lake holds the synthetic world, and the emulator of the same world."""
    emulator = build_emulator(World(creators_count=CREATORS, seed=SEED))
    with tempfile.TemporaryDirectory() as path, running(app_of(emulator)) as address:
        given = {"SIMULATE_CREATORS": str(CREATORS), "SIMULATE_SEED": str(SEED), "SIMULATE_PLATFORMS": "false"}
        given |= {"EMAIL_PEPPER": "bench", "FETCH_MINUTES": "1"}
        home = Home(Path(path), str(Path(path) / "lake"), {f"CREATORLAKE_{name}": text for name, text in given.items()})
        _done(home, "run", "--no-serve")
        home.env |= {
            "CREATORLAKE_FETCH_CREDENTIALS": json.dumps({SOURCE: SECRET}),
            "CREATORLAKE_FETCH_URLS": json.dumps({SOURCE: urls_of(address)[SOURCE]}),
        }
        settings = load_settings(
            home=home.path,
            lake=home.lake,
            email_pepper="bench",
            fetch_credentials={SOURCE: SECRET},
            fetch_urls={SOURCE: urls_of(address)[SOURCE]},
        )
        yield home, emulator, settings


def _done(home: Home, *arguments: str) -> None:
    done = home.run(*arguments)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def _shown(base: str) -> list[Changed]:
    """The first creators on the platform."""
    hits = request(f"{base}/v1/search", {"filters": {"platforms": [PLATFORM]}, "limit": 20})[1]["hits"]
    ids = [hit["creator_id"] for hit in hits]
    profiles = {creator_id: _profile(base, creator_id) for creator_id in ids}
    return [
        Changed(str(one["platform_account_id"]), creator_id, int(str(one["followers_count"])))
        for creator_id, one in profiles.items()
    ]


def _changed(emulator: Emulator, before: list[Changed]) -> Changed:
    """The first of them that the platform still has, and whose number of followers is another one now."""
    book, now = emulator.registry.book(PLATFORM), emulator.clock.seconds()
    for one in before:
        state = book.state(book.row_of_id(one.account_id), now)
        if not state.is_gone and abs(state.followers - one.followers) > 10 * TOLERANCE * one.followers:
            return one
    raise RuntimeError("Nobody changed.")


def _profile(base: str, creator_id: str) -> Mapping[str, object]:
    profiles = request(f"{base}/v1/creators/{creator_id}")[1]["profiles"]
    return next(one for one in profiles if one["platform"] == PLATFORM)


def _queue(settings: Settings, ids: list[str]) -> None:
    tasks = [FetchTask(SOURCE, ENDPOINT, tuple(ids[at : at + BATCH]), cycle=LAG) for at in range(0, len(ids), BATCH)]
    sources = active_sources(settings)
    with tools_of(settings, ObjectStore.open(settings), sources, log=lambda _text: None) as tools:
        tools.queue.put(tasks)


def _ended(home: Home, step: str) -> float:
    """When a step's progress was recorded, or the snapshot was published."""
    if step == "index_snapshot":
        return dt.datetime.fromisoformat(home.object(CURRENT)["published_at"]).timestamp()
    return (Path(home.lake) / progress_key(step)).stat().st_mtime


def _wait(base: str, home: Home, emulator: Emulator, changed: Changed) -> float:
    """When the running service answers with what the platform says."""
    book = emulator.registry.book(PLATFORM)
    truth = book.state(book.row_of_id(changed.account_id), emulator.clock.seconds()).followers
    deadline = time.time() + 120
    while time.time() < deadline:
        shown = int(str(_profile(base, changed.creator_id)["followers_count"]))
        if abs(shown - truth) <= TOLERANCE * truth:
            return time.time()
        time.sleep(0.1)
    raise RuntimeError(f"The service of {home.lake} does not show the change.")
