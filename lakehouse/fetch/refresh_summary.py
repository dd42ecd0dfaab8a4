"""What a plan came to: accounts by reason and tier, value kept and left, ages, units and money. Sums over chunks only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.fetch.change_rate import Floats, Ints
from lakehouse.fetch.refresh_state import RefreshState
from lakehouse.fetch.refresh_value import Valuation

FIRST_HOURS, LAST_HOURS, CLASSES = 0.5, 24 * 365.0, 240
"""Ages are counted by classes: below half an hour, then steps of 4.2 % up to a year, then older or never fetched."""
STEP = float(np.log(LAST_HOURS / FIRST_HOURS)) / CLASSES
UPPERS: Floats = np.append(FIRST_HOURS * np.exp(STEP * np.arange(CLASSES + 1)), np.inf)


@dataclass(frozen=True, slots=True)
class Spending:
    """One source's hour: accounts and requests, units, dollars at the worst case, expected value kept and left out.

    `live_units` are the units without accounts never seen: what may be held back from backfills.
    """

    accounts: int
    requests: int
    units: int
    live_units: int
    usd: float
    value_kept: float
    value_left: float


@dataclass(frozen=True, slots=True)
class Freshness:
    """Ages in hours of a platform's tier before the plan: half and 95 % of its accounts are at most so old; never fetched is inf."""

    accounts: int
    p50_hours: float
    p95_hours: float


@dataclass(frozen=True, slots=True)
class RefreshSummary:
    """What a plan came to.

    `counts` by (reason, tier); `spending` by source; `freshness` by (platform, tier); `unreachable` accounts have no key
    that their source takes, or a source that is not configured or has no budget; `high_value` by source says whether the
    top is refreshed hourly.
    """

    counts: Mapping[tuple[str, str], int]
    spending: Mapping[str, Spending]
    freshness: Mapping[tuple[str, str], Freshness]
    unreachable: int
    high_value: Mapping[str, bool]


@dataclass(slots=True)
class Ages:
    """Ages of all accounts, counted by platform, tier and class of age."""

    tiers: tuple[str, ...]
    counts: Ints = field(init=False)

    def __post_init__(self) -> None:
        """Nothing counted."""
        self.counts = np.zeros((len(PLATFORMS), len(self.tiers), len(UPPERS)), dtype=np.int64)

    def add(self, state: RefreshState, values: Valuation) -> None:
        """Count a chunk; accounts of no weight, or never seen, are not shown and not counted."""
        ages = np.clip(values.age, FIRST_HOURS, LAST_HOURS * np.exp(STEP))
        classes = np.ceil(np.log(ages / FIRST_HOURS) / STEP).astype(np.int64)
        place = np.ravel_multi_index((state.platform, values.tier, classes), self.counts.shape)
        found = np.bincount(place[(values.weight > 0) & ~values.is_new], minlength=self.counts.size)
        self.counts += found.reshape(self.counts.shape)

    def freshness(self) -> dict[tuple[str, str], Freshness]:
        """Percentiles, as the upper edge of their class."""
        return {
            (platform, tier): Freshness(int(counts.sum()), _percentile(counts, 0.5), _percentile(counts, 0.95))
            for platform, by_tier in zip(PLATFORMS, self.counts, strict=True)
            for tier, counts in zip(self.tiers, by_tier, strict=True)
            if counts.sum()
        }


def _percentile(counts: Ints, share: float) -> float:
    reached = np.searchsorted(np.cumsum(counts), share * counts.sum(), side="left")
    return round(float(UPPERS[reached]), 2)
