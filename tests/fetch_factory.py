"""A lake whose sources are the emulator: settings, credentials, tasks for everybody it knows, and what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lakehouse.fetch.capture import read_answers, read_manifests
from lakehouse.fetch.clock import FastClock
from lakehouse.fetch.runtime import active_sources, readers_of, tools_of
from lakehouse.fetch.source import Source
from lakehouse.fetch.task import FetchTask
from lakehouse.fetch.worker import SourceReport, Tools, work
from lakehouse.settings import Settings, load_settings
from lakehouse.simulate.platforms.clock import VirtualClock
from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.life import Life
from lakehouse.simulate.platforms.quotas import Quotas
from lakehouse.simulate.platforms.server import app_of, build_emulator, running
from lakehouse.simulate.platforms.truth import accounts_of
from lakehouse.simulate.world import World
from lakehouse.storage.objects import ObjectStore

CREDENTIALS = {
    "youtube_api": "yt-test",
    "x_api": "x-test",
    "instagram_graph": "17841400000000001|ig-test",
    "licensed_instagram": "v-test",
    "tiktok_research": "tt-test:secret",
}
SMALL_WORLD = World(creators_count=60, seed=3)


def urls_of(address: str) -> dict[str, str]:
    """Addresses of the sources on an emulator."""
    return {
        "youtube_api": f"{address}/youtube/v3",
        "x_api": address,
        "instagram_graph": f"{address}/v25.0",
        "licensed_instagram": address,
        "tiktok_research": address,
        "tiktok_display": address,
    }


@dataclass
class Live:
    """A lake and its emulator in one process; both clocks run alike."""

    emulator: Emulator
    settings: Settings
    objects: ObjectStore
    clock: FastClock
    speed: float
    said: list[str] = field(default_factory=list)
    alerts: list[tuple[str, str]] = field(default_factory=list)

    @property
    def sources(self) -> dict[str, Source]:
        return active_sources(self.settings)

    @contextmanager
    def tools(self, **changes: Any) -> Iterator[Tools]:
        with tools_of(self.settings, self.objects, self.sources, log=self.said.append, clock=self.clock) as tools:
            alert = lambda subject, text: self.alerts.append((subject, text))  # noqa: E731
            given = {"speed": self.speed, "lease_seconds": 600 * max(1.0, self.speed), "alert": alert}
            yield replace(tools, **given | changes)

    def queue(self, tasks: list[FetchTask]) -> None:
        with self.tools() as tools:
            tools.queue.put(tasks)

    def work(self, *names: str, seconds: float = 60) -> dict[str, SourceReport]:
        with self.tools() as tools:
            return asyncio.run(work(tools, names or sorted(self.sources), seconds=seconds))

    def jump(self, to: Any) -> None:
        """Move both clocks."""
        self.clock.jump(to)
        self.emulator.clock.jump(to=to)

    def ids(self, platform: str) -> list[str]:
        return [one["id"] for one in self.accounts(platform)]

    def handles(self, platform: str) -> list[str]:
        return [one["handle"] for one in self.accounts(platform)]

    def accounts(self, platform: str) -> list[dict[str, Any]]:
        return accounts_of(self.emulator.registry, platform, self.emulator.clock.seconds())

    def answered(self) -> dict[str, set[str]]:
        """Keys with a landed answer, by endpoint."""
        found: dict[str, set[str]] = {}
        for manifest in read_manifests(self.objects):
            for answer in read_answers(self.objects.get(manifest.path)):
                found.setdefault(f"{manifest.source}.{answer.task.endpoint}", set()).update(answer.task.keys)
        return found

    def readers(self) -> Any:
        return readers_of(self.settings)


@contextmanager
def live(
    home: Path,
    *,
    world: World = SMALL_WORLD,
    speed: float = 1.0,
    life: Life | None = None,
    quotas: Quotas | None = None,
    faults: Any = None,
    **settings: Any,
) -> Iterator[Live]:
    """An emulator on the loopback and a lake in `home` that asks it."""
    plain = build_emulator(world, life=life or Life.none(), quotas=quotas, faults=faults)
    clock = VirtualClock(plain.clock.now(), speed=speed)
    emulator = build_emulator(world, clock=clock, life=life or Life.none(), quotas=quotas, faults=faults)
    with running(app_of(emulator)) as address:
        given = {
            "home": home,
            "lake": str(home / "lake"),
            "email_pepper": "test",
            "fetch_credentials": CREDENTIALS,
            "fetch_allowed": ("tiktok_research",),
            "fetch_urls": urls_of(address),
        }
        own = load_settings(**given | settings)
        yield Live(emulator, own, ObjectStore.open(own), FastClock(clock.now(), speed), speed)


def batches(source: str, endpoint: str, keys: list[str], size: int, **more: Any) -> list[FetchTask]:
    """Tasks for keys."""
    return [
        FetchTask(source, endpoint, tuple(keys[start : start + size]), **more) for start in range(0, len(keys), size)
    ]


def everybody(one: Live) -> list[FetchTask]:
    """Tasks for every account of every platform."""
    return [
        *batches("youtube_api", "channels", one.ids("youtube"), 50),
        *batches("x_api", "users", one.ids("x"), 100),
        *batches("licensed_instagram", "profiles", one.handles("instagram"), 100),
        *batches("tiktok_research", "user_info", one.handles("tiktok"), 1),
    ]
