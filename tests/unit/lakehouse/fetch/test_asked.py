"""The planner's memory: what was asked for is known for a while, with its newest number."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from lakehouse.fetch.asked import ROWS_AT_ONCE, Asked, Known, What
from lakehouse.fetch.database import Database
from tests.refresh_factory import NOW

KEYS = np.array([7, 2**63 + 5, 2**64 - 1, 0], dtype=np.uint64)


@pytest.fixture
def clock() -> list[dt.datetime]:
    return [NOW]


@pytest.fixture
def asked(tmp_path: Path, clock: list[dt.datetime]) -> Asked:
    return Asked(Database.file(tmp_path / "ledger.db"), lambda: clock[0])


def test_numbers_are_those_that_were_noted_last(asked: Asked) -> None:
    asked.note(What.POSTS, KEYS, np.array([1.0, 2.0, 3.0, 4.0]))
    asked.note(What.POSTS, KEYS[:1], np.array([10.0]))
    asked.note(What.NEW, KEYS[1:2], np.zeros(1))
    known = asked.known(What.POSTS, days=90)
    others = np.array([1, 8, 2**63], dtype=np.uint64)
    assert known.numbers_of(KEYS).tolist() == [10.0, 2.0, 3.0, 4.0]
    assert np.isnan(known.numbers_of(others)).all()
    assert asked.known(What.NEW, days=90).holds(KEYS).tolist() == [False, True, False, False]
    assert not Known.none().holds(KEYS).any()


def test_what_is_old_is_unknown_and_forgotten(asked: Asked, clock: list[dt.datetime]) -> None:
    asked.note(What.NEW, KEYS[:2], np.zeros(2))
    clock[0] += dt.timedelta(days=60)
    asked.note(What.NEW, KEYS[2:], np.zeros(2))
    clock[0] += dt.timedelta(days=31)
    assert asked.known(What.NEW, days=90).holds(KEYS).tolist() == [False, False, True, True]
    assert asked.known(What.NEW, days=365).holds(KEYS).all()
    asked.forget(days=90)
    assert asked.known(What.NEW, days=365).holds(KEYS).tolist() == [False, False, True, True]


def test_many_accounts_are_noted_in_portions(asked: Asked) -> None:
    keys = np.arange(2 * ROWS_AT_ONCE + 1, dtype=np.uint64) * np.uint64(2**40)
    asked.note(What.POSTS, keys, np.arange(len(keys), dtype=np.float64))
    assert asked.known(What.POSTS, days=1).numbers_of(keys[::-1]).tolist() == list(range(len(keys)))[::-1]
