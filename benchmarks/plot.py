"""Draws how cost grows, from the figures in `results/pipeline.json`: `docs/images/scale.svg`."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.scale import LAST

RESULTS = Path(__file__).with_name("results") / "pipeline.json"
TARGET = Path(__file__).parents[1] / "docs" / "images" / "scale.svg"
STAGE = re.compile(r"^scale ([\d,]+) (\S+): seconds$")
PLAIN = re.compile(r"^plain ([\d.]+) s")
SHOWN = 6
"""Stages drawn one by one: the dearest at the largest size."""


def draw(results: Path = RESULTS, target: Path = TARGET) -> None:
    """Seconds over accounts, both by logarithm, for the dearest stages and their plain reading and writing by Spark."""
    seconds: dict[str, dict[int, float]] = defaultdict(dict)
    plain: dict[int, float] = defaultdict(float)
    for entry in json.loads(results.read_text(encoding="utf-8"))["figures"]:
        if found := STAGE.match(entry["name"]):
            size = int(found[1].replace(",", ""))
            seconds[found[2]][size] = entry["value"]
            plain[size] += float(PLAIN.match(entry["peer"])[1])  # type: ignore[index]  (scale.py writes it)
    whole = set(seconds[LAST])  # sizes whose runs came to the end; of others only the stages count
    plain = {size: took for size, took in plain.items() if size in whole}
    largest = max(whole)
    dearest = sorted(seconds, key=lambda name: -seconds[name].get(largest, 0.0))[:SHOWN]
    mpl.rcParams["svg.hashsalt"] = "creatorlake"  # the same figures give the same file
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    total = {size: sum(found[size] for found in seconds.values() if size in found) for size in plain}
    axes.loglog(*_points(total), "k-o", label="all stages")
    axes.loglog(*_points(plain), "k:o", label="Spark reading and writing the same rows")
    for name in dearest:
        label = name.removeprefix("_")  # with it Matplotlib leaves a label out
        axes.loglog(*_points(seconds[name]), "-o", linewidth=1, markersize=3, label=label)
    axes.set(xlabel="accounts", ylabel="seconds", title="Raw to gold, 2 cores")
    axes.grid(which="both", alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(target, metadata={"Date": None})


def _points(by_size: dict[int, float]) -> tuple[list[int], list[float]]:
    sizes = sorted(by_size)
    return sizes, [max(by_size[size], 0.01) for size in sizes]


if __name__ == "__main__":
    draw()
