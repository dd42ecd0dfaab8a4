"""Clusters and ids of many accounts, decided in one process and part by part in Spark: time, memory, and whether rows differ.

Accounts and edges are drawn, not scored: 2.46 accounts a person, edges inside people that mostly merge, edges between strangers that
seldom do. Each way runs in a process of its own on a lake of its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.report import Figure
from benchmarks.scale import sizes
from jobs.memory import PeakMemory
from lakehouse.contracts.tables import ACCOUNTS, CREATOR_IDS, EDGES, TableSpec
from lakehouse.identity import creators
from lakehouse.identity.model import quantize
from lakehouse.ops.steps import StepContext
from lakehouse.settings import load_settings
from lakehouse.storage.lake import Lake

CLUSTERS = "clusters"
"""First word of the figures."""
SIZES = "1000000,10000000"
ACCOUNTS_PER_PERSON = 2.46
BLOCK = 1_000_000
"""Rows drawn and written at once."""
ONE, PARTS = "one process", "parts in Spark"
HELD = {ONE: 1 << 40, PARTS: 0}
"""What each way is told of how many rows a process holds."""
PLATFORMS = np.array(["instagram", "tiktok", "x", "youtube"])
DRIVER_MEMORY = "4g"
FIRST_US = 1_767_225_600_000_000


def clusters() -> Iterator[Figure]:
    """Both ways at each number of accounts that `SIZES` names."""
    for size in sizes(SIZES):
        with tempfile.TemporaryDirectory() as folder:
            yield from _of_size(size, Path(folder))


def _of_size(size: int, folder: Path) -> Iterator[Figure]:
    edges = _draw(size, folder / "drawn")
    runs = {way: _apart(way, folder / way.replace(" ", "_"), folder / "drawn") for way in HELD}
    head = f"{CLUSTERS} {size:,} accounts, {edges:,} edges"
    for way, run in runs.items():
        yield Figure(f"{head}, {way}: seconds", run["seconds"], "s")
        yield Figure(f"{head}, {way}: peak memory of all processes", run["gib"], "GiB")
    yield Figure(f"{head}: rows that differ", _differing([Path(run["rows"]) for run in runs.values()]), "rows", 0)


def _apart(way: str, folder: Path, drawn: Path) -> dict[str, Any]:
    """One way, measured by a process of its own."""
    command = [sys.executable, "-m", "benchmarks.identity_clusters", way, str(folder), str(drawn)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    shutil.rmtree(folder / "lake")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run(way: str, folder: Path, drawn: Path) -> dict[str, Any]:
    """Load the drawn tables into a new lake, build the ids once, and write their rows as Parquet."""
    settings = load_settings(
        home=folder, lake=str(folder / "lake"), email_pepper="bench", spark_driver_memory=DRIVER_MEMORY
    )
    lake = Lake(settings)
    for spec in (ACCOUNTS, EDGES):
        lake.replace(spec, lake.spark.read.parquet(str(drawn / spec.name)))
    creators.HELD_ROWS = HELD[way]
    started = time.monotonic()
    with PeakMemory() as peak:
        creators.build_creator_ids(StepContext(lake, settings, {}, lambda _text: None))
    seconds = time.monotonic() - started
    rows = folder / "rows"
    lake.read(CREATOR_IDS).write.parquet(str(rows))
    return {"seconds": round(seconds, 1), "gib": round(peak.gib, 2), "rows": str(rows)}


def _differing(folders: list[Path]) -> int:
    """Rows that only one of two sets of Parquet files holds."""
    left, right = (f"SELECT * FROM read_parquet('{folder}/*.parquet')" for folder in folders)
    both = f"(({left}) EXCEPT ({right})) UNION ALL (({right}) EXCEPT ({left}))"
    with duckdb.connect() as session:
        return int(session.execute(f"SELECT count(*) FROM ({both})").fetchall()[0][0])


# What is drawn


def _draw(size: int, folder: Path) -> int:
    """Write accounts and edges; how many edges."""
    draw = np.random.default_rng(size)
    for at, start in enumerate(range(0, size, BLOCK)):
        write_rows(folder, ACCOUNTS, at, _accounts(np.arange(start, min(start + BLOCK, size)), draw))
    ends = _ends(size, draw)
    for at, start in enumerate(range(0, len(ends), BLOCK)):
        write_rows(folder, EDGES, at, _edges(ends[start : start + BLOCK], draw))
    return len(ends)


def _ends(size: int, draw: np.random.Generator) -> np.ndarray:
    """Distinct pairs of accounts, the smaller first: neighbours, who are mostly one person, and some far from each other."""
    near = np.stack([np.arange(size - 1), np.arange(1, size)], axis=1)[draw.random(size - 1) < 0.9]
    far = np.sort(draw.integers(0, size, (size * 4 // 10, 2)), axis=1)
    found = np.concatenate([near, far[far[:, 1] - far[:, 0] > 1]])
    _, first = np.unique(found[:, 0] * size + found[:, 1], return_index=True)
    return found[first]


def _accounts(node: np.ndarray, draw: np.random.Generator) -> Mapping[str, Any]:
    seen = pa.array(FIRST_US + draw.integers(0, 10**13, len(node))).cast(pa.timestamp("us", tz="UTC"))
    platform, name = _named(node)
    return {"platform": platform, "platform_account_id": name, "first_seen_at": seen}


def _edges(ends: np.ndarray, draw: np.random.Generator) -> Mapping[str, Any]:
    is_person = (ends / ACCOUNTS_PER_PERSON).astype(np.int64)
    is_one = is_person[:, 0] == is_person[:, 1]
    log_odds = np.where(is_one, draw.normal(8, 4, len(ends)), draw.normal(-3, 2, len(ends)))
    sides = [_named(ends[:, side]) for side in (0, 1)]
    return dict(zip(EDGES.key, (*sides[0], *sides[1]), strict=True)) | {"log_odds": quantize(log_odds)}


def _named(node: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Platform and id; the numbers of accounts are ordered as these are not, as in the world."""
    return PLATFORMS[node % len(PLATFORMS)], np.char.mod("%012x", (node * 0x9E3779B1) & 0xFFFFFFFFFFFF)


def write_rows(folder: Path, spec: TableSpec, at: int, given: Mapping[str, Any]) -> None:
    """A file of rows; required columns that are not given hold something of their type, others nothing."""
    (folder / spec.name).mkdir(parents=True, exist_ok=True)
    schema, count = spec.arrow_schema(), len(given[next(iter(given))])
    columns = [
        pa.array(given[field.name], field.type) if field.name in given else _blank(field, count) for field in schema
    ]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), folder / spec.name / f"{at:05}.parquet")


def _blank(field: pa.Field, count: int) -> pa.Array:
    if field.nullable:
        return pa.nulls(count, field.type)
    zero: Any = [] if pa.types.is_list(field.type) else FIRST_US if pa.types.is_timestamp(field.type) else 0
    return pa.array([str(zero) if pa.types.is_string(field.type) else zero] * count, field.type)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))) + "\n")
