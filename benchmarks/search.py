"""Filtered search, ours beside other engines: the same vectors, filters and queries, each engine in a process of its own.

`make bench-search [PART=data|creatorlake|night|scale|final|parts|processes|peers|page] [SIZES=1000000]`. Data is made once (`search_data.py`) and kept in
`CREATORLAKE_BENCH_FOLDER`; `CREATORLAKE_TEST_DATA` adds real titles to its texts. More settings: `QUERIES` of a cell (200),
`CLIENT_SECONDS` of each throughput (5), `REPEATS` of the serial queries, of which the worst counts (1), `PEERS` by name,
`SIZES_PEERS`, `SIZES_SCALE` of the large shard (25000000 needs 55 GB of disk), and `PEER_SECONDS`, after which a step of an engine is given up and reported so (5400). Peers are in
`.venv-search-peers` (deploy/locks/search-peers.txt); without it they are left out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.driver import Effort
from benchmarks.peers.protocol import Corpus, write_cells
from benchmarks.report import Figure, publish
from benchmarks.search_cells import make_cells
from benchmarks.search_data import FOLDER, base, corpus
from benchmarks.search_figures import Store, of_ours, of_peers
from benchmarks.search_final import final_scores
from benchmarks.search_night import nights
from benchmarks.search_oracle import truths, write_truth
from benchmarks.search_page import write_page
from benchmarks.search_parts import parts
from benchmarks.search_processes import processes
from benchmarks.search_scale import scale

OURS = "creatorlake"
ROOT = Path(__file__).parents[1]
PEERS_PYTHON = ROOT / ".venv-search-peers" / "bin" / "python"
PEERS: Mapping[str, str] = {
    "duckdb": "exact_duckdb",
    "faiss, fixed nprobe": "faiss_ivf",
    "lancedb": "lance",
    "milvus-lite": "milvus",
    "pgvector": "pgvector",
    "qdrant-edge": "qdrant",
    "zvec": "zvec_hnsw",
}
"""Engines and their modules in `peers/`."""


def main() -> None:
    """Measure and publish."""
    asked = os.environ.get("PART")
    for part, measure in PARTS.items():
        if asked in {None, "", "all", part}:
            figures = list(measure())
            if figures:
                of_sizes = {" ".join(figure.name.split()[:2]) for figure in figures}
                publish("search", figures, command="make bench-search", replaces=tuple(sorted(of_sizes)))


def data() -> Iterator[Figure]:
    """Corpora, cells and right answers of every size."""
    for rows in _sizes("SIZES"):
        prepared(rows)
    for source, count in base().sources.items():
        yield Figure(f"data texts, {source}", count, "texts")


def prepared(rows: int) -> Path:
    """Folder of a corpus with everything that engines read; cells are made anew when their number of queries changed."""
    folder, per_cell = corpus(rows), int(os.environ.get("QUERIES") or 200)
    stamp = folder / "cells.txt"
    if not stamp.exists() or stamp.read_text() != str(per_cell):
        queries, cells = make_cells(base(), per_cell)
        np.save(folder / "queries.npy", queries)
        write_cells(cells, folder / "cells.json")
        opened = Corpus(folder)
        write_truth(list(truths(opened, opened.cells())), folder / "truth.npz")
        stamp.write_text(str(per_cell))
    return folder


def ours() -> Iterator[Figure]:
    """Our engine, and what the peers that were measured are beside it now."""
    store = Store.read()
    for rows in _sizes("SIZES"):
        store.put(OURS, rows, _measured("benchmarks.search_ours", Path(sys.executable), prepared(rows)))
    yield from of_ours(store, OURS)
    yield from of_peers(store, OURS)


def night() -> Iterator[Figure]:
    """A snapshot renewed after a night."""
    for rows in _sizes("SIZES"):
        folder, index = prepared(rows), index_folder("benchmarks.search_ours", rows)
        built = _built("benchmarks.search_ours", Path(sys.executable), folder)
        scratch = FOLDER / f"night_{rows}"
        yield from nights(rows, base(), folder, index / "snapshot", built["build_seconds"], scratch)
        shutil.rmtree(scratch)


def large() -> Iterator[Figure]:
    """One large shard, on the cells of a million rows."""
    for rows in _sizes("SIZES_SCALE"):
        yield from scale(rows, prepared(1_000_000), FOLDER / f"scale_{rows}")


def final() -> Iterator[Figure]:
    """Best final scores with the default weights against all rows scored."""
    for rows in _sizes("SIZES"):
        yield from final_scores(rows, prepared(rows), index_folder("benchmarks.search_ours", rows))


def peers() -> Iterator[Figure]:
    """Other engines."""
    if not PEERS_PYTHON.exists():
        sys.stdout.write("There is no .venv-search-peers: other engines are left out.\n")
        return
    store = Store.read()
    asked = [name for name in (os.environ.get("PEERS") or "").split(";") if name] or list(PEERS)
    for rows in _sizes("SIZES_PEERS" if os.environ.get("SIZES_PEERS") else "SIZES"):
        for name in asked:
            store.put(name, rows, _measured(PEERS[name], PEERS_PYTHON, prepared(rows)))
    yield from of_peers(store, OURS)


def choices() -> Iterator[Figure]:
    """Single choices of our index."""
    for rows in _sizes("SIZES"):
        yield from parts(rows, Corpus(prepared(rows)), index_folder("benchmarks.search_ours", rows) / "snapshot")


def several() -> Iterator[Figure]:
    """Our engine in as many processes as there are cores."""
    for rows in _sizes("SIZES"):
        index = index_folder("benchmarks.search_ours", rows)
        yield from processes(rows, prepared(rows), index, Effort.read().seconds)


def page() -> Iterator[Figure]:
    """Tables and the drawing of docs/search.md; no figures of its own."""
    write_page(Store.read(), OURS, ROOT / "docs")
    yield from ()


def index_folder(module: str, rows: int) -> Path:
    """Where an engine keeps its index."""
    return FOLDER / f"index_{rows}" / module.rpartition(".")[2]


def _measured(module: str, python: Path, folder: Path) -> dict[str, Any]:
    """Build and measure an engine; what came out, or why nothing did."""
    found = _built(module, python, folder)
    if "failure" in found:
        return found
    return found | _step("measure", module, python, folder, index_folder(module, Corpus(folder).rows))


def _built(module: str, python: Path, folder: Path) -> dict[str, Any]:
    """Build an engine's index; one that was built before is used again."""
    index = index_folder(module, Corpus(folder).rows)
    about = index / "built.json"
    if not about.exists():
        shutil.rmtree(index, ignore_errors=True)
        index.mkdir(parents=True)
        found = _step("build", module, python, folder, index)
        if "failure" in found:
            return found
        about.write_text(json.dumps(found))
    built: dict[str, Any] = json.loads(about.read_text())
    return built


def _step(step: str, module: str, python: Path, folder: Path, index: Path) -> dict[str, Any]:
    """One step in a process of its own; a failure is an answer too."""
    limit = float(os.environ.get("PEER_SECONDS") or 5_400)
    out = index.with_name(f"{index.name}_{step}.json")
    out.unlink(missing_ok=True)
    command = [str(python), "-m", "benchmarks.peers.driver", step, module, str(folder), str(index), str(out)]
    sys.stderr.write(f"{module}: {step} of {folder.name}\n")
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            return {"failure": f"{step} was given up after {limit:,.0f} s"}
    return json.loads(out.read_text()) if code == 0 else {"failure": f"{step} failed"}


def _sizes(setting: str) -> list[int]:
    return [int(size) for size in (os.environ.get(setting) or "1000000").split(",")]


PARTS: Mapping[str, Callable[[], Iterator[Figure]]] = {
    "data": data,
    OURS: ours,
    "night": night,
    "scale": large,
    "final": final,
    "parts": choices,
    "processes": several,
    "peers": peers,
    "page": page,
}
"""What can be measured alone by `PART=`; also the first word of its figures."""

if __name__ == "__main__":
    main()
