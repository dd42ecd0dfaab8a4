"""Look-ups of single rows: what they read of a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from serving.catalog import LOOKED_UP, _by_key, _load_keys, _paired

ROWS = 400_000
"""Four of DuckDB's row groups."""


def operators(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An operator of a plan and all below it."""
    yield node
    for child in node.get("children", []):
        yield from operators(child)


def test_a_look_up_reads_blocks_of_a_table_and_finds_what_is_there() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE TABLE profiles AS SELECT i AS gid, ['instagram', 'x'][1 + i % 2] AS platform, 'User_' || i AS handle "
            f"FROM range({ROWS}) t(i)"
        )
        _load_keys(connection, "profiles")
        query = f"SELECT gid FROM profiles WHERE {_by_key('profiles', [2, 2, 2])}"
        values = _paired("x", ["user_5", "USER_7", "nobody"])
        assert sorted(connection.execute(query, values).fetchall()) == [(5,), (7,)]
        told = json.loads(connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", values).fetchall()[0][1])
        scans = [found for root in told["operator"] for found in operators(root) if found["type"] == "TABLE_SCAN"]
        assert len(scans) == 4
        assert all(scan["total_row_groups_to_scan"] == 4 for scan in scans)
        assert all(scan["row_groups_scanned"] <= 1 for scan in scans)


def test_a_table_without_the_columns_has_no_keys() -> None:
    with duckdb.connect() as connection:
        for name in LOOKED_UP:
            connection.execute(f"CREATE TABLE {name} AS SELECT 1 AS gid")
            _load_keys(connection, name)
        assert {row[0] for row in connection.execute("SHOW TABLES").fetchall()} == set(LOOKED_UP)
