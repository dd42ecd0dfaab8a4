"""What goes wrong on purpose: which fault a call gets, as a function of seed, platform and the call's number. No network."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

import numpy as np

from lakehouse.simulate.draws import Draws
from lakehouse.simulate.platforms.wire import http_date


class Fault(StrEnum):
    """Kinds of faults. The first four answer instead of the platform's own code, the others change what it does."""

    RATE_LIMITED = "rate_limited"
    QUOTA = "quota"
    SERVER_ERROR = "server_error"
    UNAVAILABLE = "unavailable"
    SLOW = "slow"
    RESET = "reset"
    TRUNCATED = "truncated"
    HTML = "html"
    ERROR_IN_200 = "error_in_200"
    LOST = "lost"
    STALE = "stale"
    DUPLICATED = "duplicated"


REFUSALS = frozenset({Fault.RATE_LIMITED, Fault.QUOTA, Fault.SERVER_ERROR, Fault.UNAVAILABLE})
LOSSES = frozenset({Fault.RESET, Fault.TRUNCATED, Fault.HTML, Fault.ERROR_IN_200, Fault.LOST})
"""Faults after which the client has no answer, though the platform has charged for one; `RESET` comes before any charge."""
ABSURD_SECONDS = 999_999_999
"""A Retry-After of thirty years."""
PAST_SECONDS = 86_400
"""How far a lying HTTP date lies in the past."""
HONEST_SECONDS = 30
"""Retry-After of an honest refusal that has no reset of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Rates of faults, each a share of calls; together at most 1. All are 0 by default.

    Attributes:
        rate_limited: 429 though there is room.
        quota: the platform's answer to an exhausted quota, though there is some left.
        server_error: 500; charged as a call.
        unavailable: 503; charged as a call.
        slow: the answer comes after `slow_seconds` of real time.
        slow_seconds: real seconds.
        reset: the connection is reset before anything is done.
        truncated: half of the body, then the end.
        html: an HTML page with status 200.
        error_in_200: an error body with status 200.
        lost: all is done and charged, then the connection ends.
        stale: the answer shows the world `stale_seconds` ago.
        stale_seconds: virtual seconds.
        duplicated: an item of a list stands in it twice.
        lying_retry_after: share of the refusals whose Retry-After lies: absurd, negative, zero, no number, a date that is
            past, or missing. Of the honest ones every second is an HTTP date.
        platforms: platforms that have the faults above; empty means all.
        dead_platforms: every connection is reset.
        poison_accounts: `platform:id` of accounts whose item is malformed in every answer.
        poison_ratio: share of all accounts that are so.
    """

    rate_limited: float = 0.0
    quota: float = 0.0
    server_error: float = 0.0
    unavailable: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 30.0
    reset: float = 0.0
    truncated: float = 0.0
    html: float = 0.0
    error_in_200: float = 0.0
    lost: float = 0.0
    stale: float = 0.0
    stale_seconds: float = 21_600.0
    duplicated: float = 0.0
    lying_retry_after: float = 0.0
    platforms: tuple[str, ...] = ()
    dead_platforms: tuple[str, ...] = ()
    poison_accounts: tuple[str, ...] = ()
    poison_ratio: float = 0.0

    @classmethod
    def storm(cls) -> Faults:
        """About a third of all calls go wrong, in every way."""
        return cls(
            rate_limited=0.06, quota=0.005, server_error=0.05, unavailable=0.05, reset=0.03, truncated=0.03, html=0.02,
            error_in_200=0.02, lost=0.03, stale=0.03, duplicated=0.03, lying_retry_after=0.5,
        )  # fmt: skip


class FaultDraws:
    """Draws faults for one set of rates. Equal seeds and call numbers give equal faults."""

    def __init__(self, faults: Faults, seed: int) -> None:
        """Draws of a seed."""
        self.faults = faults
        self._draws = Draws(seed)
        self._kinds = list(Fault)
        self._edges = list(accumulate(float(getattr(faults, kind.value)) for kind in self._kinds))

    def fault(self, platform: str, ordinal: int) -> Fault | None:
        """The fault of the platform's call of that number, if it has one."""
        faults = self.faults
        if not self._edges[-1] or (faults.platforms and platform not in faults.platforms):
            return None
        drawn = self._uniform(f"fault/{platform}", ordinal)
        return next((kind for kind, edge in zip(self._kinds, self._edges, strict=True) if drawn < edge), None)

    def is_dead(self, platform: str) -> bool:
        """Whether a platform answers nothing at all."""
        return platform in self.faults.dead_platforms

    def is_poison(self, platform: str, platform_id: str, account: int) -> bool:
        """Whether an account's item is malformed."""
        if not self.faults.poison_ratio and not self.faults.poison_accounts:
            return False
        if f"{platform}:{platform_id}" in self.faults.poison_accounts:
            return True
        return self._uniform("poison", account) < self.faults.poison_ratio

    def retry_after(self, platform: str, ordinal: int, now: float, seconds: int = HONEST_SECONDS) -> str | None:
        """The value of Retry-After of a refusal; None: no such header."""
        if self.faults.lying_retry_after and self._uniform(f"lie/{platform}", ordinal) < self.faults.lying_retry_after:
            past = http_date(int(now) - PAST_SECONDS)
            lies = (str(ABSURD_SECONDS), f"-{seconds}", "0", "soon", past, None)
            return lies[int(self._uniform(f"which lie/{platform}", ordinal) * len(lies))]
        return str(seconds) if ordinal % 2 else http_date(int(now) + seconds)

    def _uniform(self, name: str, number: int) -> float:
        return float(self._draws.uniform(name, np.array([number], np.uint64))[0])


def poisoned(fields: dict[str, str]) -> dict[str, str]:
    """An item that no reader can take: identifiers stay, all other values have types that make no sense."""
    return {name: value if name in POISON_SPARED else '{"unexpected":[null]}' for name, value in fields.items()}


POISON_SPARED = frozenset({"kind", "etag", "id", "username", "open_id", "union_id"})
"""What stays readable of a poisoned item, so that the account can be told."""
