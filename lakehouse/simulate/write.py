"""A world as files: vendor-like dumps in one folder, the truth in another. The only module here that writes.

Creators go through in chunks of bounded size; which chunk a creator is in changes no byte of the input files.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.errors import SettingsError
from lakehouse.simulate.accounts import Accounts, chunk_accounts
from lakehouse.simulate.draws import Draws, Ids
from lakehouse.simulate.handles import Taken, find_taken, id_chunks
from lakehouse.simulate.junk import ACCOUNT_DAMAGE, CHANNEL_DAMAGE, POST_DAMAGE, VIDEO_DAMAGE, Planted, ranking_damage
from lakehouse.simulate.posts import post_lines, posts_of
from lakehouse.simulate.profiles import (
    RANKING_EXTRA,
    RANKING_HEADER,
    ROSTER_EXTRA,
    ROSTER_HEADER,
    account_lines,
    channel_lines,
    is_on_roster,
    is_seen,
    profile_columns,
    ranking_lines,
    roster_lines,
)
from lakehouse.simulate.sinks import FileReport, Sinks, open_sinks
from lakehouse.simulate.truth import TRUTH_SCHEMA, truth_of
from lakehouse.simulate.world import TIKTOK, YOUTUBE, World

TRUTH_SUFFIX = "_truth"
"""Ending of the truth folder that stands beside the input folder by default."""
EXTRA_SNAPSHOT = 1
"""Snapshot whose TikTok accounts and rankings carry a column that no mapping names."""
NEWCOMER_RATIO = 0.2
"""Newcomers of a later delivery, as a share of the accounts that it changes."""
DAILY_SPREAD = 0.02
"""Spread of the log change of followers from one delivery to the next."""


@dataclass(frozen=True, slots=True)
class WorldReport:
    """What was written. `accounts_count` counts accounts as silver will key them; `junk` is the ledger of planted damage."""

    creators_count: int
    accounts_count: int
    posts_count: int
    rows_count: int
    files: tuple[FileReport, ...]
    junk: tuple[Planted, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Run:
    """Where one run of the writer puts things."""

    world: World
    sinks: Sinks
    taken: Taken


def write_world(world: World, folder: Path, *, truth_folder: Path | None = None) -> WorldReport:
    """Write a world: input files into `folder`, `accounts.parquet`, `junk.json` and `world.json` into the truth folder.

    Files of an earlier world in `folder` are not removed.

    Args:
        world: what to write.
        folder: for the input files; created.
        truth_folder: for the truth; `{folder}_truth` when not given.

    Raises:
        SettingsError: the truth would lie inside the input.
    """
    started, truth_path = time.monotonic(), _truth_folder(folder, truth_folder)
    taken = find_taken(world, world.creators_count)
    accounts_count = posts_count = 0
    with open_sinks(world, folder) as sinks, pq.ParquetWriter(truth_path / "accounts.parquet", TRUTH_SCHEMA) as truth:
        run = _Run(world, sinks, taken)
        for part, chunk in _chunks(world):
            for accounts in chunk_accounts(world, chunk, taken):
                _write_profiles(run, accounts, part)
                posts_count += _write_posts(run, accounts, part)
                known = truth_of(world, accounts)
                accounts_count += known.num_rows
                truth.write_table(known)
    report = _report(world.creators_count, accounts_count, posts_count, sinks, started)
    _write_json(truth_path / "junk.json", [asdict(entry) for entry in report.junk])
    _write_json(
        truth_path / "world.json", {"world": asdict(world), "report": asdict(replace(report, junk=(), seconds=0.0))}
    )
    return report


def write_delta(
    world: World, folder: Path, fraction: float, *, day: int = 1, truth_folder: Path | None = None
) -> WorldReport:
    """Write a later delivery: new follower counts for a share of the accounts, and a few new creators.

    Args:
        world: the world as it was written.
        folder: for the input files; may be the folder of the world.
        fraction: share of accounts that changed.
        day: days after the newest snapshot; other days change other accounts.
        truth_folder: for the truth of the newcomers (`accounts_delta_{day}.parquet`) and the ledger.

    Raises:
        SettingsError: the truth would lie inside the input, or the day is not after the snapshots.
    """
    if day < 1:
        raise SettingsError("A later delivery is at least one day after the newest snapshot.")
    started, truth_path = time.monotonic(), _truth_folder(folder, truth_folder)
    newcomers = max(1, round(world.creators_count * fraction * NEWCOMER_RATIO))
    first_new = world.creators_count + (day - 1) * newcomers
    taken = find_taken(world, first_new + newcomers)
    date = world.last_date + dt.timedelta(days=day)
    tables = []
    with open_sinks(world, folder) as sinks:
        run = _Run(world, sinks, taken)
        for ids in id_chunks(0, world.creators_count, world.chunk_creators):
            for accounts in chunk_accounts(world, ids, taken):
                is_changed = Draws(world.seed).is_hit(f"changed/{day}", accounts.ids, fraction)
                _write_changed(run, accounts.take(np.flatnonzero(is_changed & accounts.traits.has_profile)), date)
        for ids in id_chunks(first_new, first_new + newcomers, world.chunk_creators):
            for accounts in chunk_accounts(world, ids, taken):
                new = accounts.take(np.flatnonzero(accounts.traits.has_profile))
                _write_changed(run, new, date)
                tables.append(truth_of(world, new, is_ranked=False))
    truth = pa.concat_tables(tables)
    pq.write_table(truth, truth_path / f"accounts_delta_{day}.parquet")
    report = _report(newcomers, truth.num_rows, 0, sinks, started)
    _write_json(truth_path / f"junk_delta_{day}.json", [asdict(entry) for entry in report.junk])
    return report


def profile_tables(world: World, *, snapshot: int = -1) -> Iterator[pa.Table]:
    """Profiles of one snapshot as tables under canonical names, chunk by chunk, without damage and without files.

    Args:
        world: the specification.
        snapshot: position in `world.snapshot_dates`.
    """
    taken = find_taken(world, world.creators_count)
    day = world.snapshot_dates[snapshot]
    for ids in id_chunks(0, world.creators_count, world.chunk_creators):
        for accounts in chunk_accounts(world, ids, taken):
            platform = pa.array([PLATFORMS[accounts.platform]] * len(accounts), pa.string())
            yield pa.table({"platform": platform} | profile_columns(world, accounts, day))


def write_profiles(world: World, folder: Path) -> WorldReport:
    """Write the profiles of the newest snapshot only, without posts, rankings, rosters and truth: raw input for scale tests."""
    started, taken = time.monotonic(), find_taken(world, world.creators_count)
    accounts_count = 0
    last = len(world.snapshot_dates) - 1
    with open_sinks(world, folder) as sinks:
        run = _Run(world, sinks, taken)
        for part, chunk in _chunks(world):
            for accounts in chunk_accounts(world, chunk, taken):
                accounts_count += len(accounts)
                _write_snapshot(run, accounts, last, part)
    return _report(world.creators_count, accounts_count, 0, sinks, started)


def _chunks(world: World) -> Iterator[tuple[str, Ids]]:
    """Part of the file names (empty when there is one part only) and creator ids; chunks never cross parts."""
    is_one = world.creators_count <= world.file_creators
    for number, low in enumerate(range(0, world.creators_count, world.file_creators)):
        high = min(low + world.file_creators, world.creators_count)
        for ids in id_chunks(low, high, world.chunk_creators):
            yield ("" if is_one else f"_{number:04d}"), ids


def _write_profiles(run: _Run, accounts: Accounts, part: str) -> None:
    for snapshot in range(len(run.world.snapshot_dates)):
        _write_snapshot(run, accounts, snapshot, part)
        _write_ranking(run, accounts, snapshot, part)
    _write_roster(run, accounts, part)


def _write_snapshot(run: _Run, accounts: Accounts, snapshot: int, part: str) -> None:
    """The profiles of one day; of the newest some are delivered twice."""
    world, day, platform = run.world, run.world.snapshot_dates[snapshot], PLATFORMS[accounts.platform]
    seen = accounts.take(np.flatnonzero(accounts.traits.has_profile & is_seen(world, accounts, snapshot)))
    if accounts.platform == YOUTUBE:
        run.sinks.write(f"youtube_channels_{day}{part}.jsonl", channel_lines(world, seen, day), kinds=CHANNEL_DAMAGE)
        return
    has_extra = accounts.platform == TIKTOK and snapshot == EXTRA_SNAPSHOT and world.junk.has_unknown_columns
    lines = account_lines(world, seen, day, has_extra=has_extra)
    run.sinks.write(f"accounts_{platform}_{day}{part}.jsonl", lines, kinds=ACCOUNT_DAMAGE, has_extra=has_extra)
    if day == world.last_date and not has_extra:
        is_again = Draws(world.seed).is_hit("redelivered", lines.ids, world.junk.redelivered_ratio)
        run.sinks.deliver_again(f"accounts_{platform}_{day}_again{part}.jsonl", lines.take(is_again & lines.is_clean))


def _write_ranking(run: _Run, accounts: Accounts, snapshot: int, part: str) -> None:
    world, day, platform = run.world, run.world.snapshot_dates[snapshot], PLATFORMS[accounts.platform]
    traits = accounts.traits
    has_extra = snapshot == EXTRA_SNAPSHOT and world.junk.has_unknown_columns
    header = RANKING_HEADER + (RANKING_EXTRA if has_extra else "")
    rows = np.flatnonzero((traits.is_handle_only | traits.is_listed) & is_seen(world, accounts, snapshot))
    run.sinks.write(
        f"market_rankings_{platform}_{day}{part}.csv",
        ranking_lines(world, accounts.take(rows), day, has_extra=has_extra),
        kinds=ranking_damage(header),
        header=header,
        has_extra=has_extra,
    )


def _write_roster(run: _Run, accounts: Accounts, part: str) -> None:
    """What agencies say about their clients: the links that accounts declare, also those that they show nowhere else."""
    has_extra = run.world.junk.has_unknown_columns
    named = accounts.take(np.flatnonzero(is_on_roster(run.world, accounts)))
    lines = roster_lines(run.world, named, run.world.last_date, has_extra=has_extra)
    header = ROSTER_HEADER + (ROSTER_EXTRA if has_extra else "")
    run.sinks.write(
        f"accounts_roster_{PLATFORMS[accounts.platform]}{part}.csv", lines, kinds=(), header=header, has_extra=has_extra
    )


def _write_posts(run: _Run, accounts: Accounts, part: str) -> int:
    """Write posts and return how many."""
    posts = posts_of(run.world, accounts)
    is_video = accounts.platform == YOUTUBE
    name = "youtube_videos" if is_video else f"posts_{PLATFORMS[accounts.platform]}"
    lines = post_lines(run.world, accounts, posts)
    run.sinks.write(f"{name}_{run.world.last_date}{part}.jsonl", lines, kinds=VIDEO_DAMAGE if is_video else POST_DAMAGE)
    return len(posts)


def _write_changed(run: _Run, accounts: Accounts, date: dt.date) -> None:
    """The profiles of a later day, followers moved on."""
    metrics = accounts.metrics
    step = np.exp(DAILY_SPREAD * Draws(run.world.seed).normal(f"moved/{date}", accounts.ids))
    moved = replace(accounts, metrics=replace(metrics, followers=np.maximum(metrics.followers * step, 1)))
    if accounts.platform == YOUTUBE:
        run.sinks.write(f"youtube_channels_{date}.jsonl", channel_lines(run.world, moved, date), kinds=())
        return
    lines = account_lines(run.world, moved, date, has_extra=False)
    run.sinks.write(f"accounts_{PLATFORMS[accounts.platform]}_{date}.jsonl", lines, kinds=())


def _truth_folder(folder: Path, given: Path | None) -> Path:
    truth = (given or folder.with_name(folder.name + TRUTH_SUFFIX)).resolve()
    if truth.is_relative_to(folder.resolve()):
        raise SettingsError(f"The truth must not lie inside the input folder {folder}.")
    truth.mkdir(parents=True, exist_ok=True)
    return truth


def _report(creators_count: int, accounts_count: int, posts_count: int, sinks: Sinks, started: float) -> WorldReport:
    files = tuple(sorted(sinks.reports, key=lambda report: report.name))
    return WorldReport(
        creators_count=creators_count,
        accounts_count=accounts_count,
        posts_count=posts_count,
        rows_count=sum(report.rows_count for report in files),
        files=files,
        junk=tuple(sorted(sinks.ledger, key=lambda entry: (entry.file_name, entry.kind))),
        seconds=round(time.monotonic() - started, 3),
    )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")
