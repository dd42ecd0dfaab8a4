"""`docs/faults.md`: the fault matrix beside what was measured of it, from `results/faults.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS
from tests.faults.matrix import MATRIX

PAGE = Path(__file__).resolve().parents[1] / "docs" / "faults.md"
FATE = re.compile(r"(?P<number>F9|F10|F11) (?P<what>.+): rows (?P<fate>landed|withheld) \((?P<reasons>.+)\)")
NIGHT = re.compile(r"Nights (?P<night>\d\d): seconds")
HEAD = """# Faults

What may go wrong, what is promised then, the tests that prove it, and what was measured. `make test` runs the tests outside
of `tests/faults` and those that are short; `make test-faults` the others (hours); `make bench-faults` measures again and
writes this page (`PART=writers`, `storms`, `dagster`, `platforms`, `bad_input`, `kills`, `nights` or `runs` one part of it).
"""


def render() -> str:
    """The page as Markdown."""
    figures = json.loads((RESULTS / "faults.json").read_text(encoding="utf-8"))["figures"]
    rest = [figure for figure in figures if not FATE.match(figure["name"]) and not NIGHT.match(figure["name"])]
    return "\n".join(
        [
            HEAD,
            *_table("The matrix", "| # | fault | promise | tests |", _matrix()),
            *_table("Measured", "| figure | value | aim |", (_measured(figure) for figure in rest)),
            *_table("Fate of each bad file", "| # | file | rows landed | withheld | reasons |", _fates(figures)),
            *_table("Nights", "| night | seconds | kills, files and bytes afterwards |", _nights(figures)),
        ]
    )


def write() -> None:
    """Write the page."""
    PAGE.write_text(render(), encoding="utf-8")


def _table(title: str, head: str, lines: Iterator[str]) -> list[str]:
    """A section with a table; none without lines."""
    rows = list(lines)
    return [f"## {title}", head, "|---" * (head.count("|") - 1) + "|", *rows, ""] if rows else []


def _matrix() -> Iterator[str]:
    for fault in MATRIX:
        tests = "<br>".join(f"`{test}`" for test in fault.tests)
        yield f"| {fault.number} | {fault.what} | {fault.promise} | {tests} |"


def _measured(figure: dict[str, Any]) -> str:
    aim = ""
    if figure["target"] is not None:
        aim = f"{figure['target']:,.10g} {figure['unit']}: {'met' if figure['is_met'] else 'missed'}"
    return f"| {figure['name']} | {figure['value']:,.10g} {figure['unit']} | {aim} |"


def _fates(figures: list[dict[str, Any]]) -> Iterator[str]:
    """One line a file; its two figures follow each other."""
    found = [(match, figure["value"]) for figure in figures if (match := FATE.match(figure["name"]))]
    for (match, landed), (_, withheld) in zip(found[::2], found[1::2], strict=True):
        yield f"| {match['number']} | {match['what']} | {landed} | {withheld} | {match['reasons']} |"


def _nights(figures: list[dict[str, Any]]) -> Iterator[str]:
    for figure in figures:
        if match := NIGHT.match(figure["name"]):
            yield f"| {int(match['night'])} | {figure['value']} | {figure['peer']} |"


if __name__ == "__main__":
    write()
