"""`python -m lakehouse.simulate.platforms`: the emulator as a process of its own, until it is ended."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import signal
import threading
from collections.abc import Sequence
from typing import Any

from lakehouse.errors import SettingsError
from lakehouse.simulate.platforms.clock import VirtualClock
from lakehouse.simulate.platforms.control import faults_of, quotas_of
from lakehouse.simulate.platforms.life import Life, origin_of
from lakehouse.simulate.platforms.server import EMULATOR, build_app, running
from lakehouse.simulate.world import DEFAULT_CREATORS, DEFAULT_SEED, World


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes."""
    given = _parser().parse_args(arguments)
    world = World(creators_count=given.creators, seed=given.seed)
    start = given.start or dt.datetime.fromtimestamp(origin_of(world), dt.UTC)
    app = build_app(
        world,
        clock=VirtualClock(start, given.speed),
        quotas=quotas_of(given.quotas),
        faults=faults_of(given.faults),
        life=_life(given.life),
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with running(app, port=given.port) as address:
        print(f"Emulator of {len(app[EMULATOR].registry)} accounts on {address}", flush=True)
        ended.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lakehouse.simulate.platforms", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--creators", type=int, default=DEFAULT_CREATORS)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--speed", type=float, default=1.0, help="virtual seconds a real second")
    parser.add_argument("--start", type=_time, help="virtual time at the start, ISO 8601; the newest snapshot if none")
    parser.add_argument("--faults", type=json.loads, default={}, help="rates as a JSON object")
    parser.add_argument("--quotas", type=json.loads, default={}, help="limits as a JSON object")
    parser.add_argument("--life", type=json.loads, default={}, help="rates as a JSON object")
    return parser


def _time(value: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _life(given: dict[str, Any]) -> Life:
    try:
        return Life(**given)
    except TypeError as error:
        raise SettingsError(f"--life: {error}.") from error


if __name__ == "__main__":
    raise SystemExit(main())
