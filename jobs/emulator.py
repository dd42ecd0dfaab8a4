"""The platforms of the demo: the emulator as a process beside a run, and the settings that make it the lake's source.

It ends with the process that started it, however that ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from jobs.world import known_accounts
from lakehouse.errors import PermanentError
from lakehouse.settings import Settings

CREDENTIALS = {
    "youtube_api": "yt-demo",
    "x_api": "x-demo",
    "licensed_instagram": "v-demo",
    "tiktok_research": "tt-demo:demo",
}
"""Names that the emulator takes for valid; they open nothing else."""
ALLOWED = ["tiktok_research"]
PATHS = {"youtube_api": "/youtube/v3"}
"""What follows the emulator's address in a source's; nothing for the others."""
NO_ADDRESS = "http://127.0.0.1:9"
"""Where the emulator is while it does not run; nothing listens there."""
PR_SET_PDEATHSIG = 1
"""Linux: the signal that a process gets when its parent ends (prctl(2))."""
READY = "Emulator of "


def demo_environment(settings: Settings) -> dict[str, str]:
    """Variables that make the emulator the source of the lake, unless sources are set already."""
    if not settings.simulate_platforms or settings.fetch_credentials or settings.fetch_credentials_file:
        return {}
    urls = {name: f"{NO_ADDRESS}{PATHS.get(name, '')}" for name in CREDENTIALS}
    return {
        "CREATORLAKE_FETCH_CREDENTIALS": json.dumps(CREDENTIALS),
        "CREATORLAKE_FETCH_ALLOWED": json.dumps(ALLOWED),
        "CREATORLAKE_FETCH_URLS": json.dumps(urls),
        "CREATORLAKE_FETCH_LIST": str(known_accounts(settings)),
    }


def start_emulator(settings: Settings) -> subprocess.Popen[str] | None:
    """Start the emulator at this hour, if it is the source of the lake, and put its address into the environment.

    Raises:
        PermanentError: it does not start.
    """
    if not any(url.startswith(NO_ADDRESS) for url in settings.fetch_urls.values()):
        return None
    command = [sys.executable, "-m", "lakehouse.simulate.platforms", "--port", "0", "--start", _now()]
    command += ["--creators", str(settings.simulate_creators), "--seed", str(settings.simulate_seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=_die_with_parent)  # noqa: PLW1509, S603
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line.startswith(READY):
        process.kill()
        raise PermanentError("The emulator of the platforms did not start.")
    urls = {name: url.replace(NO_ADDRESS, line.strip().rsplit(" ", 1)[-1]) for name, url in settings.fetch_urls.items()}
    os.environ["CREATORLAKE_FETCH_URLS"] = json.dumps(urls)
    return process


@contextmanager
def emulator_of(settings: Settings) -> Iterator[None]:
    """The emulator while the block runs, if it is the source of the lake."""
    process = start_emulator(settings)
    try:
        yield
    finally:
        if process is not None:
            os.environ["CREATORLAKE_FETCH_URLS"] = json.dumps(settings.fetch_urls)
            process.terminate()
            process.wait()


def _now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="seconds")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
