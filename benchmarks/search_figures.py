"""What was measured of every engine, kept in `results/search_cells.json`, and the figures that it comes to."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, Figure

RAW = RESULTS / "search_cells.json"
SAME_RECALL = 0.95
SHARES = ("100%", "10%", "1%", "0.1%", "0.01%")


@dataclass(frozen=True, slots=True)
class Target:
    """Most milliseconds (p50, p99), least queries a second and recall, by selectivity from all to .01 %."""

    p50_ms: tuple[float, ...]
    p99_ms: tuple[float, ...]
    qps: tuple[float, ...]
    recall: tuple[float, ...]


TARGETS: Mapping[int, Target] = {
    1_000_000: Target(
        (1.0, 1.5, 2, 0.6, 0.3), (5, 6, 8, 4, 3), (1500, 1000, 800, 3000, 5000), (0.97, 0.97, 0.98, 1, 1)
    ),
    10_000_000: Target((4, 6, 10, 4, 1.5), (15, 20, 30, 15, 6), (400, 250, 150, 400, 1000), (0.95, 0.96, 0.97, 1, 1)),
}
LOAD_SECONDS: Mapping[int, float] = {10_000_000: 2.0}
FASTER: Mapping[str, float] = {"lancedb": 5, "milvus-lite": 5, "pgvector": 5, "qdrant-edge": 2, "zvec": 1}
"""How many times a peer's queries a second ours are to be, geometric mean at equal recall."""
SMALLER = 0.2
"""Share of a peer's memory that ours is to be."""

System = dict[str, Any]


class Store:
    """Results by engine and number of rows, in a file with a line for each engine and each cell."""

    def __init__(self, found: list[System], path: Path = RAW) -> None:
        """Wrap what is known."""
        self.found = found
        self._path = path

    @classmethod
    def read(cls, path: Path = RAW) -> Store:
        """What was measured before."""
        return cls(json.loads(path.read_text(encoding="utf-8")) if path.exists() else [], path)

    def put(self, name: str, rows: int, result: System) -> None:
        """Replace an engine's result at a size and write the file."""
        kept = [one for one in self.found if (one["system"], one["rows"]) != (name, rows)]
        self.found = sorted(
            [*kept, {"system": name, "rows": rows, **result}], key=lambda one: (one["rows"], one["system"])
        )
        self._path.write_text(_lines(self.found), encoding="utf-8")

    def sizes(self, name: str) -> list[int]:
        """Sizes at which an engine was measured."""
        return [one["rows"] for one in self.found if one["system"] == name]

    def at(self, rows: int) -> dict[str, System]:
        """Engines at a size."""
        return {one["system"]: one for one in self.found if one["rows"] == rows}


def _lines(found: list[System]) -> str:
    """JSON with each engine and each cell on a line."""
    parts = []
    for one in found:
        head = json.dumps({name: _short(value) for name, value in one.items() if name != "cells"})
        rows = ",\n  ".join(
            json.dumps({name: _short(value) for name, value in cell.items()}) for cell in one.get("cells", [])
        )
        parts.append(f' {head[:-1]}, "cells": [\n  {rows}\n ]}}' if rows else f" {head}")
    return "[\n" + ",\n".join(parts) + "\n]\n"


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def share_of(cell: Mapping[str, Any]) -> str:
    """Selectivity in the name of a cell."""
    return str(cell["cell"]).split(" ", 1)[0]


def worst(system: System, share: str) -> dict[str, float]:
    """Worst of each measure over the cells of a selectivity."""
    cells = [cell for cell in system["cells"] if share_of(cell) == share]
    most = {name: max(cell[name] for cell in cells) for name in ("p50_ms", "p99_ms", "cold_p50_ms")}
    return most | {name: min(cell[name] for cell in cells) for name in ("qps", "recall")}


def least_recall(system: System) -> float:
    """Least recall over all cells."""
    return _short(min(cell["recall"] for cell in system["cells"]))


def of_ours(store: Store, name: str) -> Iterator[Figure]:
    """Our figures at every size: the worst cell of each selectivity."""
    for rows in store.sizes(name):
        system, head = store.at(rows)[name], f"{name} {rows:,}"
        if "failure" in system:
            continue
        for place, share in enumerate(SHARES):
            yield from _cells(f"{head}, {share}", worst(system, share), TARGETS.get(rows), place)
        yield Figure(f"{head}: least recall of any cell", least_recall(system), "", floor=SAME_RECALL)
        short = sum(cell["short"] for cell in system["cells"])
        yield Figure(f"{head}: answers with fewer rows than match", short, "answers", 0)
        yield Figure(f"{head}: open and first answer", round(system["load_seconds"], 2), "s", LOAD_SECONDS.get(rows))
        for measure, unit in (("build_seconds", "s"), ("build_mib", "MiB"), ("pss_mib", "MiB"), ("disk_mib", "MiB")):
            said = {"build_mib": "build, peak memory", "pss_mib": "memory", "disk_mib": "disk"}.get(measure, "build")
            yield Figure(f"{head}: {said}", round(system[measure]), unit)


def _cells(head: str, found: Mapping[str, float], target: Target | None, place: int) -> Iterator[Figure]:
    most = (target.p50_ms[place], target.p99_ms[place]) if target else (None, None)
    least = (target.qps[place], target.recall[place]) if target else (None, None)
    yield Figure(f"{head}: p50", _short(found["p50_ms"]), "ms", most[0])
    yield Figure(f"{head}: p99", _short(found["p99_ms"]), "ms", most[1])
    yield Figure(f"{head}: p50 where the filter is new", _short(found["cold_p50_ms"]), "ms")
    yield Figure(f"{head}: queries a second", _short(found["qps"]), "/s", floor=least[0])
    yield Figure(f"{head}: recall@10", _short(found["recall"]), "", floor=least[1])


def of_peers(store: Store, ours: str) -> Iterator[Figure]:
    """Each peer beside ours at every size that ours was measured at."""
    for rows in store.sizes(ours):
        systems = store.at(rows)
        own = systems.pop(ours)
        if "failure" in own:
            continue
        for name, system in systems.items():
            head = f"peers {rows:,} {name}"
            if "failure" in system:
                yield Figure(f"{head}: {system['failure']}", 0, "cells")
                continue
            ratio, cells = faster(own, system)
            said = f"{cells} of {len(system['cells'])} cells at recall {SAME_RECALL}, least recall {least_recall(system):.3f}"
            if cells:
                yield Figure(f"{head}: our queries a second to its", round(ratio, 2), "x", None, said, FASTER.get(name))
            else:
                yield Figure(f"{head}: least recall", least_recall(system), "")
            memory = own["pss_mib"] / system["pss_mib"]
            said = f"{system['pss_mib']:,.0f} MiB"
            yield Figure(f"{head}: our memory to its", round(memory, 2), "x", SMALLER if name in FASTER else None, said)


def faster(own: System, peer: System) -> tuple[float, int]:
    """Geometric mean of our queries a second to a peer's over the cells where both reach the recall, and how many they are."""
    pairs = [
        (mine["qps"], theirs["qps"])
        for mine, theirs in zip(own["cells"], peer["cells"], strict=True)
        if min(mine["recall"], theirs["recall"]) >= SAME_RECALL
    ]
    if not pairs:
        return math.nan, 0
    return math.exp(sum(math.log(mine / theirs) for mine, theirs in pairs) / len(pairs)), len(pairs)
