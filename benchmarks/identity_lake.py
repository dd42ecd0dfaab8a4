"""Silver in, creator ids out, in a lake on this machine: seconds, memory, shuffle and quality by number of accounts.

People of the synthetic world (`identity_world.py`) are written as the two silver tables that identity reads, which is not counted; then both
steps run in a process of their own, Spark's session started before, without the checks that a run in Dagster adds. A partition for
each 250,000 accounts, else the settings as they are shipped.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.identity_clusters import FIRST_US, write_rows
from benchmarks.identity_scale import quality_figures
from benchmarks.identity_world import PEPPER, chunks
from benchmarks.report import Figure
from benchmarks.scale import IDENTITY_GROWTH, PEAK_GIB, shuffled, sizes
from jobs.memory import PeakMemory
from lakehouse.contracts.tables import ACCOUNTS, CREATOR_IDS, LINKS
from lakehouse.identity.creators import build_creator_ids
from lakehouse.identity.edges import build_edges
from lakehouse.identity.nodes import lengths
from lakehouse.identity.resolve import raw_rows
from lakehouse.ops.steps import StepContext
from lakehouse.settings import load_settings
from lakehouse.silver.links import ACCOUNT_LINK, WEBSITE_LINK
from lakehouse.silver.mentions import DECLARED
from lakehouse.storage.lake import Lake

LAKE = "lake"
"""First word of the figures."""
SIZES = "100000,1000000"
PARTITION_ACCOUNTS = 250_000
STEPS = {"edges": build_edges, "ids": build_creator_ids}
SECONDS = {1_000_000: 45.0, 10_000_000: 360.0}
"""Promises on two cores."""
TRUTH = "truth"
OWNER = ("platform", "platform_account_id")


def lake_figures() -> Iterator[Figure]:
    """Each number of accounts that `SIZES` names."""
    per_account: dict[int, float] = {}
    for size in sizes(SIZES):
        with tempfile.TemporaryDirectory() as folder:
            per_account[size] = yield from _of_size(size, Path(folder))
    for before, size in pairwise(sorted(per_account)):
        growth = round(per_account[size] / per_account[before], 3)
        yield Figure(f"{LAKE} {size:,}: cost per account, of {before:,}", growth, "", IDENTITY_GROWTH)


def _of_size(size: int, folder: Path) -> Generator[Figure, None, float]:
    accounts, head = _draw(size, folder / "drawn"), f"{LAKE} {size:,}"
    command = [
        sys.executable,
        "-m",
        "benchmarks.identity_lake",
        str(accounts),
        str(folder / "run"),
        str(folder / "drawn"),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    seconds = sum(told["seconds"].values())
    steps = ", ".join(f"{name} {spent:.0f} s" for name, spent in told["seconds"].items())
    yield Figure(f"{head}: accounts", accounts, "accounts")
    yield Figure(f"{head}: silver to creator ids", round(seconds, 1), "s", SECONDS.get(size), peer=steps)
    yield Figure(f"{head}: most memory of all processes", told["gib"], "GiB", PEAK_GIB)
    yield Figure(f"{head}: bytes of shuffle an account", round(told["shuffled"] / accounts), "bytes")
    yield from quality_figures(head, *_labels(folder, accounts))
    return float(seconds / accounts)


def run(accounts: int, folder: Path, drawn: Path) -> dict[str, Any]:
    """Load the drawn tables into a new lake, run both steps, and write the rows of ids as Parquet."""
    settings = load_settings(home=folder, lake=str(folder / "lake"), email_pepper=PEPPER.decode())
    partitions = max(settings.shuffle_partitions, -(-accounts // PARTITION_ACCOUNTS))
    lake = Lake(settings.model_copy(update={"shuffle_partitions": partitions}))
    for spec in (ACCOUNTS, LINKS):
        lake.replace(spec, lake.spark.read.parquet(str(drawn / spec.name)))
    before, seconds, gib = shuffled(lake), {}, 0.0
    for name, step in STEPS.items():
        started = time.monotonic()
        with PeakMemory() as peak:
            step(StepContext(lake, lake.settings, {}, lambda _text: None))
        seconds[name] = round(time.monotonic() - started, 1)
        gib = max(gib, peak.gib)
    moved = shuffled(lake) - before
    lake.read(CREATOR_IDS).select(*OWNER, "creator_id").write.parquet(str(folder / "rows"))
    return {"seconds": seconds, "gib": round(gib, 2), "shuffled": moved}


def _labels(folder: Path, accounts: int) -> tuple[np.ndarray, np.ndarray]:
    """Creator and person of each account, as hashes."""
    rows, truth = (f"read_parquet('{folder}/{name}/*.parquet')" for name in ("run/rows", f"drawn/{TRUTH}"))
    asked = f"SELECT hash(creator_id) AS creator, hash(person) AS person FROM {truth} JOIN {rows} USING ({', '.join(OWNER)})"
    with duckdb.connect() as session:
        found = session.execute(asked).fetchnumpy()
    if len(found["person"]) != accounts:
        message = f"{accounts - len(found['person'])} accounts have no creator"
        raise RuntimeError(message)
    return found["creator"], found["person"]


# What is drawn


def _draw(size: int, folder: Path) -> int:
    """Write accounts, their links and the person of each; how many accounts."""
    count, draw = 0, np.random.default_rng(size)
    (folder / TRUTH).mkdir(parents=True)
    for at, (given, persons) in enumerate(chunks(size)):
        raw = raw_rows(given, pepper=PEPPER)
        pq.write_table(raw.select(list(OWNER)).append_column("person", persons), folder / TRUTH / f"{at:05}.parquet")
        write_rows(folder, ACCOUNTS, at, _accounts(raw, draw))
        write_rows(folder, LINKS, at, _links(raw, count))
        count += raw.num_rows
    return count


def _accounts(raw: pa.Table, draw: np.random.Generator) -> dict[str, Any]:
    seen = pa.array(FIRST_US + draw.integers(0, 10**13, raw.num_rows)).cast(pa.timestamp("us", tz="UTC"))
    same = ("handle_key", "display_name", "bio", "country_code", "language_code", "followers_count")
    given = {name: raw.column(name).combine_chunks() for name in (*OWNER, *same)}
    return given | {"email_hashes": raw.column("emails").combine_chunks(), "first_seen_at": seen}


def _links(raw: pa.Table, begin: int) -> dict[str, Any]:
    """Links to accounts, then to sites; `begin` rows are drawn already, so that ids differ."""
    links, sites = (raw.column(name).combine_chunks() for name in ("links", "domains"))
    owners = [np.repeat(np.arange(raw.num_rows), lengths(lists)) for lists in (links, sites)]
    counts = [len(owner) for owner in owners]
    target = pc.split_pattern(pc.struct_field(links.flatten(), "target"), ":", max_splits=1)
    owner = pa.array(np.concatenate(owners))
    kinds = pa.array(np.repeat([ACCOUNT_LINK, WEBSITE_LINK], counts), pa.string())
    evidence = [pc.struct_field(links.flatten(), "evidence"), pa.array([DECLARED] * counts[1], pa.string())]
    return {
        "link_id": pa.array([f"{begin}-{place}" for place in range(len(owner))], pa.string()),
        **{name: raw.column(name).combine_chunks().take(owner) for name in OWNER},
        "link_type_code": kinds,
        "target_platform": pa.concat_arrays([pc.list_element(target, 0), pa.nulls(counts[1], pa.string())]),
        "target_key": pa.concat_arrays([pc.list_element(target, 1), sites.flatten()]),
        "evidence_code": pa.concat_arrays(evidence),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))) + "\n")
