"""What may still be asked: rates, units of the platform's own day, and money, in one database that all workers share.

A request is charged before it is made, in one transaction over every budget that it draws on; what it did not use is given
back when the answer is there. Whoever dies in between leaves the charge: a budget can be under-used, never over-spent.
Several workers on one machine share an SQLite file; on several machines, a PostgreSQL database.

Rates follow the generic cell rate algorithm of pyrate-limiter; only its state is kept here.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from pyrate_limiter import Rate as LimiterRate
from pyrate_limiter.abstracts.algorithm import GCRA

from lakehouse.fetch.database import Database
from lakehouse.fetch.source import BURST, MICRO, SUSTAINED, USD_CYCLE, USD_DAY, Bucket, Endpoint, Rate, Source

SLICES = 60
"""A rolling window is counted in so many slices; the oldest counts whole, so the count errs on the safe side."""
BACKFILL_SHARE = 0.3
"""Most of a day's units that backfills may have (platforms.md 9.1)."""
RESET_JITTER_SECONDS = (60.0, 600.0)
"""After a reset, so that workers do not return at one moment (platforms.md 7.3)."""
SLOWEST, SLOW_DOWN, SPEED_UP = 1 / 16, 0.5, 1.02
"""A throttled family goes on at half its rate, down to a sixteenth, and gains 2 % with each sound answer (AIMD's spirit; a
factor, since rates differ by orders of magnitude)."""

_METADATA = sa.MetaData()
_USED = sa.Table(
    "quota_used",
    _METADATA,
    sa.Column("account", sa.String, primary_key=True),
    sa.Column("bucket", sa.String, primary_key=True),
    sa.Column("window", sa.String, primary_key=True),
    sa.Column("used", sa.BigInteger, nullable=False),
    sa.Column("backfill", sa.BigInteger, nullable=False),
    sa.Column("requests", sa.BigInteger, nullable=False),
)
_FLOW = sa.Table(
    "quota_flow",
    _METADATA,
    sa.Column("account", sa.String, primary_key=True),
    sa.Column("family", sa.String, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("factor", sa.Float, nullable=False),
)
_PARKED = sa.Table(
    "quota_parked",
    _METADATA,
    sa.Column("account", sa.String, primary_key=True),
    sa.Column("what", sa.String, primary_key=True),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
)
_NEEDED = sa.Table(
    "quota_needed",
    _METADATA,
    sa.Column("account", sa.String, primary_key=True),
    sa.Column("bucket", sa.String, primary_key=True),
    sa.Column("window", sa.String, nullable=False),
    sa.Column("units", sa.BigInteger, nullable=False),
)

EVERYTHING = "*"
"""Parks a source as a whole."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave for `requests` requests. With none, `blocked_by` names the budget and `retry_at` when to ask again."""

    requests: int
    retry_at: dt.datetime | None = None
    blocked_by: str = ""
    is_brief: bool = False
    """Whether it is only a matter of rate: worth waiting for."""
    at: dt.datetime | None = None
    """When the requests were charged: what they do not use goes back to the windows of that moment."""


@dataclass(frozen=True, slots=True)
class Use:
    """What was drawn from one budget in one window. Money in millionths of a dollar."""

    account: str
    bucket: str
    window: str
    used: int
    backfill: int
    requests: int


@dataclass(frozen=True, slots=True)
class _Budget:
    """One budget of a request: a limit, what one request takes, the windows that count, the one to charge, its end."""

    bucket: str
    limit: int
    each: int
    windows: tuple[str, ...]
    ends_at: dt.datetime


class Ledger:
    """The budgets of all sources."""

    def __init__(self, database: Database, now: Callable[[], dt.datetime], *, seed: int | None = None) -> None:
        """Open the ledger; its tables are made on first use.

        Args:
            database: shared by all workers.
            now: the time, aware.
            seed: of the jitter, for tests.
        """
        self._database = database
        self._now = now
        self._random = random.Random(seed)  # noqa: S311  (spreads load, guards nothing)
        self._zones: dict[str, ZoneInfo] = {}
        database.create(_METADATA)

    def reserve(self, source: Source, endpoint: Endpoint, requests: int = 1, *, is_backfill: bool = False) -> Grant:
        """Charge up to `requests` requests at their worst case; fewer where a budget ends.

        Asked in order: parked, money, units, rate. A refusal charges nothing and says which budget refused.
        """
        with self._database.transaction() as connection:
            now = self._now()  # once the lock is held: waiting for it may pass midnight
            parked = self._parked(connection, source.source, endpoint)
            if parked is not None and parked.until > now.timestamp():
                return Grant(0, dt.datetime.fromtimestamp(parked.until, dt.UTC), parked.what)
            count = requests
            budgets = self._budgets(source, endpoint, now)
            for budget in budgets:
                count = min(count, self._left(connection, source.source, budget, is_backfill=is_backfill))
                if count < 1:
                    return Grant(0, self._after(budget.ends_at), budget.bucket)
            flow = self._flow(connection, source, endpoint, count)
            if flow.requests < 1:
                return flow
            for budget in budgets:
                self._charge(connection, source.source, budget, flow.requests, is_backfill=is_backfill)
            return replace(flow, at=now)

    def settle(self, source: Source, endpoint: Endpoint, *, rows: int, at: dt.datetime | None = None) -> None:
        """Give back the money of rows that an answer did not bring. Units stay: platforms charge failed requests too.

        Args:
            source: that was asked.
            endpoint: that was asked.
            rows: that it billed.
            at: when it was charged; now by default.
        """
        unused = round((endpoint.worst_usd - rows * endpoint.usd_per_row) * MICRO)
        if not unused or source.spend is None:
            return
        with self._database.transaction() as connection:
            for budget in self._money(source, endpoint, at or self._now()):
                self._add(connection, source.source, budget.bucket, budget.windows[-1], -unused)

    def park(self, source: Source, what: str, until: dt.datetime, reason: str) -> None:
        """Ask nothing of a bucket, a family or (`EVERYTHING`) the source before a time. A later time that is set stays."""
        values = {"account": source.source, "what": what, "until": until.timestamp(), "reason": reason}
        with self._database.transaction() as connection:
            known = connection.execute(_one(_PARKED, account=source.source, what=what)).first()
            if known is None:
                connection.execute(_PARKED.insert().values(values))
            elif known.until < values["until"]:
                connection.execute(_matching(_PARKED.update(), _PARKED, source.source, what).values(values))

    def unpark(self, source: str) -> int:
        """Forget what is parked of a source; how many were."""
        with self._database.transaction() as connection:
            return connection.execute(_PARKED.delete().where(_PARKED.c.account == source)).rowcount

    def reset_of(self, source: Source, bucket: str) -> dt.datetime:
        """When a bucket is full again, with jitter.

        Raises:
            KeyError: the source has no such bucket; a family of endpoints is none.
        """
        now = self._now()
        budgets = [*(self._budget(one, 0, now) for one in source.buckets), *self._money_budgets(source, 0, now)]
        return self._after({one.bucket: one.ends_at for one in budgets}[bucket])

    def slow_down(self, source: Source, family: str) -> None:
        """A family was throttled: go on at half its rate."""
        self._adapt(source, family, SLOW_DOWN)

    def speed_up(self, source: Source, family: str) -> None:
        """An answer was sound: recover a little of what throttling took."""
        self._adapt(source, family, SPEED_UP)

    def need(self, source: Source, bucket: str, units: int) -> None:
        """Say how many units of this window live work still needs, instead of what was said before; backfills leave them."""
        window = self._budget(source.bucket(bucket), 0, self._now()).windows[-1]
        scope = (_NEEDED.c.account == source.source, _NEEDED.c.bucket == bucket)
        with self._database.transaction() as connection:
            connection.execute(_NEEDED.delete().where(*scope))
            connection.execute(
                _NEEDED.insert().values(account=source.source, bucket=bucket, window=window, units=units)
            )

    def limit(self, source: Source, bucket: str) -> float:
        """What a bucket, or a budget of money in dollars, holds when it is full; 0 where there is no such one."""
        if source.spend is not None and bucket in (USD_DAY, USD_CYCLE):
            return source.spend.usd_per_day if bucket == USD_DAY else source.spend.usd_per_cycle
        return float(next((one.units for one in source.buckets if one.name == bucket), 0))

    def remaining(self, source: Source, *, with_parked: bool = True) -> dict[str, float]:
        """Units left by bucket in the current windows, and dollars under `usd_day` and `usd_cycle`.

        Args:
            source: whose budgets.
            with_parked: whether what is parked counts as nothing left.
        """
        now = self._now()
        budgets = [self._budget(bucket, 1, now) for bucket in source.buckets]
        budgets += self._money_budgets(source, 1, now)
        with self._database.transaction() as connection:
            rows = connection.execute(sa.select(_PARKED).where(_PARKED.c.account == source.source)).all()
            parked = {row.what for row in rows if row.until > now.timestamp()}
            found = {
                one.bucket: float(self._left(connection, source.source, one, is_backfill=False)) for one in budgets
            }
        left = {name: 0.0 if with_parked and {name, EVERYTHING} & parked else value for name, value in found.items()}
        return {name: value / MICRO if name in (USD_DAY, USD_CYCLE) else value for name, value in left.items()}

    def uses(self) -> list[Use]:
        """What was drawn, per budget and window."""
        with self._database.transaction() as connection:
            rows = connection.execute(sa.select(_USED).order_by(*_USED.primary_key.columns)).all()
        return [Use(*row) for row in rows]

    def parkings(self) -> list[tuple[str, str, dt.datetime, str]]:
        """Source, bucket or family, until when, and why, of everything that is parked now."""
        with self._database.transaction() as connection:
            rows = connection.execute(sa.select(_PARKED).where(_PARKED.c.until > self._now().timestamp())).all()
        return [(row.account, row.what, dt.datetime.fromtimestamp(row.until, dt.UTC), row.reason) for row in rows]

    def close(self) -> None:
        """Release connections."""
        self._database.close()

    def _parked(self, connection: sa.Connection, account: str, endpoint: Endpoint) -> sa.Row[tuple[object, ...]] | None:
        names = [EVERYTHING, endpoint.family, endpoint.bucket, USD_DAY, USD_CYCLE]
        query = sa.select(_PARKED).where(_PARKED.c.account == account, _PARKED.c.what.in_(names))
        return connection.execute(query.order_by(_PARKED.c.until.desc())).first()

    def _budgets(self, source: Source, endpoint: Endpoint, now: dt.datetime) -> list[_Budget]:
        money = self._money(source, endpoint, now)
        if not endpoint.bucket:
            return money
        return [*money, self._budget(source.bucket(endpoint.bucket), endpoint.units, now)]

    def _money(self, source: Source, endpoint: Endpoint, now: dt.datetime) -> list[_Budget]:
        each = round(endpoint.worst_usd * MICRO)
        return self._money_budgets(source, each, now) if each else []

    def _money_budgets(self, source: Source, each: int, now: dt.datetime) -> list[_Budget]:
        if source.spend is None:
            return []
        utc = now.astimezone(dt.UTC)
        day, cycle = round(source.spend.usd_per_day * MICRO), round(source.spend.usd_per_cycle * MICRO)
        return [
            _Budget(USD_DAY, day, each, (f"{utc:%Y-%m-%d}",), _next_day(utc, ZoneInfo("UTC"))),
            _Budget(USD_CYCLE, cycle, each, (f"{utc:%Y-%m}",), _next_month(utc)),
        ]

    def _budget(self, bucket: Bucket, each: int, now: dt.datetime) -> _Budget:
        if bucket.day is not None:
            zone = self._zones.setdefault(bucket.day, ZoneInfo(bucket.day))
            local = now.astimezone(zone)
            return _Budget(bucket.name, bucket.units, each, (f"{local:%Y-%m-%d}",), _next_day(now, zone))
        length = max(1.0, (bucket.seconds or 1) / SLICES)
        slice_now = int(now.timestamp() // length)
        count = -(-int(bucket.seconds or 1) // int(length)) + 1
        windows = tuple(str(number) for number in range(slice_now - count + 1, slice_now + 1))
        return _Budget(bucket.name, bucket.units, each, windows, now + dt.timedelta(seconds=length))

    def _left(self, connection: sa.Connection, account: str, budget: _Budget, *, is_backfill: bool) -> int:
        query = sa.select(
            sa.func.coalesce(sa.func.sum(_USED.c.used), 0), sa.func.coalesce(sa.func.sum(_USED.c.backfill), 0)
        )
        scope = (_USED.c.account == account, _USED.c.bucket == budget.bucket, _USED.c.window.in_(budget.windows))
        used, backfilled = connection.execute(query.where(*scope)).one()
        left = budget.limit - int(used)
        if is_backfill:
            needed = connection.execute(
                sa.select(sa.func.coalesce(sa.func.sum(_NEEDED.c.units), 0)).where(
                    _NEEDED.c.account == account,
                    _NEEDED.c.bucket == budget.bucket,
                    _NEEDED.c.window.in_(budget.windows),
                )
            ).scalar_one()
            left = min(left - int(needed), int(budget.limit * BACKFILL_SHARE) - int(backfilled))
        return max(0, left // budget.each) if budget.each else 2**31

    def _charge(
        self, connection: sa.Connection, account: str, budget: _Budget, requests: int, *, is_backfill: bool
    ) -> None:
        amount = budget.each * requests
        self._add(
            connection,
            account,
            budget.bucket,
            budget.windows[-1],
            amount,
            backfill=amount if is_backfill else 0,
            requests=requests,
        )

    def _add(
        self,
        connection: sa.Connection,
        account: str,
        bucket: str,
        window: str,
        amount: int,
        *,
        backfill: int = 0,
        requests: int = 0,
    ) -> None:
        scope = (_USED.c.account == account, _USED.c.bucket == bucket, _USED.c.window == window)
        change = {
            "used": _USED.c.used + amount,
            "backfill": _USED.c.backfill + backfill,
            "requests": _USED.c.requests + requests,
        }
        if connection.execute(_USED.update().where(*scope).values(change)).rowcount:
            return
        first = {"used": amount, "backfill": backfill, "requests": requests}
        connection.execute(_USED.insert().values(account=account, bucket=bucket, window=window, **first))

    def _flow(self, connection: sa.Connection, source: Source, endpoint: Endpoint, requests: int) -> Grant:
        """Let as many requests through as the rates allow now."""
        rates = [rate for rate in source.rates if rate.family == endpoint.family]
        if not rates:
            return Grant(requests)
        known = connection.execute(_one(_FLOW, account=source.source, family=endpoint.family)).first()
        factor = known.factor if known is not None else 1.0
        limits = [_limiter(rate, factor) for rate in rates]
        algorithm, now = GCRA(), self._now()
        millis = int(now.timestamp() * 1000)
        state = tuple(json.loads(known.state)) if known is not None else algorithm.initial(limits)
        if len(state) != len(limits):
            state = algorithm.initial(limits)
        room = min(
            limit.burst - algorithm.consumed([limit], (tat,), millis) for limit, tat in zip(limits, state, strict=True)
        )
        count = max(1, min(requests, room))
        moved, decision = algorithm.step(limits, state, millis, count)
        if not decision.allowed:
            wait = dt.timedelta(milliseconds=decision.retry_after_ms or 1)
            return Grant(0, now + wait, endpoint.family, is_brief=True)
        values = {"state": json.dumps(list(moved)), "factor": factor}
        scope = (_FLOW.c.account == source.source, _FLOW.c.family == endpoint.family)
        if known is None:
            connection.execute(_FLOW.insert().values(account=source.source, family=endpoint.family, **values))
        else:
            connection.execute(_FLOW.update().where(*scope).values(values))
        return Grant(count)

    def _adapt(self, source: Source, family: str, change: float) -> None:
        scope = (_FLOW.c.account == source.source, _FLOW.c.family == family)
        with self._database.transaction() as connection:
            known = connection.execute(_one(_FLOW, account=source.source, family=family)).first()
            if change > 1 and (known is None or known.factor >= 1.0):
                return
            factor = min(1.0, max(SLOWEST, (known.factor if known is not None else 1.0) * change))
            if known is None:
                empty = {"state": "[]", "factor": factor}
                connection.execute(_FLOW.insert().values(account=source.source, family=family, **empty))
            elif factor != known.factor:
                connection.execute(_FLOW.update().where(*scope).values(factor=factor))

    def _after(self, reset: dt.datetime) -> dt.datetime:
        return reset + dt.timedelta(seconds=self._random.uniform(*RESET_JITTER_SECONDS))


def _limiter(rate: Rate, factor: float) -> LimiterRate:
    """A published limit as steady flow and burst, slowed by `factor`."""
    limit = max(1, int(rate.requests * SUSTAINED * factor))
    return LimiterRate(limit, rate.seconds * 1000, burst=max(1, int(rate.requests * BURST * factor)))


def _next_day(now: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """The next midnight of a zone, in UTC; days of 23 and 25 hours are counted as they are."""
    day = now.astimezone(zone).date() + dt.timedelta(days=1)
    return dt.datetime.combine(day, dt.time(), zone).astimezone(dt.UTC)


def _next_month(now: dt.datetime) -> dt.datetime:
    """The first of the next month, UTC."""
    utc = now.astimezone(dt.UTC)
    return dt.datetime(utc.year + utc.month // 12, utc.month % 12 + 1, 1, tzinfo=dt.UTC)


def _one(table: sa.Table, **key: str) -> sa.Select[tuple[object, ...]]:
    return sa.select(table).where(*[table.c[name] == value for name, value in key.items()])


def _matching(statement: sa.Update, table: sa.Table, account: str, what: str) -> sa.Update:
    return statement.where(table.c.account == account, table.c.what == what)
