"""Queries a second of one snapshot in several processes: Python answers on about one core a process, files in memory are shared.

`PART=processes SIZES=1000000 make bench-search`, after the index of that size was built. As many clients as for one process, on the same cells.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks import search_ours
from benchmarks.peers.measure import CLIENTS, Call, pss_mib, serial, throughput
from benchmarks.peers.protocol import Cell, Corpus, Vector
from benchmarks.report import Figure

PROCESSES = 2
"""One for each core of the machine that the figures are of."""
PATIENCE_SECONDS = 60.0
LAST = "done"


def processes(rows: int, corpus: Path, index: Path, seconds: float) -> Iterator[Figure]:
    """Least queries a second over the cells of each share of matching rows, and memory, beside those of one process."""
    one, all_cores = _measured(1, corpus, index, seconds), _measured(PROCESSES, corpus, index, seconds)
    for share, qps in all_cores.qps.items():
        name = f"processes {rows:,}, {share}: queries a second of {PROCESSES}"
        yield Figure(name, round(qps), "1/s", peer=f"one {one.qps[share]:,.0f}/s")
    name = f"processes {rows:,}: memory of {PROCESSES}"
    yield Figure(name, round(all_cores.memory_mib), "MiB", peer=f"one {one.memory_mib:,.0f} MiB")


@dataclass(slots=True)
class _Found:
    """Least queries a second by share of matching rows, proportional memory of all processes."""

    qps: dict[str, float]
    memory_mib: float = 0.0


def _measured(count: int, corpus: Path, index: Path, seconds: float) -> _Found:
    context = multiprocessing.get_context("spawn")
    told: Queue[tuple[str, str, float]] = context.Queue()
    arguments = (corpus, index, seconds, CLIENTS // count, context.Barrier(count), told)
    running = [context.Process(target=_answer, args=arguments) for _ in range(count)]
    for process in running:
        process.start()
    sums: dict[str, float] = {}
    found, ended = _Found({}), 0
    while ended < count:
        cell, what, value = told.get(timeout=3_600)
        if what == LAST:
            found.memory_mib, ended = found.memory_mib + value, ended + 1
        else:
            sums[cell] = sums.get(cell, 0.0) + value
    for process in running:
        process.join()
    for cell, qps in sums.items():
        share = cell.split()[0]
        found.qps[share] = min(qps, found.qps.get(share, qps))
    return found


def _call(engine: search_ours.Ours, cell: Cell, queries: Vector) -> Call:
    filters = [engine.prepare(clauses) for clauses in cell.filters]
    return lambda number: engine.search(queries[number], filters[cell.filter_of[number]], 0)


def _answer(
    corpus: Path, index: Path, seconds: float, clients: int, barrier: Barrier, told: Queue[tuple[str, str, float]]
) -> None:
    """Ask every cell at the same time as the others, with so many clients each."""
    opened = Corpus(corpus)
    engine = search_ours.open(opened, index)
    queries = opened.queries()
    for cell in opened.cells():
        call, numbers = _call(engine, cell, queries[list(cell.query_of)]), list(range(len(cell.query_of)))
        serial(call, numbers, PATIENCE_SECONDS)  # filters and pages of memory that were never touched
        barrier.wait()
        told.put((cell.name, "qps", throughput(call, numbers, seconds, clients=clients)))
    barrier.wait()
    told.put(("", LAST, pss_mib([multiprocessing.current_process().pid or 0])))
    barrier.wait()
    engine.close()
