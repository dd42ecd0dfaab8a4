"""A benchmark's result: its figures as a table on the terminal and as JSON beside the code."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).with_name("results")
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; `target` is the most it may be, `floor` the least, `peer` what something else needed in the same run."""

    name: str
    value: float
    unit: str
    target: float | None = None
    peer: str | None = None
    floor: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the value is within its target and floor, None without either."""
        if self.target is None and self.floor is None:
            return None
        return (self.target is None or self.value <= self.target) and (self.floor is None or self.value >= self.floor)

    def as_row(self) -> dict[str, Any]:
        """As it is stored; without a floor where there is none."""
        row = asdict(self) | {"is_met": self.is_met}
        return row if self.floor is not None else {name: value for name, value in row.items() if name != "floor"}


def publish(
    name: str, figures: list[Figure], *, command: str, replaces: tuple[str, ...] = (), keeps: tuple[str, ...] = ()
) -> None:
    """Print the figures and write `results/{name}.json`.

    Args:
        name: of the benchmark.
        figures: what was measured.
        command: that measures it again.
        replaces: first word or words of the figures that these stand for; others that the file holds stay. All without it.
        keeps: where nothing is named that they replace, first words of the figures that stay nevertheless.
    """
    RESULTS.mkdir(exist_ok=True)
    kept = [
        figure for figure in _known(name) if (not _begins(figure, replaces) if replaces else _begins(figure, keeps))
    ]
    result = {
        "name": name,
        "commit": _commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "command": command,
        "figures": [*kept, *(figure.as_row() for figure in figures)],
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(figures))


def _known(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.json"
    return list(json.loads(path.read_text(encoding="utf-8"))["figures"]) if path.exists() else []


def _begins(figure: dict[str, Any], beginnings: tuple[str, ...]) -> bool:
    """Whether a figure's name begins with one of some words; marks behind them do not count."""
    words = [word.rstrip(":,") for word in str(figure["name"]).split()]
    return any(words[: len(first)] == first for first in ([w.rstrip(":,") for w in b.split()] for b in beginnings))


def table(figures: list[Figure]) -> str:
    """Markdown table of figures."""
    lines = ["| figure | value | target |", "|---|---|---|"]
    lines += [f"| {f.name} | {f.value:,.10g} {f.unit} | {_target(f)} |" for f in figures]
    return "\n".join(lines) + "\n"


def _target(figure: Figure) -> str:
    if figure.is_met is None:
        return ""
    bounds = (("at most", figure.target), ("at least", figure.floor))
    said = " and ".join(f"{words} {bound:,.10g} {figure.unit}".rstrip() for words, bound in bounds if bound is not None)
    return f"{said}: {'met' if figure.is_met else 'MISSED'}"


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / GIB),
        "system": platform.system(),
        "python": platform.python_version(),
    }
