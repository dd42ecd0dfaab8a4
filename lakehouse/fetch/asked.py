"""What the planner has asked for and need not ask for again for a while: accounts by the 64 bits that name them, with a number.

For posts the number is how many there were; accounts that were never seen have 0. Rows are as many as budgets pay for within
`ask_again_days`, never as many as there are accounts; they lie beside the ledger, for all who plan.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lakehouse.fetch.change_rate import Floats
from lakehouse.fetch.database import Database
from lakehouse.fetch.refresh_state import Ids, Mask

ROWS_AT_ONCE = 5_000
METADATA = sa.MetaData()
_ASKED = sa.Table(
    "plan_asked",
    METADATA,
    sa.Column("what", sa.String(16), primary_key=True),
    sa.Column("account", sa.BigInteger, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)


class What(StrEnum):
    """What was asked for."""

    POSTS = "posts"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Known:
    """Accounts that were asked for, ascending, and the number of each."""

    keys: Ids
    numbers: Floats

    @classmethod
    def none(cls) -> Known:
        """Nobody."""
        return cls(np.zeros(0, dtype=np.uint64), np.zeros(0))

    def holds(self, keys: Ids) -> Mask:
        """Which of some accounts were asked for."""
        return np.asarray(~np.isnan(self.numbers_of(keys)), dtype=np.bool_)

    def numbers_of(self, keys: Ids) -> Floats:
        """The number of each of some accounts, NaN of those that were not asked for."""
        if not len(self.keys):
            return np.full(len(keys), np.nan)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.numbers[place], np.nan)


class Asked:
    """The memory of all planners of a lake."""

    def __init__(self, database: Database, now: Callable[[], dt.datetime]) -> None:
        """In a database; makes its table."""
        self._database = database
        self._now = now
        database.create(METADATA)

    def known(self, what: What, *, days: float) -> Known:
        """Who was asked within so many days."""
        since = self._now().timestamp() - days * 86_400
        query = sa.select(_ASKED.c.account, _ASKED.c.number).where(_ASKED.c.what == what, _ASKED.c.at >= since)
        with self._database.transaction() as connection:
            rows = connection.execute(query).all()
        keys = np.array([row.account for row in rows], dtype=np.int64).view(np.uint64)
        order = np.argsort(keys)
        return Known(keys[order], np.array([row.number for row in rows], dtype=np.float64)[order])

    def note(self, what: What, keys: Ids, numbers: Floats) -> None:
        """Accounts are asked for now."""
        at = self._now().timestamp()
        pairs = list(zip(keys.view(np.int64).tolist(), numbers.tolist(), strict=True))
        for start in range(0, len(pairs), ROWS_AT_ONCE):
            part = pairs[start : start + ROWS_AT_ONCE]
            rows = [{"what": str(what), "account": key, "number": int(number), "at": at} for key, number in part]
            with self._database.transaction() as connection:
                connection.execute(_replace(connection.dialect.name), rows)

    def forget(self, *, days: float) -> None:
        """Drop what is older than so many days."""
        with self._database.transaction() as connection:
            connection.execute(_ASKED.delete().where(_ASKED.c.at < self._now().timestamp() - days * 86_400))


def _replace(dialect: str) -> sa.Insert:
    """Insert, or take over number and time."""
    made = postgresql.insert(_ASKED) if dialect == "postgresql" else sqlite.insert(_ASKED)
    given = {name: made.excluded[name] for name in ("number", "at")}
    return made.on_conflict_do_update(index_elements=["what", "account"], set_=given)
