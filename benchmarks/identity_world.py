"""Accounts of a synthetic world as identity reads them, with the person of each: no lake, no Spark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.identity.resolve import raw_rows
from lakehouse.simulate.accounts import chunk_accounts
from lakehouse.simulate.handles import find_taken, id_chunks
from lakehouse.simulate.profiles import profile_columns
from lakehouse.simulate.truth import truth_of
from lakehouse.simulate.world import World

ACCOUNTS_PER_CREATOR = 2.46
PEPPER = b"bench"
READ = (
    "platform",
    "platform_account_id",
    "handle",
    "display_name",
    "bio",
    "website",
    "links",
    "language",
)


@dataclass(frozen=True)
class People:
    """`RAW` rows and the person of each, as a number."""

    raw: pa.Table
    person: np.ndarray


def people(accounts: int) -> People:
    """About that many accounts of a world: twins, shared names, fan pages, wrong links and squatted handles are in it."""
    parts = [(raw_rows(given, pepper=PEPPER), persons) for given, persons in chunks(accounts)]
    return People(pa.concat_tables([raw for raw, _ in parts]).combine_chunks(), _numbers(part for _, part in parts))


def write_people(accounts: int, path: Path) -> np.ndarray:
    """The same accounts as a file that `creatorlake resolve` reads; the person of each row, as a number."""
    persons, writer = [], None
    for given, part in chunks(accounts):
        writer = writer or pq.ParquetWriter(path, given.schema)
        writer.write_table(given)
        persons.append(part)
    if writer is not None:
        writer.close()
    return _numbers(persons)


def _numbers(persons: Iterable[pa.Array]) -> np.ndarray:
    return pa.concat_arrays(list(persons)).dictionary_encode().indices.to_numpy()


def chunks(accounts: int) -> Iterator[tuple[pa.Table, pa.Array]]:
    """Accounts as a file has them, and the person of each."""
    world = World(creators_count=max(1, round(accounts / ACCOUNTS_PER_CREATOR)))
    taken = find_taken(world, world.creators_count)
    for ids in id_chunks(0, world.creators_count, world.chunk_creators):
        for made in chunk_accounts(world, ids, taken):
            platform = pa.array([PLATFORMS[made.platform]] * len(made), pa.string())
            profiles = pa.table({"platform": platform} | profile_columns(world, made, world.last_date))
            given = profiles.select(list(READ)).append_column("location", profiles.column("country"))
            given = given.append_column("followers_count", profiles.column("followers"))
            truth = truth_of(world, made, is_ranked=False)
            given = given.set_column(1, READ[1], truth.column("platform_account_id"))
            yield given, truth.column("person_id").combine_chunks()
