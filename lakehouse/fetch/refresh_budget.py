"""What one hour may cost: a day's rest spread over its hours, and whether so many accounts fit. No queue, no ledger."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from lakehouse.fetch.change_rate import Floats, Ints
from lakehouse.fetch.source import MICRO, SUSTAINED, USD_CYCLE, USD_DAY, Bucket, Endpoint, Source

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class HourBudget:
    """Most that refreshes of one source may take in one hour: units by bucket, and money."""

    units: Mapping[str, int] = field(default_factory=dict)
    usd: float = math.inf


def hour_budget(source: Source, now: dt.datetime, left: Mapping[str, float]) -> HourBudget:
    """This hour's share of what is left.

    The rest of a day is divided by the hours that its own clock still has, rounded half up: what one hour leaves, the later
    ones get, and the last takes all. A rolling window gives its hourly part.

    Args:
        source: whose quotas.
        now: the time, aware.
        left: units by bucket, and dollars under `usd_day` and `usd_cycle`; a budget that is not named is untouched.
    """
    units = {bucket.name: _units(bucket, now, left.get(bucket.name, bucket.units)) for bucket in source.buckets}
    if source.spend is None:
        return HourBudget(units)
    day = left.get(USD_DAY, source.spend.usd_per_day) / _hours_of_day(now, "UTC")
    cycle = left.get(USD_CYCLE, source.spend.usd_per_cycle) / _hours_of_month(now)
    return HourBudget(units, max(0.0, min(day, cycle)))


def _units(bucket: Bucket, now: dt.datetime, left: float) -> int:
    if bucket.day is None:
        hourly = bucket.units * SECONDS_PER_HOUR / (bucket.seconds or SECONDS_PER_HOUR)
        return max(0, math.floor(min(left, hourly)))
    return max(0, min(math.floor(left), math.floor(left / _hours_of_day(now, bucket.day) + 0.5)))


def _hours_of_day(now: dt.datetime, zone: str) -> int:
    """Hours that the day still has in a zone, this one included; days of 23 and 25 hours are counted as they are."""
    place = ZoneInfo(zone)
    tomorrow = now.astimezone(place).date() + dt.timedelta(days=1)
    end = dt.datetime.combine(tomorrow, dt.time(), place)
    return max(1, math.ceil((end.timestamp() - now.timestamp()) / SECONDS_PER_HOUR))


def _hours_of_month(now: dt.datetime) -> int:
    utc = now.astimezone(dt.UTC)
    end = dt.datetime(utc.year + utc.month // 12, utc.month % 12 + 1, 1, tzinfo=dt.UTC)
    return max(1, math.ceil((end - utc).total_seconds() / SECONDS_PER_HOUR))


@dataclass(frozen=True)
class Purse:
    """A source's hour, exactly: `fits` answers for counts of accounts by route.

    A route is an endpoint that looks profiles up, by its kind of key, or one that lists posts. What is limited are dimensions: units of each bucket, requests of each
    family, millionths of a dollar. A request takes `per_request`, each of its keys `per_row`.
    """

    routes: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    units: Ints
    per_request: Floats
    per_row: Floats
    limits: Floats
    rows_max: int

    @classmethod
    def of(cls, source: Source, budget: HourBudget, routes: Sequence[str], rows_max: int) -> Purse:
        """The purse of a source for some of its endpoints."""
        endpoints = tuple(source.endpoints[name] for name in routes)
        units = [e.units + (source.endpoints[e.then].units if e.then else 0) for e in endpoints]
        families = [[e.family, *([source.endpoints[e.then].family] if e.then else [])] for e in endpoints]
        dimensions: list[tuple[float, list[float], list[float]]] = []
        nothing = [0.0] * len(endpoints)
        for bucket, left in budget.units.items():
            dimensions.append(
                (left, [float(n) * (e.bucket == bucket) for n, e in zip(units, endpoints, strict=True)], nothing)
            )
        for rate in source.rates:
            limit = math.floor(rate.requests * SUSTAINED * SECONDS_PER_HOUR / rate.seconds)
            dimensions.append((limit, [float(names.count(rate.family)) for names in families], nothing))
        if math.isfinite(budget.usd):
            lists = [float(round(e.worst_usd * MICRO)) if e.max_rows else 0.0 for e in endpoints]
            prices = [0.0 if e.max_rows else float(round(e.usd_per_row * MICRO)) for e in endpoints]
            dimensions.append((math.floor(budget.usd * MICRO + 0.5), lists, prices))
        limits, per_request, per_row = zip(*dimensions, strict=True) if dimensions else ((), (), ())
        shape = (len(dimensions), len(endpoints))
        matrices = (np.array(per_request).reshape(shape).T, np.array(per_row).reshape(shape).T)
        amounts = np.array(units, dtype=np.int64)
        return cls(tuple(routes), endpoints, amounts, *matrices, np.array(limits, dtype=np.float64), rows_max)

    @cached_property
    def batches(self) -> Ints:
        """Most keys a request, by route."""
        return np.array([endpoint.batch for endpoint in self.endpoints], dtype=np.int64)

    @cached_property
    def costs(self) -> Floats:
        """Share of the hour that one account takes, by route: of its scarcest dimension. Infinite where there is none left.

        The sum of shares is at most 1 for whatever fits, so what ranks by value per cost ranks by value per scarce budget.
        """
        each = self.per_request / self.batches[:, None] + self.per_row
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(each > 0, each / self.limits, 0.0)
        floor = 1.0 / self.rows_max
        return np.asarray(np.maximum(shares.max(axis=1, initial=0.0), floor), dtype=np.float64)

    @cached_property
    def capacities(self) -> Ints:
        """Most accounts that fit, by route, were it alone."""
        with np.errstate(divide="ignore", invalid="ignore"):
            requests = np.where(self.per_request > 0, np.floor(self.limits / self.per_request), np.inf)
            rows = np.where(self.per_row > 0, np.floor(self.limits / self.per_row), np.inf)
        most = np.minimum(requests * self.batches[:, None], rows).min(axis=1, initial=np.inf)
        return np.asarray(np.minimum(most, self.rows_max), dtype=np.int64)

    def requests(self, counts: Ints) -> Ints:
        """Requests for counts of accounts by route (the last axis)."""
        return -(-counts // self.batches)

    def used(self, counts: Ints) -> Floats:
        """What counts of accounts take of each dimension."""
        return np.asarray(self.requests(counts) @ self.per_request + counts @ self.per_row, dtype=np.float64)

    def fits(self, counts: Ints) -> npt.NDArray[np.bool_]:
        """Whether counts of accounts by route are within every limit."""
        is_within = (self.used(counts) <= self.limits).all(axis=-1) & (counts.sum(axis=-1) <= self.rows_max)
        return np.asarray(is_within, dtype=np.bool_)

    def price(self, counts: Ints) -> tuple[int, float]:
        """Units and dollars at the worst case of counts by route."""
        has_bucket = np.array([bool(e.bucket) for e in self.endpoints], dtype=np.int64)
        units = self.requests(counts) @ (self.units * has_bucket)
        lists = self.requests(counts) @ np.array([e.worst_usd if e.max_rows else 0.0 for e in self.endpoints])
        rows = counts @ np.array([0.0 if e.max_rows else e.usd_per_row for e in self.endpoints])
        return int(units), round(float(lists + rows), 6)
