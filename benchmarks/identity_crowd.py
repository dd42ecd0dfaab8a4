"""A crowd of synthetic people from a file of accounts to creator ids, beside Splink on DuckDB and on Spark: quality and seconds, in one run.

Splink gets our normal forms ready made, our blocking keys (of the rarest n-grams those that no more than `COMMON` accounts share: its
joins have no cap), `m` from the true people of a sample of the very file, and of its thresholds the best counts. Ours is
`creatorlake resolve --train`, which reads the file as it is and learns without a label. `ENGINES` says what Splink runs on (duckdb,spark);
after `LIMIT_SECONDS` it is given up. Starting Spark is not counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.identity_world import PEPPER, write_people
from benchmarks.report import Figure
from benchmarks.scale import sizes
from jobs.memory import PeakMemory
from lakehouse.identity.hashing import gram_hashes
from lakehouse.identity.model import default_model
from lakehouse.identity.nodes import forms
from lakehouse.identity.quality import Quality, quality
from lakehouse.identity.resolve import raw_rows

CROWD = "crowd"
"""First word of the figures."""
SIZES = "100000,1000000"
PEERS_PYTHON = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"
PEER = Path(__file__).parent / "peers" / "splink_accounts.py"
ENGINES = {"duckdb": "Splink", "spark": "Splink on Spark"}
"""What Splink runs on, and how it is named in figures."""
LIMIT_SECONDS = 3_600
COMMON = 20
GRAM_CHARS, GRAMS, STEM_CHARS = 5, 4, 40
CHUNK_ROWS = 100_000


@dataclass(frozen=True)
class Outcome:
    """Clusters of each threshold (row by row of the file), seconds by step, peak memory of all processes."""

    clusters: dict[float, np.ndarray]
    seconds: dict[str, float]
    gib: float


def crowd() -> Iterator[Figure]:
    """Both at each number of accounts that `SIZES` names; Splink's figures are left out where it is not installed."""
    for size in sizes(SIZES):
        with tempfile.TemporaryDirectory() as folder:
            yield from _of_size(size, Path(folder))


def _of_size(size: int, folder: Path) -> Iterator[Figure]:
    person = write_people(size, folder / "accounts.parquet")
    ours, head = _resolved(folder), f"{CROWD} {size:,}"
    mine = quality(next(iter(ours.clusters.values())), person)
    yield Figure(f"{head}: accounts", len(person), "accounts")
    yield from _told(f"{head}, ours", mine, ours)
    if not PEERS_PYTHON.exists():
        return
    for engine in (os.environ.get("ENGINES") or ",".join(ENGINES)).split(","):
        yield from _beside(f"{head}, {ENGINES[engine]}", mine, _splink(folder, person, engine), person)


def _beside(head: str, mine: Quality, peer: Outcome | None, person: np.ndarray) -> Iterator[Figure]:
    """The peer at its best F1, at our precision and at our recall."""
    if peer is None:
        yield Figure(f"{head}: given up after", LIMIT_SECONDS, "s")
        return
    scores = {cut: quality(labels, person) for cut, labels in peer.clusters.items()}
    best = max(scores.values(), key=lambda one: one.pairs.f1)
    yield from _told(f"{head} at its best F1", best, peer)
    exact = [one.pairs.recall for one in scores.values() if one.pairs.precision >= mine.pairs.precision]
    yield Figure(f"{head} at our precision: pair recall", round(max(exact, default=0.0), 3), "")
    found = [one.pairs.precision for one in scores.values() if one.pairs.recall >= mine.pairs.recall]
    yield Figure(f"{head} at our recall: pair precision", round(max(found, default=0.0), 3), "")


def _told(head: str, scores: Quality, outcome: Outcome) -> Iterator[Figure]:
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in outcome.seconds.items())
    yield Figure(f"{head}: pair precision", round(scores.pairs.precision, 4), "")
    yield Figure(f"{head}: pair recall", round(scores.pairs.recall, 4), "")
    yield Figure(f"{head}: B-cubed F1", round(scores.b_cubed.f1, 4), "")
    yield Figure(f"{head}: seconds", round(sum(outcome.seconds.values()), 1), "s", peer=steps)
    yield Figure(f"{head}: peak memory", round(outcome.gib, 2), "GiB")


def _resolved(folder: Path) -> Outcome:
    """`creatorlake resolve --train` over the file."""
    source, target = folder / "accounts.parquet", folder / "out.parquet"
    command = [sys.executable, "-m", "jobs.cli", "resolve", str(source), "--out", str(target), "--train"]
    gib, seconds, _ = _run(command, os.environ | {"CREATORLAKE_EMAIL_PEPPER": PEPPER.decode()})
    labels = pq.read_table(target, columns=["creator_id"]).column(0).combine_chunks().dictionary_encode()
    return Outcome({0.0: labels.indices.to_numpy()}, {"from file to file": seconds}, gib)


def _splink(folder: Path, person: np.ndarray, engine: str) -> Outcome | None:
    """The peer; preparing its input is not counted, nor are more than one of its clusterings. None where it is given up."""
    source, target = folder / "prepared.parquet", folder / "clusters.parquet"
    if not source.exists():
        pq.write_table(_prepared(folder / "accounts.parquet", person), source)
    try:
        command = [str(PEERS_PYTHON), str(PEER), str(source), str(target), engine]
        gib, _, said = _run(command, dict(os.environ), LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    clusters = by_threshold(pq.read_table(target), len(person))
    seconds = json.loads(said.splitlines()[-1])
    return Outcome(clusters, seconds | {"cluster": seconds["cluster"] / max(len(clusters), 1)}, gib)


def by_threshold(found: pa.Table, size: int) -> dict[float, np.ndarray]:
    """The peer's clusters of each threshold, row by row."""
    threshold, account, cluster = (found.column(name).to_numpy() for name in ("threshold", "unique_id", "cluster_id"))
    clusters = {}
    for cut in np.unique(threshold):
        labels, is_it = np.arange(size), threshold == cut
        labels[account[is_it]] = cluster[is_it]
        clusters[float(cut)] = labels
    return clusters


def _run(command: list[str], env: dict[str, str], limit: float | None = None) -> tuple[float, float, str]:
    """Peak memory, seconds and output of a process."""
    started = time.monotonic()
    with PeakMemory() as peak:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=limit)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return peak.gib, time.monotonic() - started, done.stdout


def _prepared(path: Path, person: np.ndarray) -> pa.Table:
    """What the peer reads: our normal forms, rare n-grams, and the true person."""
    parts = []
    for batch in pq.ParquetFile(path).iter_batches(CHUNK_ROWS):
        made = forms(raw_rows(pa.Table.from_batches([batch]), pepper=PEPPER), default_model())
        own = pa.array(
            zip(made["own_handle"].to_pylist(), made["own_id"].to_pylist(), strict=True), pa.list_(pa.string())
        )
        columns = {name: made[name] for name in ("platform", "handle", "stem", "name", "tokens", "links")}
        columns |= {name: or_null(made[name]) for name in ("domains", "emails")}
        parts.append(pa.table(columns | {"own": own}))
    table = pa.concat_tables(parts).combine_chunks()
    grams = _rare_grams(table.column("stem").combine_chunks())
    table = table.append_column("grams", grams).append_column("unique_id", pa.array(np.arange(len(person))))
    return table.append_column("person", pc.cast(pa.array(person), pa.string()))


def or_null(lists: pa.ListArray) -> pa.Array:
    """Lists, null where empty: a column without any value is not compared."""
    return pc.if_else(pc.greater(pc.list_value_length(lists), 0), lists, pa.scalar(None, lists.type))


def _rare_grams(stems: pa.Array) -> pa.Array:
    """The rarest n-grams of each stem that two to `COMMON` stems have."""
    hashes = gram_hashes(pc.utf8_slice_codeunits(stems, 0, STEM_CHARS), chars=GRAM_CHARS, length_max=STEM_CHARS)
    rows, columns = np.nonzero(hashes)
    pairs = np.unique(np.stack([rows.astype(np.uint64), hashes[rows, columns]], axis=1), axis=0)
    _, place, uses = np.unique(pairs[:, 1], return_inverse=True, return_counts=True)
    is_rare = (uses[place] > 1) & (uses[place] <= COMMON)
    row, gram, use = pairs[is_rare, 0].astype(np.int64), pairs[is_rare, 1].view(np.int64), uses[place[is_rare]]
    order = np.lexsort((gram, use, row))
    row, gram = row[order], gram[order]
    first = np.searchsorted(row, row)
    kept = np.arange(len(row)) - first < GRAMS
    offsets = np.searchsorted(row[kept], np.arange(len(stems) + 1))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(gram[kept]))
