"""What a step has taken in, per platform."""

from __future__ import annotations

import sqlite3

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.silver.seen import Seen


def test_an_empty_or_foreign_cursor_means_nothing_was_seen():
    for cursor in (None, {}, 7, {"instagram": 0}):
        assert Seen.from_cursor(cursor).is_nothing


def test_it_survives_the_cursor_and_only_advances():
    seen = Seen.from_cursor({"x": 3}).advanced({"x": 2, "tiktok": 5})
    assert seen.as_cursor == {"instagram": 0, "tiktok": 5, "youtube": 0, "x": 3}
    assert Seen.from_cursor(seen.as_cursor) == seen


def test_the_predicate_holds_for_new_rows_only():
    rows = [(platform, batch) for platform in PLATFORMS for batch in (1, 2, 3)]
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE t (platform TEXT, batch_seq INT)")
        database.executemany("INSERT INTO t VALUES (?, ?)", rows)
        predicate = Seen.from_cursor({"x": 2, "tiktok": 3}).predicate()
        new = database.execute(f"SELECT platform, batch_seq FROM t WHERE {predicate}").fetchall()
    assert set(rows) - set(new) == {("x", 1), ("x", 2), ("tiktok", 1), ("tiktok", 2), ("tiktok", 3)}
