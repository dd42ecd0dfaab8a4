"""How refreshes are planned, as data: tiers with ceilings, weights, shares of an hour's budget. Values and their checks only.

The shipped values are `refresh.yaml`; a deployment gives its own file of the same form.
"""

from __future__ import annotations

import datetime as dt
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.errors import SettingsError
from lakehouse.fetch.task import AccountState

SHIPPED = "refresh.yaml"
HOURS_PER_DAY = 24.0


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tier(_Strict):
    """A class of accounts. An account is of the first tier of which it meets any condition.

    `ceiling_days` by platform: the longest age where the budget allows it; null is on demand, and such rows may expire.
    """

    code: str
    has_tenants: bool = False
    is_fast: bool = False
    followers_min: int | None = Field(default=None, ge=0)
    weight: float = Field(default=1.0, gt=0)
    ceiling_days: dict[str, float | None]

    @model_validator(mode="after")
    def _knows_every_platform(self) -> Tier:
        if set(self.ceiling_days) != set(PLATFORMS):
            raise ValueError(f"tier {self.code} needs a ceiling for each of {', '.join(PLATFORMS)}")
        return self


class HighValue(_Strict):
    """Accounts to refresh hourly where the budget allows it: of so many followers, or on a tenant's list."""

    followers_min: int = Field(ge=0)
    has_tenants: bool = True


class Prior(_Strict):
    """Bounds of what is believed of an account before it was observed."""

    strength_min: float = Field(gt=0)
    strength_max: float = Field(gt=0)
    changes_per_day: float = Field(gt=0)
    memory_days: float = Field(gt=0)


class RefreshPolicy(_Strict):
    """Everything that can be tuned; `refresh.yaml` says what each value means."""

    checked_on: dt.date
    change_ratio: float = Field(gt=0, lt=1)
    ranking: Literal["freshness", "change"]
    oldest_share: float = Field(gt=0, lt=1)
    duty_share: float = Field(gt=0, le=1)
    high_value_share: float = Field(ge=0, le=1)
    explore_share: float = Field(ge=0, lt=1)
    posts_share: float = Field(ge=0, lt=1)
    posts_days: int = Field(ge=1, le=30)
    ask_again_days: float = Field(gt=0)
    discover_share: float = Field(ge=0, lt=1)
    min_age_hours: float = Field(ge=0)
    duty_from_days: float = Field(gt=0, lt=30)
    fast_changes_per_day: float = Field(gt=0)
    on_demand_days: float = Field(gt=0)
    max_rows_per_hour: int = Field(ge=1)
    tiers: tuple[Tier, ...] = Field(min_length=1)
    follower_weights: dict[int, float]
    impressions_weight: float = Field(ge=0)
    state_weights: dict[AccountState, float]
    nameless_weight: float = Field(ge=0)
    high_value: HighValue
    prior: Prior

    @model_validator(mode="after")
    def _is_whole(self) -> RefreshPolicy:
        if set(self.state_weights) != set(AccountState):
            raise ValueError("state_weights needs every state")
        if self.tiers[-1].followers_min != 0:
            raise ValueError("the last tier must take everything: followers_min 0")
        if 0 not in self.follower_weights or list(self.follower_weights) != sorted(self.follower_weights):
            raise ValueError("follower_weights starts at 0 and rises")
        if self.oldest_share + self.explore_share + self.posts_share + self.discover_share >= 1:
            raise ValueError("oldest_share, explore_share, posts_share and discover_share together leave nothing")
        return self

    def ceiling_hours(self) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """Ceilings by tier and platform."""
        days = [[tier.ceiling_days[platform] or self.on_demand_days for platform in PLATFORMS] for tier in self.tiers]
        return np.array(days) * HOURS_PER_DAY

    def may_expire(self) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        """By tier and platform, whether rows are left to expire rather than refreshed in time: those on demand."""
        return np.array([[tier.ceiling_days[platform] is None for platform in PLATFORMS] for tier in self.tiers])


def load_policy(path: Path | None = None) -> RefreshPolicy:
    """The shipped policy, or that of a file.

    Raises:
        SettingsError: the file is wrong; the sentence says where.
    """
    found = path if path is not None else resources.files(__package__) / SHIPPED
    try:
        return RefreshPolicy.model_validate(yaml.safe_load(found.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"The refresh policy {found} cannot be read: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise SettingsError(f"The refresh policy {found}: {problems}.") from error
