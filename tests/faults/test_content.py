"""The comparison of two lakes is exact but for what an encoder made, and fails where it has to."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.faults.content import TOLERANCE, are_alike

ROWS = [
    {
        "id": "a",
        "er_ratio": 0.5,
        "niches": [{"code": "x", "score": 0.5}],
        "vector": [0.1, 0.2],
        "landed_at": 1,
        "signals": [{"signal": "link", "left": {"url": "u", "first_seen_at": 1}}],
    },
    {"id": "b", "er_ratio": None, "niches": None, "vector": None, "landed_at": 2, "signals": None},
]
TABLE = pa.Table.from_pylist(ROWS)


def _with(**values):
    return pa.Table.from_pylist([ROWS[1], ROWS[0] | values])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, True),
        ({"landed_at": 9}, True),
        ({"vector": [0.1 + TOLERANCE / 2, 0.2]}, True),
        ({"vector": [0.1 + 2 * TOLERANCE, 0.2]}, False),
        ({"vector": [0.1]}, False),
        ({"vector": None}, False),
        ({"niches": [{"code": "x", "score": 0.5 + TOLERANCE / 2}]}, True),
        ({"niches": [{"code": "y", "score": 0.5}]}, False),
        ({"niches": []}, False),
        ({"er_ratio": 0.5 + TOLERANCE / 100}, False),
        ({"id": "c"}, False),
        ({"signals": [{"signal": "link", "left": {"url": "u", "first_seen_at": 2}}]}, True),
        ({"signals": [{"signal": "link", "left": {"url": "v", "first_seen_at": 1}}]}, False),
    ],
)
def test_rows_are_alike_exactly_or_as_near_as_the_encoder_is(values, expected):
    assert are_alike(TABLE, _with(**values)) is expected


def test_rows_that_are_missing_or_doubled_differ():
    assert not are_alike(TABLE, TABLE.slice(0, 1))
    assert not are_alike(TABLE, pa.concat_tables([TABLE, TABLE]))
    assert not are_alike(TABLE, None)
    assert not are_alike(TABLE, TABLE.drop_columns(["vector"]))
