"""Records of persons that are no accounts, beside Splink: deduplication sets that everybody uses.

The product reads each set as a file of anyone's own, with the model that `benchmarks/records/` declares for its columns; threshold and
weights of the kinds of fields are the packaged ones. Splink gets the same columns in the same run (`peers/splink_records.py`), and of
its ways, trainings and thresholds the best on the set counts, which favours it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.report import Figure
from lakehouse.identity.model import Model, load_model
from lakehouse.identity.quality import Quality, quality
from lakehouse.identity.resolve import resolve_file
from lakehouse.identity.text import tokens

RECORDS = "records"
"""First word of the figures of this part."""
CLASSIC = Path("identity") / "classic"
MODELS = Path(__file__).parent / "records"
PEERS_PYTHON = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"
PEER = Path(__file__).parent / "peers" / "splink_records.py"
FEBRL: Mapping[str, tuple[str, ...]] = {
    "FEBRL 1": ("dataset1",),
    "FEBRL 2": ("dataset2",),
    "FEBRL 3": ("dataset3",),
    "FEBRL 4": ("dataset4a", "dataset4b"),
}
HISTORICAL = "historical_50k"
SECONDS = "seconds"
LOOSE_SIZE = 40
"""A cluster size that knows nothing of the set, whose largest person has 21 records."""
WORDS = 5
"""Words of a name whose pairs are keys, as in `keys.PAIRED_TOKENS`."""


@dataclass(frozen=True)
class Records:
    """A set: its rows with `id` and text columns, the person of each, its model, and the peer's name for it."""

    rows: pd.DataFrame
    person: np.ndarray
    model: Model
    peer: str


def records() -> Iterator[Figure]:
    """Scores of each set, ours beside the peer's."""
    data = os.environ.get("CREATORLAKE_TEST_DATA")
    if not data:
        sys.stdout.write("CREATORLAKE_TEST_DATA names no folder of real files: records of persons are left out.\n")
        return
    for name, found in sets(Path(data) / CLASSIC):
        ours, seconds = resolved(found)
        yield from _figures(f"{RECORDS} {name}", ours, seconds, _peer(found))
        if name == HISTORICAL:
            rules = replace(found.model.cluster, size_max=LOOSE_SIZE)
            ours, seconds = resolved(replace(found, model=replace(found.model, cluster=rules)))
            yield from _figures(f"{RECORDS} {name}, clusters of up to {LOOSE_SIZE}", ours, seconds, None)


def sets(folder: Path) -> Iterator[tuple[str, Records]]:
    """Every set of the folder, by name."""
    path = folder / "splink" / "historical_figures_with_errors_50k.parquet"
    if path.exists():
        rows = pq.read_table(path).to_pandas().drop(columns=["gender"])
        person = rows.pop("cluster").to_numpy()
        model = load_model(MODELS / "historical.json")
        yield HISTORICAL, Records(rows.rename(columns={"unique_id": "id"}), person, model, "historical")
    for name, files in FEBRL.items():
        paths = [folder / "febrl" / f"{file}.csv" for file in files]
        if all(path.exists() for path in paths):
            rows = pd.concat([pd.read_csv(path, skipinitialspace=True, dtype=str) for path in paths])
            rows = rows.rename(columns=str.strip).rename(columns={"rec_id": "id"}).reset_index(drop=True)
            person = rows["id"].str.split("-").str[1].to_numpy()
            yield name, Records(rows, person, load_model(MODELS / "febrl.json"), "febrl")


def resolved(found: Records) -> tuple[Quality, float]:
    """Scores of the product's clusters, and its seconds from file to file."""
    rows = found.rows.rename(columns={"id": "platform_account_id", "full_name": "display_name"})
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.parquet", Path(folder) / "out.parquet"
        pq.write_table(pa.Table.from_pandas(rows.assign(platform="person"), preserve_index=False), source)
        started = time.monotonic()
        resolve_file(source, target, model=found.model, log=lambda _: None)
        seconds = time.monotonic() - started
        creators = pq.read_table(target).column("creator_id").to_numpy(zero_copy_only=False)
    return quality(creators, found.person), seconds


@dataclass(frozen=True)
class Best:
    """The peer's best way."""

    scores: Quality
    seconds: float
    training: float
    way: str


def _peer(found: Records) -> Best | None:
    if not PEERS_PYTHON.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.parquet", Path(folder) / "out.parquet"
        pq.write_table(_for_peer(found), source)
        command = [str(PEERS_PYTHON), str(PEER), str(source), str(target), found.peer]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        clusters = pq.read_table(target).to_pandas()
    ways = [_scored(found, way, cut, part) for (way, cut), part in clusters.groupby(["way", "threshold"])]
    return max(ways, key=lambda one: one.scores.pairs.f1)


def _scored(found: Records, way: str, threshold: float, part: pd.DataFrame) -> Best:
    labels = found.rows["id"].map(dict(zip(part["unique_id"], part["cluster_id"], strict=True)))
    scores = quality(labels.fillna(found.rows["id"]).to_numpy(dtype=str), found.person)
    seconds, training = (float(part[name].iloc[0]) for name in ("seconds", "training"))
    return Best(scores, seconds, training, f"{way}, threshold {threshold:g}")


def _for_peer(found: Records) -> pa.Table:
    """The same columns, the true persons, and keys as ours: pairs of words of the whole name that few have."""
    rows = found.rows.rename(columns={"id": "unique_id"}).assign(person=found.person)
    if "full_name" in rows:
        rows["word_pairs"] = _rare_pairs(rows["full_name"], found.model.blocking.key_size_max)
    return pa.Table.from_pandas(rows, preserve_index=False)


def _rare_pairs(names: pd.Series, most: int) -> list[list[str]]:
    words = tokens(pa.array(names, pa.string(), from_pandas=True)).to_pylist()
    pairs = [[" ".join(pair) for pair in combinations(some[:WORDS], 2)] for some in words]
    counts = Counter(pair for some in pairs for pair in some)
    return [[pair for pair in some if counts[pair] <= most] for some in pairs]


def _figures(head: str, ours: Quality, seconds: float, peer: Best | None) -> Iterator[Figure]:
    theirs = _named(peer.scores, peer.seconds) if peer else {}
    for what, (value, unit) in _named(ours, seconds).items():
        said = f"Splink {theirs[what][0]:.4g} ({peer.way})" if peer else None
        if peer and what == SECONDS:
            said = f"Splink {peer.seconds:.1f}, of which training {peer.training:.1f}"
        yield Figure(f"{head}: {what}", value, unit, peer=said)


def _named(scores: Quality, seconds: float) -> dict[str, tuple[float, str]]:
    return {
        "pair precision": (round(scores.pairs.precision, 4), ""),
        "pair recall": (round(scores.pairs.recall, 4), ""),
        "pair F1": (round(scores.pairs.f1, 4), ""),
        "B-cubed F1": (round(scores.b_cubed.f1, 4), ""),
        "largest cluster": (scores.largest, "records"),
        SECONDS: (round(seconds, 2), "s"),
    }
