"""The fault matrix names tests that exist, every crash point has a place, every alert a page in the runbook."""

from __future__ import annotations

import ast
from pathlib import Path

from lakehouse.ops.alerts import KINDS
from tests.faults.kills import points, registered
from tests.faults.matrix import MATRIX

TESTS = Path(__file__).resolve().parents[1]
PROMISED = {f"F{number}" for number in (*range(1, 19), 21)}


def test_the_matrix_is_whole():
    assert {fault.number for fault in MATRIX} == PROMISED
    assert all(fault.tests for fault in MATRIX)


def test_every_test_of_the_matrix_exists():
    for fault in MATRIX:
        for name in fault.tests:
            file, _, function = name.partition("::")
            tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
            assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, name


def test_every_crash_point_is_struck_somewhere():
    assert {point.name for point in points()} == registered()


def test_every_alert_has_a_page():
    page = (TESTS.parent / "docs" / "runbook.md").read_text(encoding="utf-8")
    for kind in KINDS:
        assert f"\n## {kind.replace('_', '-')}\n" in page
