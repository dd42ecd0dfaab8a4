"""Figures of growth from stages as a run writes them: whole runs, runs that were ended early, and both together."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.report import Figure
from benchmarks.scale import FULL, NIGHTLY, PLAIN_NIGHT, Stage, measure
from lakehouse.contracts.tables import ACCOUNTS, EDGES, GOLD_PROFILES, LINKS

SMALL, LARGE = 1_000, 10_000


def _stage(name: str, seconds: float, rows: int, *, group: str = "silver", kind: str = FULL) -> Stage:
    return Stage(kind, name, group, rows, rows, seconds, seconds / 2, rows * 10, rows, 1.0)


def _run(accounts: int, seconds: float) -> list[Stage]:
    """A run in which each step takes so long; identity apart."""
    steps = [(ACCOUNTS, "silver"), (LINKS, "silver"), (EDGES, "identity"), (GOLD_PROFILES, "gold")]
    made = [_stage(spec.name, seconds, accounts, group=group) for spec, group in steps]
    return [_stage("simulate", 1.0, accounts, group="simulate"), *made]


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def made(runs: dict[int, list[Stage]]) -> dict[str, Figure]:
        for size, stages in runs.items():
            lines = "".join(json.dumps(asdict(stage)) + "\n" for stage in stages)
            (tmp_path / f"{size}.jsonl").write_text(lines, encoding="utf-8")
        monkeypatch.setenv("STAGES", str(tmp_path))
        return {figure.name: figure for figure in measure(list(runs))}

    return made


def test_growth_is_told_against_the_smallest_size_and_against_plain(figures) -> None:
    found = figures({SMALL: _run(SMALL, 1.0), LARGE: _run(LARGE, 12.0)})
    cost = found["scale 10,000: raw to gold, cost per account in times of that at 1,000"]
    assert (cost.value, cost.is_met) == (1.2, False)
    assert found[f"{cost.name}, over plain's"].value == 1.0
    assert found["scale 10,000: identity, cost per account in times of that at 1,000"].is_met
    assert found["scale 10,000: accounts a second"].value == round(LARGE / 36)


def test_a_run_that_was_ended_early_is_compared_as_far_as_it_came(figures) -> None:
    found = figures({SMALL: _run(SMALL, 1.0), LARGE: _run(LARGE, 5.0)[:4]})
    assert found[f"scale 10,000: raw to {LINKS.name}, cost per account in times of that at 1,000"].value == 0.5
    assert not [name for name in found if name.startswith("scale 10,000: raw to gold")]
    assert "scale 10,000: accounts a second" not in found
    assert f"scale exponent: {LINKS.name}" in found
    assert f"scale exponent: {GOLD_PROFILES.name}" not in found


def test_a_night_is_told_where_one_was_run(figures) -> None:
    whole = _run(SMALL, 10.0)
    night = [_stage(stage.name, 1.0, 10, group=stage.group, kind=NIGHTLY) for stage in whole[1:]]
    plain = [_stage(LINKS.name, 0.5, 10, kind=PLAIN_NIGHT)]
    name = "scale 1,000: a night with 1 % changed, of the whole"
    assert name not in figures({SMALL: whole})
    found = figures({SMALL: [*whole, *night, *plain]})
    assert found[name].value == 0.1
    assert found[f"scale 1,000 {LINKS.name}: seconds"].peer == "plain 5.0 s, night 1.0 s, its commits alone 0.50 s"
