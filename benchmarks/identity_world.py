"""Accounts of a synthetic world as identity reads them, with the person of each: no file, no lake, no Spark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

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
    world = World(creators_count=max(1, round(accounts / ACCOUNTS_PER_CREATOR)))
    parts = list(_chunks(world))
    persons = pa.concat_arrays([persons for _, persons in parts]).dictionary_encode()
    return People(pa.concat_tables([raw for raw, _ in parts]).combine_chunks(), persons.indices.to_numpy())


def _chunks(world: World) -> Iterator[tuple[pa.Table, pa.Array]]:
    taken = find_taken(world, world.creators_count)
    for ids in id_chunks(0, world.creators_count, world.chunk_creators):
        for accounts in chunk_accounts(world, ids, taken):
            platform = pa.array([PLATFORMS[accounts.platform]] * len(accounts), pa.string())
            profiles = pa.table({"platform": platform} | profile_columns(world, accounts, world.last_date))
            given = profiles.select(list(READ)).append_column("location", profiles.column("country"))
            given = given.append_column("followers_count", profiles.column("followers"))
            truth = truth_of(world, accounts, is_ranked=False)
            given = given.set_column(1, READ[1], truth.column("platform_account_id"))
            yield raw_rows(given, pepper=PEPPER), truth.column("person_id").combine_chunks()
