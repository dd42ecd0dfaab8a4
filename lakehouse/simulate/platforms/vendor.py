"""A licensed vendor's API for Instagram at scale: many profiles a request, paid for each, and a feed of what changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np

from lakehouse.simulate.platforms.emulator import Emulator
from lakehouse.simulate.platforms.faults import Fault, poisoned
from lakehouse.simulate.platforms.paging import BadTokenError
from lakehouse.simulate.platforms.quotas import PeriodMeter, SlidingWindows, cycle_of
from lakehouse.simulate.platforms.registry import State, Status
from lakehouse.simulate.platforms.wire import (
    Answer,
    Call,
    Fields,
    RefusedError,
    arr,
    flag,
    iso,
    obj,
    text,
    texts,
    whole,
)

BASE = "/vendor/v1/"
KEY_PREFIX = "v-"
MOST_NAMES = 100
DEFAULT_LIMIT, MOST_LIMIT = 100, 100
PROFILE_MICRO_USD = 2_000
"""$0.002 a returned profile."""
CHANGE_RATIO = 0.01
"""Followers that moved by so much make a profile a changed one; so does any event of its life."""
Handler = Callable[[Call], Answer]


class Vendor:
    """Emulates the vendor. It knows all of Instagram, personal and private accounts too."""

    name = "vendor"

    def __init__(self, emulator: Emulator) -> None:
        """Fresh meters over the emulator's world."""
        self._emulator = emulator
        self._book = emulator.registry.book("instagram")
        self._second = SlidingWindows(1)
        self._credits = PeriodMeter()

    def answer(self, call: Call) -> Answer:
        """Answer a call; each returned profile costs a credit."""
        return self._enter(call)(call)

    def refusal(self, call: Call, fault: str) -> Answer:
        """What the API says to each kind of fault."""
        if fault == Fault.RATE_LIMITED:
            self._identify(call)
            return _problem(429, "rate_limited", "Too many requests.")._replace(is_refused=True)
        if fault == Fault.QUOTA:
            self._identify(call)
            return _problem(402, "credits_exhausted", "No credits left in this billing cycle.")._replace(
                is_refused=True
            )
        self._enter(call)
        code = 500 if fault == Fault.SERVER_ERROR else 503
        return _problem(code, "internal_error", "Something went wrong.")

    def _identify(self, call: Call) -> Handler:
        routes = {"profiles": self._profiles, "profiles/changed": self._changed}
        name = call.path.removeprefix(BASE).strip("/")
        if name not in routes or call.method != "GET":
            raise RefusedError(_problem(404, "not_found", "No such endpoint."))
        call.endpoint, call.credential = name, call.headers.get("X-Api-Key", "")
        if not call.credential.startswith(KEY_PREFIX):
            raise RefusedError(_problem(401, "invalid_api_key", "The API key is invalid.")._replace(is_refused=True))
        return routes[name]

    def _enter(self, call: Call) -> Handler:
        handler, quotas = self._identify(call), self._emulator.quotas
        limit = quotas.vendor_requests_per_second
        if self._second.count(call.credential, call.now) >= limit:
            answer = _problem(429, "rate_limited", "Too many requests.")
            raise RefusedError(answer._replace(is_refused=True, headers=(("Retry-After", "1"),)))
        if self._credits.used(call.credential, cycle_of(call.now)) >= quotas.vendor_credits_per_cycle:
            answer = _problem(402, "credits_exhausted", "No credits left in this billing cycle.")
            raise RefusedError(answer._replace(is_refused=True))
        self._second.add(call.credential, call.now, most=limit)
        return handler

    def _profiles(self, call: Call) -> Answer:
        """Profiles by username; who does not exist is not in the answer."""
        _check(call, {"usernames"})
        names = [name for name in call.params.get("usernames", "").split(",") if name]
        if not 1 <= len(names) <= MOST_NAMES:
            raise RefusedError(_problem(400, "invalid_parameter", f"usernames: 1 to {MOST_NAMES} names."))
        rows = (self._book.row_of_handle(name, call.seen_at) for name in dict.fromkeys(names))
        states = [self._book.state(row, call.seen_at) for row in rows if row is not None]
        return self._paid(call, [state for state in states if not state.is_gone], "null")

    def _changed(self, call: Call) -> Answer:
        """Profiles that changed since a time, up to the time of the first page."""
        _check(call, {"since", "cursor", "limit"})
        since, limit = _since(call), whole(call.params.get("limit", str(DEFAULT_LIMIT)), 1, MOST_LIMIT)
        if limit is None:
            raise RefusedError(_problem(400, "invalid_parameter", f"limit: 1 to {MOST_LIMIT}."))
        start, until = self._place(call, since)
        rows = self._changed_rows(since, until)
        page = [self._book.state(row, until) for row in rows[start : start + limit]]
        after = start + limit
        following = text(f"{int(until)}.{self._token(call, since, until, after)}") if after < len(rows) else "null"
        return self._paid(call, [state for state in page if not state.is_gone], following)

    def _place(self, call: Call, since: float) -> tuple[int, float]:
        cursor = call.params.get("cursor", "")
        if not cursor:
            return 0, float(int(call.seen_at))
        until, _, token = cursor.partition(".")
        try:
            return self._emulator.pager.offset(f"changed/{since}/{until}", token, call.now), float(until)
        except (BadTokenError, ValueError):
            raise RefusedError(_problem(400, "invalid_cursor", "The cursor is invalid or too old.")) from None

    def _token(self, call: Call, since: float, until: float, place: int) -> str:
        return self._emulator.pager.token(f"changed/{since}/{int(until)}", place, call.now)

    def _changed_rows(self, since: float, until: float) -> list[int]:
        fates, curve = self._book.fates, self._book.curve
        before, after = curve.all(since), curve.all(until)
        is_changed = np.abs(after - before) >= np.maximum(before * CHANGE_RATIO, 1)
        for times in (fates.bio_at, fates.private_at, fates.hidden_at, fates.typed_at, fates.restored_at):
            is_changed |= (times > since) & (times <= until)
        renamed = [row for row, at in self._book.handles.renamed_at.items() if since < at <= until]
        is_changed[renamed] = True
        return [int(row) for row in np.flatnonzero(is_changed)]

    def _paid(self, call: Call, states: list[State], following: str) -> Answer:
        cycle, quotas = cycle_of(call.now), self._emulator.quotas
        items = [self._item(state, call) for state in states]
        self._credits.add(call.credential, cycle, len(items))
        used = self._credits.used(call.credential, cycle)
        remaining = max(quotas.vendor_credits_per_cycle - used, 0)
        body = {
            "data": arr(call.listed(items)),
            "paging": obj({"next": following}),
            "credits": f'{{"used":{used},"remaining":{remaining}}}',
        }
        return Answer(200, obj(body), units=len(items), micro_usd=len(items) * PROFILE_MICRO_USD, records=len(items))

    def _item(self, state: State, call: Call) -> str:
        fields = self._emulator.drift.changed(profile_fields(state, call.seen_at), "biography")
        if self._emulator.faults.is_poison("instagram", state.platform_id, state.profile.account):
            fields = poisoned(fields)
        return obj(fields)


def profile_fields(state: State, now: float) -> Fields:
    """A profile as the vendor writes it; null for what is not stated or hidden."""
    profile = state.profile
    return {
        "id": f'"{profile.platform_id}"',
        "username": f'"{state.handle}"',
        "full_name": text(profile.display_name),
        "biography": text(state.bio),
        "external_url": _nullable(profile.website),
        "bio_links": texts(profile.links),
        "category": _nullable(profile.category),
        "country": _nullable(profile.country),
        "language": _nullable(profile.language),
        "profile_url": f'"https://www.instagram.com/{state.handle}/"',
        "account_type": text(state.account_type),
        "is_verified": flag(profile.is_verified),
        "is_private": flag(state.status == Status.PRIVATE),
        "followers_count": "null" if state.is_hidden else str(state.followers),
        "following_count": str(profile.following),
        "posts_count": str(state.posts_count),
        "created_at": text(iso(profile.created_at)),
        "observed_at": text(iso(now)),
    }


def _nullable(value: str | None) -> str:
    return "null" if value is None else text(value)


def _check(call: Call, known: set[str]) -> None:
    unknown = sorted(set(call.params) - known)
    if unknown:
        raise RefusedError(_problem(400, "unknown_parameter", f"Unknown parameter {unknown[0]}."))


def _since(call: Call) -> float:
    try:
        since = dt.datetime.fromisoformat(call.params.get("since", ""))
    except ValueError:
        raise RefusedError(_problem(400, "invalid_parameter", "since: a time in ISO 8601.")) from None
    return (since if since.tzinfo else since.replace(tzinfo=dt.UTC)).timestamp()


def _problem(code: int, name: str, message: str) -> Answer:
    return Answer(code, obj({"error": obj({"code": text(name), "message": text(message)})}))
