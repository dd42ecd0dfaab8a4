"""Which lake and input the last `run` used: the defaults of the commands that come after it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lakehouse.settings import Settings

FILE = "last_run.json"


@dataclass(frozen=True, slots=True)
class LastRun:
    """Lake root and input folder of the last run of a home."""

    lake: str
    input: Path


def remember(settings: Settings) -> None:
    """Note the lake and input of a run in its home."""
    draft = settings.home / f"{FILE}.draft"
    draft.write_text(json.dumps({"lake": settings.lake_root, "input": str(settings.input)}), encoding="utf-8")
    draft.replace(settings.home / FILE)


def recall(home: Path) -> LastRun | None:
    """The last run of a home, None before the first."""
    try:
        noted = json.loads((home / FILE).read_text(encoding="utf-8"))
        return LastRun(noted["lake"], Path(noted["input"]))
    except (FileNotFoundError, ValueError, KeyError):
        return None
