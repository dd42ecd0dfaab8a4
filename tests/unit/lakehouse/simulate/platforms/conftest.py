"""Two small worlds, a calm and a lively one, made once; emulators over them on the loopback, with clocks that stand still."""

import datetime as dt
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from lakehouse.simulate.platforms.clock import VirtualClock
from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.faults import Faults
from lakehouse.simulate.platforms.life import Life, origin_of
from lakehouse.simulate.platforms.quotas import Quotas
from lakehouse.simulate.platforms.registry import registry_of
from lakehouse.simulate.platforms.server import app_of, running
from lakehouse.simulate.world import World

WORLD = World(creators_count=300)
LIVELY = Life(
    bio_ratio=0.3, rename_ratio=0.2, retaken_ratio=0.5, delete_ratio=0.1, suspend_ratio=0.1, private_ratio=0.2, hidden_ratio=0.2,
    type_ratio=0.2, revoke_ratio=0.2, jump_ratio=0.3, age_gated_ratio=0.1,
)  # fmt: skip
RESEARCH = {"client_key": "tt-lab", "client_secret": "secret", "grant_type": "client_credentials"}


@dataclass
class Lab:
    """A running emulator and a client of it."""

    emulator: Emulator
    http: httpx.Client

    @property
    def now(self) -> float:
        return self.emulator.clock.seconds()

    def states(self, platform: str) -> list[Any]:
        return list(self.emulator.registry.states(platform, self.now))

    def youtube(self, endpoint: str, key: str = "yt-lab", **params: Any) -> httpx.Response:
        return self.http.get(f"/youtube/v3/{endpoint}", params=params, headers={"X-Goog-Api-Key": key} if key else {})

    def x(self, path: str, token: str = "x-lab", **params: Any) -> httpx.Response:
        named = {name.replace("__", "."): value for name, value in params.items()}
        return self.http.get(f"/2/{path}", params=named, headers={"Authorization": f"Bearer {token}"})

    def display(self, state: Any, path: str, fields: str, scopes: str = "", body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer act.{state.platform_id}{scopes}"}
        if body is None:
            return self.http.get(f"/v2/{path}", params={"fields": fields}, headers=headers)
        return self.http.post(f"/v2/{path}", params={"fields": fields}, headers=headers, json=body)

    def research_token(self) -> str:
        return str(self.http.post("/v2/oauth/token/", data=RESEARCH).json()["access_token"])

    def research(self, path: str, fields: str, body: Any, token: str = "") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.research_token()}"}
        return self.http.post(f"/v2/research/{path}", params={"fields": fields}, headers=headers, json=body)

    def instagram(
        self, handle: str, inner: str = "id,username,followers_count", token: str = "ig-lab"
    ) -> httpx.Response:
        fields = f"business_discovery.username({handle}){{{inner}}}"
        return self.http.get("/v25.0/17841400000000001", params={"fields": fields, "access_token": token})

    def vendor(self, endpoint: str = "profiles", key: str = "v-lab", **params: Any) -> httpx.Response:
        return self.http.get(f"/vendor/v1/{endpoint}", params=params, headers={"X-Api-Key": key})

    def advance(self, seconds: float) -> None:
        self.emulator.clock.jump(seconds)

    def at(self, *moment: int) -> None:
        self.emulator.clock.jump(dt.datetime(*moment, tzinfo=dt.UTC))


@pytest.fixture(scope="session")
def calm():
    return registry_of(WORLD, Life.none())


@pytest.fixture(scope="session")
def lively():
    return registry_of(WORLD, LIVELY)


@pytest.fixture
def start(calm, lively):
    """Starts an emulator: `start(quotas=..., faults=..., life=True, days=10)`."""
    with ExitStack() as stack:

        def begin(
            *, quotas: Quotas | None = None, faults: Faults | None = None, life: bool = False, days: float = 0
        ) -> Lab:
            moment = dt.datetime.fromtimestamp(origin_of(WORLD) + days * 86_400, dt.UTC)
            clock = VirtualClock(moment, speed=0)
            emulator = Emulator(lively if life else calm, clock, quotas or Quotas())
            if faults is not None:
                emulator.set_faults(faults)
            address = stack.enter_context(running(app_of(emulator)))
            return Lab(emulator, stack.enter_context(httpx.Client(base_url=address, timeout=10, verify=False)))

        yield begin


@pytest.fixture
def lab(start):
    """An emulator with default quotas over the calm world."""
    return start()
