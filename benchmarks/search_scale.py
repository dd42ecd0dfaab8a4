"""One large shard: what building, opening and asking it costs, and the arithmetic from it to 250 million rows.

Vectors are made while they are read, so that the disk holds only what the build itself writes. Recall is that of the
build's own report (`docs/index.md`), on queries and filters that it was not fitted on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.peers.measure import peak_memory, pss_mib, quantile, serial, throughput
from benchmarks.peers.protocol import Cell, Corpus
from benchmarks.report import Figure
from benchmarks.search_data import Base, base, blocks
from benchmarks.search_ours import Ours
from index_build.build import build_from
from index_build.export import Batch, Export, ExportInfo
from index_build.spec import IndexSpec
from index_build.verify import read_manifest
from serving.search import Searcher

ALL_ROWS = 250_000_000
QUERIES = 40
"""Of each cell."""
CLIENT_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class MadeExport(Export):
    """A corpus that is made whenever it is read."""

    real: Base = field(kw_only=True)

    def batches(self) -> Iterator[Batch]:
        """All rows, in order."""
        for vectors, table in blocks(self.real, self.rows_count):
            yield Batch(table, vectors)


def scale(rows: int, cells: Path, scratch: Path) -> Iterator[Figure]:
    """Figures of one size; `cells` is the folder of a corpus whose queries and filters are asked."""
    built, snapshot = scratch / "built.json", scratch / "snapshot"
    if not built.exists():
        _step("build", str(rows), str(scratch))
    told, manifest = json.loads(built.read_text()), read_manifest(snapshot)
    name = f"scale {rows:,}"
    for stage, seconds in told["stages"].items():
        yield Figure(f"{name}: {stage}", round(seconds), "s")
    yield Figure(f"{name}: build", round(told["seconds"]), "s", peer=f"{rows / told['seconds']:,.0f} rows/s")
    yield Figure(f"{name}: most memory of the build", round(told["peak_mib"]), "MiB")
    size = sum(entry.size_bytes for entry in manifest.files())
    yield Figure(f"{name}: snapshot", round(size / MIB), "MiB", peer=f"{size / rows:.0f} bytes a row")
    yield Figure(f"{name}: least recall@10 of the report", round(manifest.recall.minimum, 4), "", floor=0.95)
    _step("ask", str(cells), str(scratch))
    asked = json.loads((scratch / "asked.json").read_text())
    yield Figure(f"{name}: first opening, tables made", round(asked["first_open_seconds"], 1), "s")
    yield Figure(f"{name}: opening and first query", round(asked["open_seconds"], 2), "s", target=2.0)
    yield Figure(f"{name}: memory after all queries", round(asked["pss_mib"]), "MiB")
    for share, worst in asked["worst"].items():
        yield Figure(f"{name}, {share}: p50", round(worst["p50_ms"], 2), "ms", peer=f"p99 {worst['p99_ms']:.1f} ms")
        yield Figure(f"{name}, {share}: queries a second", round(worst["qps"]), "1/s")
    codes = sum(shard.index.size_bytes for shard in manifest.shards) / rows
    needed = ALL_ROWS * codes / 2**30
    yield Figure(f"{name}: index.faiss of {ALL_ROWS:,} rows (extrapolated)", round(needed, 1), "GiB", target=24.0)


def build(rows: int, scratch: Path) -> None:
    """Build the snapshot; seconds of each stage, peak memory."""
    scratch.mkdir(parents=True, exist_ok=True)
    real = base()
    schema = next(blocks(real, 1))[1].schema
    export = MadeExport(ExportInfo(), (), schema, rows, real.vectors.shape[1], real=real)
    stages: list[tuple[str, float]] = []

    def log(line: str) -> None:
        sys.stderr.write(f"{line}\n")
        stages.append((line.removeprefix("index: ").split()[0], time.perf_counter()))

    started = time.perf_counter()
    with peak_memory(lambda: [os.getpid()]) as peak:
        build_from(export, scratch / "snapshot", IndexSpec(), log=log)
    ends = [at for _, at in stages[1:]] + [time.perf_counter()]
    seconds: dict[str, float] = defaultdict(float)  # a stage may come for each shard
    for (stage, begun), end in zip(stages, ends, strict=True):
        seconds[stage] += end - begun
    seconds.pop("snapshot", None)
    told = {"seconds": time.perf_counter() - started, "stages": seconds, "peak_mib": peak[0]}
    (scratch / "built.json").write_text(json.dumps(told))


def ask(cells: Path, scratch: Path) -> None:
    """Open the snapshot twice and ask some queries of every cell."""
    threadpool_limits(1, user_api="blas")
    corpus = Corpus(cells)
    queries, listed = corpus.queries(), corpus.cells()
    before, taken = pss_mib([os.getpid()]), []
    for _ in range(2):
        started = time.perf_counter()
        engine = Ours(Searcher.open(scratch / "snapshot"))
        engine.search(queries[0], engine.prepare(()), 0)
        taken.append(time.perf_counter() - started)
        if len(taken) == 1:
            engine.close()
    worst: dict[str, dict[str, float]] = {}
    for cell in listed:
        found = _asked(engine, cell, queries[list(cell.query_of)])
        known = worst.setdefault(cell.name.split()[0], dict(found))
        known |= {"qps": min(known["qps"], found["qps"])} | {
            name: max(known[name], found[name]) for name in ("p50_ms", "p99_ms")
        }
    told = {"first_open_seconds": taken[0], "open_seconds": taken[1], "worst": worst}
    told["pss_mib"] = pss_mib([os.getpid()]) - before
    engine.close()
    (scratch / "asked.json").write_text(json.dumps(told))


def _asked(engine: Ours, cell: Cell, queries: np.ndarray) -> dict[str, float]:
    filters = [engine.prepare(clauses) for clauses in cell.filters]
    numbers = list(range(min(QUERIES, len(cell.query_of))))

    def call(number: int) -> object:
        return engine.search(queries[number], filters[cell.filter_of[number]], 0)

    serial(call, numbers, PATIENCE_SECONDS)  # filters and pages of memory that were never touched
    taken = serial(call, numbers, PATIENCE_SECONDS)
    qps = throughput(call, numbers, CLIENT_SECONDS)
    return {"p50_ms": quantile(taken, 0.5), "p99_ms": quantile(taken, 0.99), "qps": qps}


def _step(step: str, *arguments: str) -> None:
    """A step in a process of its own, so that memory is the step's."""
    subprocess.run([sys.executable, "-m", "benchmarks.search_scale", step, *arguments], check=True)


if __name__ == "__main__":
    if sys.argv[1] == "build":
        build(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        ask(Path(sys.argv[2]), Path(sys.argv[3]))
