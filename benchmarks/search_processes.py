"""Queries a second of one snapshot in several processes: Python answers on about one core a process, files in memory are shared.

`PART=processes SIZES=1000000 make bench-search`, after the index of that size was built. As many clients as for one process, on the same cells.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
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
    """Least queries a second over the cells of each share of matching rows, and the memory of all processes together."""
    context = multiprocessing.get_context("spawn")
    told: Queue[tuple[str, str, float]] = context.Queue()
    barrier = context.Barrier(PROCESSES)
    running = [context.Process(target=_answer, args=(corpus, index, seconds, barrier, told)) for _ in range(PROCESSES)]
    for process in running:
        process.start()
    sums: dict[str, float] = {}
    memory, ended = 0.0, 0
    while ended < PROCESSES:
        cell, what, value = told.get(timeout=3_600)
        if what == LAST:
            memory, ended = memory + value, ended + 1
        else:
            sums[cell] = sums.get(cell, 0.0) + value
    for process in running:
        process.join()
    least: dict[str, float] = {}
    for cell, qps in sums.items():
        share = cell.split()[0]
        least[share] = min(qps, least.get(share, qps))
    for share, qps in least.items():
        yield Figure(f"processes {rows:,}, {share}: queries a second of {PROCESSES}", round(qps), "1/s")
    yield Figure(f"processes {rows:,}: memory of {PROCESSES}", round(memory), "MiB")


def _call(engine: search_ours.Ours, cell: Cell, queries: Vector) -> Call:
    filters = [engine.prepare(clauses) for clauses in cell.filters]
    return lambda number: engine.search(queries[number], filters[cell.filter_of[number]], 0)


def _answer(corpus: Path, index: Path, seconds: float, barrier: Barrier, told: Queue[tuple[str, str, float]]) -> None:
    """Ask every cell together with the others, with an equal share of the clients."""
    opened = Corpus(corpus)
    engine = search_ours.open(opened, index)
    queries = opened.queries()
    for cell in opened.cells():
        call, numbers = _call(engine, cell, queries[list(cell.query_of)]), list(range(len(cell.query_of)))
        serial(call, numbers, PATIENCE_SECONDS)  # filters and pages of memory that were never touched
        barrier.wait()
        told.put((cell.name, "qps", throughput(call, numbers, seconds, clients=CLIENTS // PROCESSES)))
    barrier.wait()
    told.put(("", LAST, pss_mib([multiprocessing.current_process().pid or 0])))
    barrier.wait()
    engine.close()
