"""What a refresh of each account is worth, and which rules want it: tier, weight, chance of a change, time won. One chunk at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from lakehouse.fetch.asked import Known
from lakehouse.fetch.change_rate import FASTEST_PER_HOUR, Floats, Ints, Priors, estimate_rates, groups_of
from lakehouse.fetch.refresh_policy import HOURS_PER_DAY, RefreshPolicy
from lakehouse.fetch.refresh_state import STATES, Ids, Mask, RefreshState, mix
from lakehouse.fetch.source import Source
from lakehouse.fetch.task import AccountState

HORIZON_HOURS = 30 * HOURS_PER_DAY
"""What was fetched serves no longer than this: it expires, or the world moves on."""
SERIES_BELOW = 1e-4
"""Where `1 - exp(-x) * (1 + x)` loses its digits and `x^2 / 2 - x^3 / 3` is exact to 1e-8."""
DUTY_DAYS = 30.0
"""Retention for which `duty_from_days` is said."""
NOBODY = -np.inf


class Reason(IntEnum):
    """Why an account is planned; order of the tasks."""

    DUTY = 0
    """Its row expires soon."""
    REQUESTED = 1
    """A tenant waits for it."""
    HIGH_VALUE = 2
    """Hourly, since the hour can afford all of its kind."""
    OVERDUE = 3
    """Past its tier's ceiling, among the latest of all."""
    VALUE = 4
    """Most value for its cost."""
    EXPLORE = 5
    """Drawn at random."""
    POSTS = 6
    """Its posts: their number moved."""
    DISCOVER = 7
    """Never seen; others point at it."""
    FILL = 8
    """Free in a batch that is asked for anyway."""


@dataclass(frozen=True, slots=True)
class Valuation:
    """Columns of a chunk.

    `chance` is that of a change since the last look, `value` that times the weight, `gain` what is ranked: weighted hours
    for which the reader will see right what now may be wrong. `late` are hours past the ceiling, `age` hours since the last
    look, infinite without one. `is_new` accounts are no lake's yet: no rule but theirs wants
    them. `is_nameless`: nothing was ever seen of the account, so nothing is lost when its row expires.
    """

    tier: Ints
    weight: Floats
    age: Floats
    chance: Floats
    value: Floats
    gain: Floats
    late: Floats
    is_able: Mask
    is_due: Mask
    is_high: Mask
    is_new: Mask
    is_nameless: Mask
    has_news: Mask


def appraise(
    state: RefreshState,
    sources: Mapping[str, Source],
    policy: RefreshPolicy,
    priors: Priors,
    now: float,
    posts: Known | None = None,
    new: Known | None = None,
) -> Valuation:
    """The valuation of a chunk; `now` in hours since 1970. A source that is not configured keeps its rows for ever.

    `posts` and `new` are whose posts, and which accounts never seen, were asked for lately.
    """
    rate = rates_of(state, priors)
    tier = tiers_of(state, policy, rate)
    weight = weights_of(state, policy, tier)
    age = np.where(np.isnan(state.fetched_at), np.inf, now - state.fetched_at)
    days = [sources[name].retention_days if name in sources else 0 for name in state.sources]
    retention = (np.array(days, dtype=np.float64) * HOURS_PER_DAY)[state.source]
    is_gone = np.isinf(age) | ((retention > 0) & (age >= retention))
    chance = np.where(is_gone, 1.0, -np.expm1(-rate * np.where(is_gone, 0.0, age)))
    is_ending = is_gone | ((retention > 0) & (age >= policy.duty_from_days / DUTY_DAYS * retention))
    gain = freshness_gain(rate, age, is_ending) if policy.ranking == "freshness" else chance
    is_new = (state.referrers > 0) & (weight > 0)
    is_nameless = nameless(state)
    is_able = (weight > 0) & (age >= policy.min_age_hours) & ~is_new
    since = np.where(np.isnan(state.fetched_at), state.known_at, state.fetched_at)
    is_due = is_ending & ~is_gone & ~policy.may_expire()[tier, state.platform] & ~is_nameless
    late = now - since - policy.ceiling_hours()[tier, state.platform]
    return Valuation(
        tier=tier, weight=weight, age=age, chance=chance, value=weight * chance, gain=weight * gain,
        late=np.where(is_nameless, NOBODY, late),
        is_able=is_able, is_due=is_due, is_high=_high(state, policy) & (weight > 0),
        is_new=is_new if new is None else is_new & ~new.holds(state.keys), is_nameless=is_nameless,
        has_news=_has_news(state, weight, posts),
    )  # fmt: skip


def rates_of(state: RefreshState, priors: Priors) -> Floats:
    """Changes an hour: as they are kept, else estimated."""
    if not np.isnan(state.change_rate).any():
        return np.minimum(state.change_rate, FASTEST_PER_HOUR)
    estimated = estimate_rates(state.evidence, priors, groups_of(state.platform, state.followers))
    return np.where(np.isnan(state.change_rate), estimated, np.minimum(state.change_rate, FASTEST_PER_HOUR))


def freshness_gain(rate: Floats, age: Floats, is_ending: Mask) -> Floats:
    """Hours of freshness that one more refresh wins, at the margin.

    With looks every t hours the share of time that a Poisson process of that rate is shown right is (1 - exp(-x)) / x with
    x = rate * t. Its derivative by the number of looks is (1 - exp(-x) * (1 + x)) / rate; at the optimum it is equal for all
    (Cho, Garcia-Molina 2003, "Effective page refresh policies", ACM TODS 28(4); Azar et al. 2018, PNAS 115(32)). So who
    changes all the time is worth little: what is fetched is wrong again at once. A row that is gone, or will be within days,
    wins all that follows.
    """
    x = rate * np.where(is_ending, 0.0, age)
    won = np.where(x < SERIES_BELOW, x * x / 2 - x * x * x / 3, 1 - np.exp(-x) * (1 + x)) / rate
    return np.where(is_ending, 1 / (rate + 1 / HORIZON_HOURS), won)


def tiers_of(state: RefreshState, policy: RefreshPolicy, rate: Floats) -> Ints:
    """The first tier of which an account meets a condition."""
    tiers = np.full(len(state), len(policy.tiers) - 1, dtype=np.int64)
    for position in reversed(range(len(policy.tiers))):
        tier = policy.tiers[position]
        least = np.inf if tier.followers_min is None else tier.followers_min
        is_in = state.followers >= least
        if tier.has_tenants:
            is_in = is_in | (state.tenants > 0) | state.is_requested
        if tier.is_fast:
            is_in = is_in | (rate * HOURS_PER_DAY >= policy.fast_changes_per_day)
        tiers[is_in] = position
    return tiers


def weights_of(state: RefreshState, policy: RefreshPolicy, tier: Ints) -> Floats:
    """Followers' weight, times tier's, times state's, times that of demand; 0 is never refreshed."""
    by_size = np.array(list(policy.follower_weights.values()))
    size = np.zeros(len(state), dtype=np.int64)
    for edge in list(policy.follower_weights)[1:]:
        size += state.followers >= edge
    by_tier = np.array([one.weight for one in policy.tiers])
    by_state = np.array([policy.state_weights[AccountState(name)] for name in STATES])
    demand = 1 + policy.impressions_weight * np.log1p(np.nan_to_num(state.impressions))
    known = np.where(nameless(state), policy.nameless_weight, 1.0)
    return np.asarray(by_size[size] * by_tier[tier] * by_state[state.state] * demand * known, dtype=np.float64)


def nameless(state: RefreshState) -> Mask:
    """Accounts of which nothing was ever seen: handles that answered to nobody."""
    return np.asarray((state.state == STATES.index(AccountState.UNKNOWN)) & np.isnan(state.followers), dtype=np.bool_)


def _has_news(state: RefreshState, weight: Floats, posts: Known | None) -> Mask:
    """Accounts that can be read and have another number of posts than when these were asked for."""
    is_open = (state.state == STATES.index(AccountState.ACTIVE)) & (weight > 0) & (state.posts > 0)
    if posts is None or not is_open.any():
        return np.asarray(is_open, dtype=np.bool_)
    return np.asarray(is_open & (posts.numbers_of(state.keys) != state.posts), dtype=np.bool_)


def scores_of(reason: Reason, state: RefreshState, values: Valuation, costs: Floats, salt: np.uint64) -> Floats:
    """How much a rule wants each account; minus infinity where it does not. `costs` are shares of the hour."""
    able = values.is_able
    match reason:
        case Reason.DUTY:
            wanted, scores = able & values.is_due, values.weight / costs
        case Reason.REQUESTED:
            wanted, scores = able & state.is_requested, values.weight / costs
        case Reason.HIGH_VALUE:
            wanted, scores = able & values.is_high, values.gain / costs
        case Reason.OVERDUE:
            wanted, scores = able & (values.late > 0), values.late
        case Reason.EXPLORE:
            wanted, scores = able, -chances(state.keys, salt)
        case Reason.POSTS:
            wanted, scores = values.has_news, values.weight / costs
        case Reason.DISCOVER:
            wanted, scores = values.is_new, state.referrers / costs
        case _:
            wanted, scores = able, values.gain / costs
    return np.where(wanted, scores, NOBODY)


def chances(keys: Ids, salt: np.uint64) -> Floats:
    """A uniform draw in [0, 1) for each key, another for each salt."""
    return np.asarray((mix(keys ^ salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53, dtype=np.float64)


def _high(state: RefreshState, policy: RefreshPolicy) -> Mask:
    is_large = state.followers >= policy.high_value.followers_min
    return is_large | ((state.tenants > 0) if policy.high_value.has_tenants else np.zeros(len(state), dtype=np.bool_))
