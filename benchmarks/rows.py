"""What a row costs in the parts of the pipeline that are Python: processor time of one core, without Spark.

`make bench-pipeline PART=rows`; the median of several passes over the same synthetic world.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.report import Figure
from lakehouse.contracts.payload import POST, PROFILE
from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.enrich.docs import compose_batch
from lakehouse.enrich.quality import score_batch
from lakehouse.enrich.quality_rules import FEATURES, peer_stats
from lakehouse.enrich.risk import FIELDS, scan_batches
from lakehouse.ingest.batches import read_batches
from lakehouse.ingest.landing import land
from lakehouse.ingest.mapping import load_mappings
from lakehouse.settings import load_settings
from lakehouse.silver.rows import RAW_COLUMNS, parse_posts, parse_profiles
from lakehouse.simulate.world import World
from lakehouse.simulate.write import write_world
from lakehouse.storage.objects import ObjectStore

CREATORS = 3_000
PASSES = 5
BATCH_ROWS = 5_000
"""As Spark hands them over (`lakehouse/storage/session.py`)."""
PEPPER = b"bench"
POSTS_TYPE = pa.list_(
    pa.struct([("text", pa.string()), ("tags", pa.list_(pa.string())), ("category_labels", pa.list_(pa.string()))])
)


def measure() -> list[Figure]:
    """Microseconds of processor time a row."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "input"
        report = write_world(World(creators_count=CREATORS, seed=7), source)
        costs = [_landing(Path(folder), source, str(number)) for number in range(PASSES)]
        objects = _objects(Path(folder), "0")
        raw = {kind: list(_raw(objects, kind)) for kind in (PROFILE, POST)}
    profiles = [batch for part in raw[PROFILE] for batch in parse_profiles(iter([part]), pepper=PEPPER)]
    parts: dict[str, tuple[Callable[[pa.RecordBatch], Any], list[pa.RecordBatch]]] = {
        "normalise a profile": (lambda batch: list(parse_profiles(iter([batch]), pepper=PEPPER)), raw[PROFILE]),
        "normalise a post": (lambda batch: list(parse_posts(iter([batch]), pepper=PEPPER)), raw[POST]),
        "text of an account": (compose_batch, [_with_posts(batch) for batch in profiles]),
        "risks of a profile": (lambda batch: list(scan_batches(iter([batch]))), [_texts(batch) for batch in profiles]),
        "scores of an account": _scores(profiles),
    }
    figures = [Figure("rows land a row", round(median(costs), 1), "us", peer=f"{report.rows_count} rows")]
    return [*figures, *(_figure(name, work, batches) for name, (work, batches) in parts.items())]


def _figure(name: str, work: Callable[[pa.RecordBatch], Any], batches: list[pa.RecordBatch]) -> Figure:
    costs, rows = [], sum(batch.num_rows for batch in batches)
    for _ in range(PASSES):
        started = time.process_time()
        for batch in batches:
            work(batch)
        costs.append((time.process_time() - started) / rows * 1e6)
    return Figure(f"rows {name}", round(median(costs), 1), "us", peer=f"{rows} rows")


def _objects(folder: Path, name: str) -> ObjectStore:
    return ObjectStore.open(load_settings(home=folder, lake=str(folder / name), email_pepper="bench"))


def _landing(folder: Path, source: Path, name: str) -> float:
    objects, mappings = _objects(folder, name), load_mappings(None)
    started = time.process_time()
    report = land(objects, source, mappings=mappings, log=lambda _text: None)
    return (time.process_time() - started) / report.rows_in * 1e6


def _raw(objects: ObjectStore, record_type: str) -> Iterator[pa.RecordBatch]:
    """Landed records as bronze holds them."""
    rows = []
    for batch in read_batches(objects):
        for item in batch.objects:
            if item.record_type == record_type:
                lines = gzip.decompress(objects.get(item.path)).splitlines()
                rows += [
                    json.loads(line) | {"batch_seq": batch.batch_seq, "landed_at": batch.landed_at} for line in lines
                ]
    for start in range(0, len(rows), BATCH_ROWS):
        part = rows[start : start + BATCH_ROWS]
        columns = {name: [row[name] for row in part] for name in RAW_COLUMNS}
        columns["payload"] = [json.dumps(payload, sort_keys=True) for payload in columns["payload"]]
        arrays = {name: pa.array(values) for name, values in columns.items()}
        moments = {name: arrays[name].cast(pa.timestamp("us", "UTC")) for name in ("observed_at", "landed_at")}
        yield pa.RecordBatch.from_pydict(arrays | moments)


def _with_posts(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.append_column("posts", pa.nulls(batch.num_rows, POSTS_TYPE))


def _texts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Profiles as the scan for risks reads them."""
    empty = pa.nulls(batch.num_rows, pa.string())
    columns = {name: batch.column(name) for name in ("platform", "platform_account_id")} | {"post_id": empty}
    return pa.RecordBatch.from_pydict(
        columns | {name: batch.column(name) if name == "bio" else empty for name in FIELDS}
    )


def _scores(
    profiles: list[pa.RecordBatch],
) -> tuple[Callable[[pa.RecordBatch], pa.RecordBatch], list[pa.RecordBatch]]:
    """Scoring with drawn features: nine in ten are known."""
    draw = np.random.default_rng(7)
    rows = sum(batch.num_rows for batch in profiles)
    features = {name: np.where(draw.random(rows) < 0.9, draw.lognormal(size=rows), np.nan) for name in FEATURES}
    platforms = draw.choice(PLATFORMS, rows)
    stats = peer_stats(platforms.tolist(), features)
    columns = {name: pa.array(values, from_pandas=True) for name, values in features.items()}
    columns |= {"platform": pa.array(platforms), "engagement_reason": pa.nulls(rows, pa.string())}
    columns["platform_account_id"] = pa.array([str(row) for row in range(rows)])
    table = pa.table(columns)
    return lambda batch: score_batch(batch, stats), table.to_batches(max_chunksize=BATCH_ROWS)
