"""One step of one engine in a process of its own: `python -m benchmarks.peers.driver STEP ENGINE CORPUS FOLDER OUT.json`.

`build` writes the engine's index; `measure` opens it and runs every cell. Engines are the modules of this folder with
`build(corpus, folder)` and `open(corpus, folder)`, or a module by its full name.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.peers.measure import family, peak_memory, pss_mib, quantile, serial, throughput
from benchmarks.peers.protocol import Cell, Corpus, Engine, Truth, Vector, read_truth

RECALL = 0.95
"""The cheapest setting that reaches this counts, else the one that comes nearest."""
SWEPT = 40
"""Queries of a cell by which a setting is chosen."""
PATIENCE_SECONDS = 60.0
"""After so long a phase of a cell ends, whatever was asked of it by then."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is measured."""

    seconds: float
    repeats: int

    @classmethod
    def read(cls) -> Effort:
        """From `CLIENT_SECONDS` of each throughput and `REPEATS` of the serial queries, of which the worst counts."""
        return cls(float(os.environ.get("CLIENT_SECONDS") or 5), int(os.environ.get("REPEATS") or 1))


def main(step: str, name: str, corpus_folder: str, folder: str, out: str) -> None:
    """Run a step and write what came out."""
    module = importlib.import_module(name if "." in name else f"benchmarks.peers.{name}")
    corpus, index = Corpus(Path(corpus_folder)), Path(folder)
    result = build(module, corpus, index) if step == "build" else measure(module, corpus, index)
    Path(out).write_text(json.dumps(result))


def build(module: ModuleType, corpus: Corpus, folder: Path) -> dict[str, Any]:
    """Build the index; seconds, peak memory, size on disk."""
    os.sync()  # what was written before is not the engine's work
    started = time.perf_counter()
    with peak_memory(lambda: family(os.getpid(), _written_pids(folder))) as peak:
        module.build(corpus, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"build_seconds": time.perf_counter() - started, "build_mib": peak[0], "disk_mib": size / 2**20}


def _written_pids(folder: Path) -> list[int]:
    """Servers that an engine started and wrote down."""
    path = folder / "pids.json"
    try:
        return list(json.loads(path.read_text())) if path.exists() else []
    except ValueError:
        return []


def measure(module: ModuleType, corpus: Corpus, folder: Path) -> dict[str, Any]:
    """Open the index, run every cell; the memory after the last."""
    cells, queries, truth = corpus.cells(), corpus.queries(), read_truth(corpus.folder / "truth.npz")
    before = pss_mib([os.getpid()])
    started = time.perf_counter()
    engine: Engine = module.open(corpus, folder)
    engine.search(queries[0], engine.prepare(()), engine.settings[0])
    loaded = time.perf_counter() - started
    found = list(_cells(engine, cells, queries, truth))
    after = pss_mib(family(os.getpid(), engine.pids()))
    engine.close()
    return {"load_seconds": loaded, "pss_mib": after - before, "cells": found}


def _cells(engine: Engine, cells: list[Cell], queries: Vector, truth: list[Truth]) -> Iterator[dict[str, Any]]:
    """Measure every cell; an engine of one setting for all keeps what the first cell, that without a filter, took."""
    effort, settings = Effort.read(), engine.settings
    for cell, right in zip(cells, truth, strict=True):
        bench = Bench(engine, cell, queries[np.asarray(cell.query_of)], right)
        setting = bench.sweep(settings)
        settings = (setting,) if engine.is_fixed else settings
        yield {"cell": cell.name, "setting": setting, **bench.measure(setting, effort)}
        print(".", end="", flush=True, file=sys.stderr)


class Bench:
    """One cell of one engine."""

    def __init__(self, engine: Engine, cell: Cell, queries: Vector, truth: Truth) -> None:
        """Time the first query of every filter, before anything else is asked with it."""
        self._engine, self._cell, self._queries, self._truth = engine, cell, queries, truth
        self._filters = [engine.prepare(clauses) for clauses in cell.filters]
        self._numbers = list(range(len(cell.query_of)))
        firsts = {filter_of: number for number, filter_of in reversed(list(enumerate(cell.filter_of)))}
        self._cold = serial(lambda number: self._ask(number, engine.settings[0]), firsts.values(), PATIENCE_SECONDS)

    def sweep(self, settings: tuple[int, ...]) -> int:
        """The cheapest setting that reaches the recall, else the one that comes nearest."""
        found = {}
        for setting in settings:
            found[setting] = self._recall(setting, self._numbers[:SWEPT])[0]
            if found[setting] >= RECALL:
                return setting
        return max(found, key=lambda setting: found[setting])

    def measure(self, setting: int, effort: Effort) -> dict[str, Any]:
        """Latency, throughput and recall at a setting."""

        def call(number: int) -> list[int]:
            return self._ask(number, setting)

        recall, short = self._recall(setting, self._numbers)  # warms up too
        rounds = [serial(call, self._numbers, PATIENCE_SECONDS) for _ in range(effort.repeats)]
        return {
            "recall": recall,
            "short": short,
            "cold_p50_ms": quantile(self._cold, 0.5),
            "p50_ms": max(quantile(one, 0.5) for one in rounds),
            "p99_ms": max(quantile(one, 0.99) for one in rounds),
            "qps": throughput(call, self._numbers, effort.seconds),
        }

    def _ask(self, number: int, setting: int) -> list[int]:
        prepared = self._filters[self._cell.filter_of[number]]
        return self._engine.search(self._queries[number], prepared, setting)

    def _recall(self, setting: int, numbers: list[int]) -> tuple[float, int]:
        """Recall, and how many answers are too short, of as many queries as patience allows."""
        answers: list[list[int]] = []
        serial(lambda number: answers.append(self._ask(number, setting)), numbers, PATIENCE_SECONDS)
        return self._truth.score(answers, numbers[: len(answers)])


if __name__ == "__main__":
    main(*sys.argv[1:6])
