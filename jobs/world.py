"""The synthetic world as default input: written once per size and seed, beside the lake, complete or not at all."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from lakehouse.errors import PermanentError
from lakehouse.settings import Settings
from lakehouse.simulate.world import DEFAULT_CREATORS, DEFAULT_SEED, World
from lakehouse.simulate.write import write_world

INPUT = "input"
TRUTH = "truth"
LIST = "accounts.csv"


def ensure_world(settings: Settings) -> Path:
    """Input folder of the settings' world; written on first use."""
    folder = _folder(settings)
    if not folder.exists():
        _write(folder, World(creators_count=settings.simulate_creators, seed=settings.simulate_seed))
    if not known_accounts(settings).exists():  # a world of an older version
        _write_list(folder / TRUTH / "accounts.parquet", known_accounts(settings))
    return folder / INPUT


def known_accounts(settings: Settings) -> Path:
    """List of the world's accounts as an operator would give one: platform, id where it is known, handle."""
    return _folder(settings) / LIST


def input_folder(settings: Settings) -> Path:
    """Where the files of the settings' world are, once they are written."""
    return _folder(settings) / INPUT


def _folder(settings: Settings) -> Path:
    return settings.home / "world" / f"{settings.simulate_creators}-{settings.simulate_seed}"


def write(folder: Path, *, creators: int | None, seed: int | None) -> int:
    """Write a world into a new folder: dumps under `input`, the truth about them under `truth`.

    Raises:
        PermanentError: the folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise PermanentError(f"{folder} is not empty; a world is written into a new folder.")
    shutil.rmtree(folder, ignore_errors=True)
    world = World(creators_count=creators or DEFAULT_CREATORS, seed=DEFAULT_SEED if seed is None else seed)
    _write(folder.resolve(), world)
    return 0


def _write_list(truth: Path, path: Path) -> None:
    """Accounts of the truth with an id: those known by handle alone are listed with their id elsewhere or not at all."""
    accounts = pq.read_table(truth, columns=["platform", "platform_account_id", "handle"])
    is_known = pc.invert(pc.starts_with(accounts.column("platform_account_id"), "@"))
    csv.write_csv(accounts.filter(is_known), path)


def _write(folder: Path, world: World) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.draft-"))
    sys.stdout.write(f"Writing a synthetic world of {world.creators_count:,} creators to {folder}\n")
    write_world(world, draft / INPUT, truth_folder=draft / TRUTH)
    _write_list(draft / TRUTH / "accounts.parquet", draft / LIST)
    try:
        draft.rename(folder)
    except OSError:  # another process was first: its world is the same
        shutil.rmtree(draft)
        if not folder.exists():
            raise
