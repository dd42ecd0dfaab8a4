"""Figures of a benchmark stand for those that they measure again; all others stay."""

from __future__ import annotations

import json

import pytest

from benchmarks import report
from benchmarks.identity import replaced
from benchmarks.identity_crowd import CROWD
from benchmarks.report import Figure, publish


def _names(folder) -> list[str]:
    return [figure["name"] for figure in json.loads((folder / "search.json").read_text())["figures"]]


@pytest.mark.parametrize(
    ("replaces", "expected"),
    [
        ((), ["new"]),
        (("scale",), ["night 1,000: build", "new"]),
        (("scale 1,000",), ["scale 1,000,000: build", "night 1,000: build", "new"]),
        (("night 1,000:",), ["scale 1,000: build", "scale 1,000, 10%: p50", "scale 1,000,000: build", "new"]),
    ],
)
def test_only_what_was_measured_again_is_replaced(tmp_path, monkeypatch, replaces, expected):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    known = ("scale 1,000: build", "scale 1,000, 10%: p50", "scale 1,000,000: build", "night 1,000: build")
    publish("search", [Figure(name, 1.0, "s") for name in known], command="make")
    publish("search", [Figure("new", 2.0, "s")], command="make", replaces=replaces)
    assert _names(tmp_path) == expected


def test_a_crowd_beside_one_engine_leaves_the_figures_of_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setenv("SIZES", "1000")
    spark, duckdb = (f"{CROWD} 1,000, {name} at its best F1: seconds" for name in ("Splink on Spark", "Splink"))
    publish("search", [Figure(spark, 1.0, "s"), Figure(duckdb, 1.0, "s")], command="make")
    again = [Figure(duckdb, 2.0, "s")]
    monkeypatch.setenv("ENGINES", "duckdb")
    publish("search", again, command="make", replaces=replaced(CROWD, again))
    assert _names(tmp_path) == [spark, duckdb]
    monkeypatch.delenv("ENGINES")
    publish("search", again, command="make", replaces=replaced(CROWD, again))
    assert _names(tmp_path) == [duckdb]
