"""What happens to accounts after the newest snapshot, and when: drawn once for all accounts, as pure functions of their ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lakehouse.simulate.accounts import PRIVATE_FOLLOWERS
from lakehouse.simulate.draws import Draws, Floats, Ids, Ints, Mask
from lakehouse.simulate.world import YOUTUBE, World

PERIOD_DAYS = 30
"""Days within which the ratios of `Life` hold."""
DAY_SECONDS = 86_400
HORIZON_DAYS = 1_000
"""Nothing more happens after so many days; keeps the number of handles that ever change small."""
NEVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How lively the world is. Ratios are the share of accounts to which something happens within `PERIOD_DAYS`.

    Attributes:
        bio_ratio: write another bio.
        rename_ratio: take another handle.
        retaken_ratio: share of the given-up handles that somebody else takes, `retaken_days` later.
        retaken_days: days.
        delete_ratio: are deleted.
        suspend_ratio: are suspended; `restored_ratio` of them come back after `suspended_days`.
        restored_ratio: share of the suspended.
        suspended_days: days.
        private_ratio: small accounts that turn private, or public again. Not on YouTube.
        hidden_ratio: hide their subscribers, or show them again.
        type_ratio: turn from a personal to a creator account, or back.
        revoke_ratio: take back the consent given to our TikTok application.
        jump_ratio: followers jump within a day, by `jump_low` to `jump_high` in logs.
        jump_low: smallest jump.
        jump_high: largest jump.
        purge_ratio: share of the jumps that go down instead, a fifth as far.
        daily_spread: median spread of log followers over a day, apart from growth.
        spread_spread: spread of the logarithm of that over accounts.
        age_gated_ratio: share of all accounts that Instagram shows to adults only.
        consent_ratio: share of all TikTok accounts that gave our application their consent.
    """

    bio_ratio: float = 0.03
    rename_ratio: float = 0.006
    retaken_ratio: float = 0.3
    retaken_days: float = 3.0
    delete_ratio: float = 0.004
    suspend_ratio: float = 0.003
    restored_ratio: float = 0.4
    suspended_days: float = 20.0
    private_ratio: float = 0.006
    hidden_ratio: float = 0.003
    type_ratio: float = 0.005
    revoke_ratio: float = 0.01
    jump_ratio: float = 0.04
    jump_low: float = 0.1
    jump_high: float = 0.9
    purge_ratio: float = 0.2
    daily_spread: float = 0.003
    spread_spread: float = 0.7
    age_gated_ratio: float = 0.01
    consent_ratio: float = 1.0

    @classmethod
    def none(cls) -> Life:
        """Followers grow smoothly and posts appear; nothing else happens."""
        return cls(
            bio_ratio=0, rename_ratio=0, delete_ratio=0, suspend_ratio=0, private_ratio=0, hidden_ratio=0, type_ratio=0,
            revoke_ratio=0, jump_ratio=0, daily_spread=0, age_gated_ratio=0,
        )  # fmt: skip


PURGE_SHARE = 0.2
"""How far a purge of followers goes, relative to a jump."""


@dataclass(frozen=True, slots=True)
class Fates:
    """What happens to each account: Unix seconds, infinity for never. Arrays of equal length.

    `jump` is in logs and has happened from `jump_day` on, counted from the newest snapshot; `spread` is that of a day.
    """

    bio_at: Floats
    renamed_at: Floats
    deleted_at: Floats
    suspended_at: Floats
    restored_at: Floats
    private_at: Floats
    hidden_at: Floats
    typed_at: Floats
    revoked_at: Floats
    jump_day: Floats
    jump: Floats
    spread: Floats
    is_retaken: Mask
    is_age_gated: Mask
    has_consent: Mask


def origin_of(world: World) -> int:
    """Unix seconds of the newest snapshot, noon UTC: the world moves from there on."""
    return int(np.datetime64(world.last_date, "s").astype(np.int64)) + DAY_SECONDS // 2


def fates_of(world: World, life: Life, ids: Ids, platform: int, followers: Floats) -> Fates:
    """Draw the fates of accounts of one platform."""
    draws, origin = Draws(world.seed), origin_of(world)

    def at(what: str, ratio: float) -> Floats:
        return _times(draws, what, ids, ratio, origin)

    suspended_at = at("suspended", life.suspend_ratio)
    is_restored = draws.is_hit("life/restored", ids, life.restored_ratio)
    can_hide = (followers < PRIVATE_FOLLOWERS) & (platform != YOUTUBE)
    return Fates(
        bio_at=at("bio", life.bio_ratio),
        renamed_at=at("renamed", life.rename_ratio),
        deleted_at=at("deleted", life.delete_ratio),
        suspended_at=suspended_at,
        restored_at=np.where(is_restored, suspended_at + life.suspended_days * DAY_SECONDS, NEVER),
        private_at=np.where(can_hide, at("private", life.private_ratio), NEVER),
        hidden_at=at("hidden", life.hidden_ratio),
        typed_at=at("typed", life.type_ratio),
        revoked_at=at("revoked", life.revoke_ratio),
        jump_day=np.floor((at("jump", life.jump_ratio) - origin) / DAY_SECONDS) + 1,
        jump=_jumps(draws, life, ids),
        spread=life.daily_spread * np.exp(life.spread_spread * draws.normal("life/spread", ids)),
        is_retaken=draws.is_hit("life/retaken", ids, life.retaken_ratio),
        is_age_gated=draws.is_hit("life/age gated", ids, life.age_gated_ratio),
        has_consent=draws.is_hit("life/consent", ids, life.consent_ratio),
    )


def _times(draws: Draws, what: str, ids: Ids, ratio: float, origin: int) -> Floats:
    """When it happens first, at a constant rate that reaches `ratio` of the accounts within `PERIOD_DAYS`."""
    if ratio <= 0:
        return np.full(len(ids), NEVER)
    days = np.log1p(-draws.uniform(f"life/{what}", ids)) / np.log1p(-min(ratio, 1 - 1e-12)) * PERIOD_DAYS
    return np.where(days < HORIZON_DAYS, np.floor(origin + days * DAY_SECONDS), NEVER)


def _jumps(draws: Draws, life: Life, ids: Ids) -> Floats:
    height = life.jump_low + (life.jump_high - life.jump_low) * draws.uniform("life/jump height", ids)
    is_purge = draws.is_hit("life/purge", ids, life.purge_ratio)
    return np.where(is_purge, -PURGE_SHARE * height, height)


def jumped(fates: Fates, day: int) -> Floats:
    """Log followers that jumps have brought up to a day."""
    return np.where(fates.jump_day <= day, fates.jump, 0.0)


def posting_keys(world: World, ids: Ids) -> Ints:
    """One random number an account, from which the moments of its later posts come."""
    return (Draws(world.seed).bits("life/post key", ids) >> np.uint64(1)).astype(np.int64)
