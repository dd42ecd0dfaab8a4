"""The refresh planner: which accounts to ask for in this hour, inside each source's budget, as fetch tasks. No queue, no network.

Accounts come as chunks of columns and are seen once; what stays in memory is a shortlist for each source and rule, as long
as the hour's budget. The rules, in order of precedence, are `Reason`; their shares are the policy's. docs/refresh.md has the
formulae, and why no account waits for ever.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.fetch.asked import Known
from lakehouse.fetch.change_rate import Floats, Ints, PriorFit, Priors, groups_of
from lakehouse.fetch.declared import PAGES
from lakehouse.fetch.refresh_budget import HourBudget, Purse
from lakehouse.fetch.refresh_policy import RefreshPolicy
from lakehouse.fetch.refresh_state import Mask, RefreshState, hours_of, string_hashes
from lakehouse.fetch.refresh_summary import Ages, RefreshSummary, Spending
from lakehouse.fetch.refresh_value import Reason, Valuation, appraise, chances, scores_of
from lakehouse.fetch.shortlist import Candidates, Pool
from lakehouse.fetch.source import Endpoint, Source
from lakehouse.fetch.task import FetchTask, Priority

ROUNDING = 1e-9
"""Sums of shares may miss their limit by this; whether an hour is kept to is decided in whole numbers."""
POOLED: tuple[Reason, ...] = tuple(reason for reason in Reason if reason is not Reason.FILL)
"""Rules with a ranking of their own; what fills batches comes from those of value and of the new."""
PRIORITIES = {Reason.DUTY: Priority.DUTY, Reason.POSTS: Priority.FOLLOW_UP, Reason.DISCOVER: Priority.FOLLOW_UP}
"""Of a batch by what its first account is planned for; else live."""
UNVALUED = (Reason.POSTS, Reason.DISCOVER)
"""Rules that win no freshness of a profile that is shown."""
DAY = dt.timedelta(days=1)
CLOCKS_APART = dt.timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan goes by: sources and this hour's budgets by source code, the policy, priors, the time (aware), a seed.

    `posts` and `new` are whose posts, and which accounts never seen, were asked for lately.
    """

    sources: Mapping[str, Source]
    budgets: Mapping[str, HourBudget]
    policy: RefreshPolicy
    priors: Priors
    now: dt.datetime
    seed: int = 0
    posts: Known = field(default_factory=Known.none)
    new: Known = field(default_factory=Known.none)

    @property
    def cycle(self) -> str:
        """The hour; one round of tasks."""
        return self.now.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0).isoformat()

    @property
    def posts_params(self) -> dict[str, str]:
        """The newest page of the last days' posts. No platform is asked for what lies ahead of its clock."""
        until = self.now.astimezone(dt.UTC) - CLOCKS_APART
        since = until.date() - self.policy.posts_days * DAY
        return {"since": since.isoformat(), "until": f"{until:%Y-%m-%dT%H:%M:%SZ}", PAGES: "1"}

    def salt(self, *words: str) -> np.uint64:
        """Seeds a draw of this hour."""
        text = "\0".join((str(self.seed), self.cycle, *words))
        return np.uint64(string_hashes(pa.array([text]))[0])


@dataclass(frozen=True, slots=True)
class Pick:
    """Accounts of one source, route and reason, best first."""

    source: str
    endpoint: str
    reason: Reason
    chosen: Candidates


@dataclass(frozen=True, slots=True)
class RefreshPlan:
    """An hour's plan: tasks in order of urgency, the accounts behind them, and what they come to."""

    tasks: tuple[FetchTask, ...]
    picks: tuple[Pick, ...]
    summary: RefreshSummary


def plan_refresh(chunks: Iterable[RefreshState], terms: Terms) -> RefreshPlan:
    """Plan one hour. Equal accounts in any order and any chunks, and equal terms, give equal plans."""
    desks = [
        _Desk.of(source, terms.budgets[name], terms)
        for name, source in sorted(terms.sources.items())
        if name in terms.budgets and source.is_enabled
    ]
    ages, unreachable, start, salt = Ages(tuple(tier.code for tier in terms.policy.tiers)), 0, 0, terms.salt("explore")
    for state in chunks:
        now = hours_of(terms.now)
        values = appraise(state, terms.sources, terms.policy, terms.priors, now, terms.posts, terms.new)
        ages.add(state, values)
        unreachable += _show(_Chunk(state, values, start, salt), desks)
        start += len(state)
    picks = tuple(chain.from_iterable(desk.choose() for desk in desks))
    return RefreshPlan(tuple(_tasks(picks, terms)), picks, _summary(picks, desks, ages, unreachable))


def fit_priors(chunks: Iterable[RefreshState], policy: RefreshPolicy) -> Priors:
    """What is believed of an account before it was seen, from what was seen of its peers. Once a day is enough."""
    fit = PriorFit()
    for state in chunks:
        fit.add(groups_of(state.platform, state.followers), state.evidence)
    return fit.priors(policy.prior)


def routes_of(source: Source) -> dict[str, str]:
    """The endpoint that looks profiles up, by kind of key (`id`, `handle`): the one with the largest batches."""
    found: dict[str, str] = {}
    for name, endpoint in source.endpoints.items():
        if _is_lookup(endpoint):
            known = found.get(endpoint.key_kind)
            if known is None or source.endpoints[known].batch < endpoint.batch:
                found[endpoint.key_kind] = name
    return found


def list_of(source: Source) -> tuple[str, str] | None:
    """The endpoint that lists an account's posts, and its kind of key; None without one."""
    lists = ((name, one.key_kind) for name, one in source.endpoints.items() if one.record == "post" and one.paging)
    return next(((name, kind) for name, kind in lists if kind != "none"), None)


def _is_lookup(endpoint: Endpoint) -> bool:
    return endpoint.record == "profile" and endpoint.key_kind != "none" and endpoint.paging is None


@dataclass(frozen=True, slots=True)
class _Route:
    """A way to ask for an account: an endpoint, its kind of key, and whether it lists posts."""

    endpoint: str
    kind: str
    is_list: bool = False

    def serves(self, reason: Reason) -> bool:
        """Whether a rule is served this way."""
        return self.is_list == (reason is Reason.POSTS)


def _routes(source: Source) -> tuple[_Route, ...]:
    found = [_Route(endpoint, kind) for kind, endpoint in routes_of(source).items()]
    posts = list_of(source)
    return (*found, *([_Route(*posts, is_list=True)] if posts else []))


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Accounts with their values, the number of the first among all, and the salt of the draws."""

    state: RefreshState
    values: Valuation
    start: int
    salt: np.uint64

    def candidates(self, scores: Floats, rows: Ints, kind: str) -> Candidates:
        """Rows of the chunk as candidates."""
        chosen = pa.array(rows)
        ids = self.state.ids.take(chosen)
        names = ids if kind == "id" else self.state.handles.take(chosen)
        ids = pa.repeat("", len(rows)) if kind == "id" else ids.fill_null("")
        return Candidates(
            scores,
            self.state.keys[rows],
            rows + self.start,
            self.values.tier[rows],
            self.values.value[rows],
            self.state.posts[rows],
            names.to_numpy(zero_copy_only=False).astype(object),
            ids.to_numpy(zero_copy_only=False).astype(object),
        )


def _show(chunk: _Chunk, desks: Sequence[_Desk]) -> int:
    """Let the rows of a chunk enter the pools; how many have no desk, or no key that it takes."""
    unreachable = 0
    for is_list in (False, True):
        routes = [(desk, at) for desk in desks for at, route in enumerate(desk.routes) if route.is_list == is_list]
        slots = _slots(chunk, routes)
        rows_of = [np.flatnonzero(slots == slot) for slot in range(len(routes))]
        if routes:
            costs = np.array([desk.purse.costs[route] for desk, route in routes])[slots]
            for reason in (reason for reason in POOLED if is_list == (reason is Reason.POSTS)):
                scores = scores_of(reason, chunk.state, chunk.values, costs, chunk.salt)
                for (desk, route), rows in zip(routes, rows_of, strict=True):
                    desk.enter(chunk, reason, route, rows, scores)
        if not is_list:
            for (desk, route), rows in zip(routes, rows_of, strict=True):
                desk.count(chunk.values, route, rows)
            unreachable = int(((slots < 0) & (chunk.values.weight > 0) & ~chunk.values.is_new).sum())
    return unreachable


def _slots(chunk: _Chunk, routes: Sequence[tuple[_Desk, int]]) -> Ints:
    """The one of some routes by which each account is asked for: by id where one is known and taken, else by handle; -1 is none."""
    state = chunk.state
    slots = np.full(len(state), -1, dtype=np.int64)
    for kind, keys, has_key in (("handle", state.handles, state.has_handle), ("id", state.ids, state.has_id)):
        for slot, (desk, route) in enumerate(routes):
            if desk.routes[route].kind == kind and desk.source.source in state.sources:
                rows = np.flatnonzero(has_key & (state.source == state.sources.index(desk.source.source)))
                slots[rows[desk.takes(route, keys.take(pa.array(rows)))]] = slot
    return slots


@dataclass(slots=True)
class _Desk:
    """One source's hour: its purse, a pool for each route and rule, and what was chosen so far."""

    source: Source
    purse: Purse
    routes: tuple[_Route, ...]
    terms: Terms
    pools: dict[tuple[int, Reason], Pool]
    counts: Ints
    spent: float = 0.0
    value_all: float = 0.0
    high_cost: float = 0.0
    discovered: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    picks: list[Pick] = field(default_factory=list)

    @classmethod
    def of(cls, source: Source, budget: HourBudget, terms: Terms) -> _Desk:
        """The desk of a source. A pool holds what the hour can pay were all of that route, and a batch to fill."""
        routes = _routes(source)
        purse = Purse.of(source, budget, [route.endpoint for route in routes], terms.policy.max_rows_per_hour)
        sizes = [int(size + batch) if size else 0 for size, batch in zip(purse.capacities, purse.batches, strict=True)]
        pools = {
            (at, reason): Pool(sizes[at] if route.serves(reason) else 0)
            for at, route in enumerate(routes)
            for reason in POOLED
        }
        nothing = np.zeros(len(routes), dtype=np.int64)
        return cls(source, purse, routes, terms, pools, nothing, discovered=nothing.copy())

    @property
    def is_high_affordable(self) -> bool:
        """Whether all of the top fit into their share of the hour."""
        return self.high_cost <= self.terms.policy.high_value_share

    def takes(self, route: int, keys: pa.Array) -> Mask:
        """Which of some keys the endpoint of a route takes: one malformed key fails a whole batch."""
        pattern = self.source.endpoints[self.routes[route].endpoint].key_pattern
        if not pattern:
            return np.ones(len(keys), dtype=np.bool_)
        return np.asarray(
            pc.match_substring_regex(keys, f"^(?:{pattern})$").to_numpy(zero_copy_only=False), dtype=np.bool_
        )

    def enter(self, chunk: _Chunk, reason: Reason, route: int, rows: Ints, scores: Floats) -> None:
        """Let the best of some rows into the pool of a rule."""
        pool = self.pools[route, reason]
        found = rows[pool.find(scores[rows], chunk.state.keys[rows])] if pool.size else rows[:0]
        if len(found):
            pool.add(chunk.candidates(scores[found], found, self.routes[route].kind))

    def count(self, values: Valuation, route: int, rows: Ints) -> None:
        """Add rows to the sums."""
        self.value_all += float(values.value[rows][values.is_able[rows]].sum())
        highs = int(values.is_high[rows].sum())
        self.high_cost += float(self.purse.costs[route]) * highs if highs else 0.0

    def choose(self) -> list[Pick]:
        """Choose by the rules in order; what one rule leaves of its share goes to the later ones."""
        policy = self.terms.policy
        reserve = self._reserved(Reason.OVERDUE, "oldest", policy.oldest_share)
        self._take(Reason.DUTY, min(self._rounded("duty", policy.duty_share), 1.0 - reserve))
        self._take(Reason.REQUESTED, 1.0 - self.spent - reserve)
        if self.is_high_affordable:
            self._take(Reason.HIGH_VALUE, 1.0 - self.spent - reserve)
        self._take(Reason.OVERDUE, reserve)
        explore = min(self._rounded("explore", policy.explore_share), 1.0 - self.spent)
        posts = self._reserved(Reason.POSTS, "posts", policy.posts_share)
        discover = self._reserved(Reason.DISCOVER, "discover", policy.discover_share)
        self._take(Reason.POSTS, min(posts, 1.0 - self.spent - explore))
        self._take(Reason.DISCOVER, min(discover, 1.0 - self.spent - explore))
        self._take(Reason.VALUE, 1.0 - self.spent - explore)
        self._take(Reason.EXPLORE, 1.0 - self.spent)
        if self.source.spend is None:
            self._take(Reason.DISCOVER, 1.0 - self.spent)
        self._fill(Reason.VALUE)
        self._fill(Reason.DISCOVER)
        return self.picks

    def _reserved(self, reason: Reason, what: str, share: float) -> float:
        """A rule's share as an allowance, no more than all who wait by it cost."""
        _, routes = self._waiting(reason)
        wanted = float(self.purse.costs[routes].sum())
        return min(self._rounded(what, share, is_list=reason is Reason.POSTS), wanted) if wanted else 0.0

    def _rounded(self, what: str, share: float, *, is_list: bool = False) -> float:
        """A share as an allowance. Where it is less than one account, that account is drawn for: right on average."""
        costs = self.purse.costs[[route.is_list == is_list for route in self.routes]]
        cost = float(costs[np.isfinite(costs)].max(initial=0.0))
        if not cost or share >= cost:
            return share
        draw = chances(np.array([self.terms.salt(what, self.source.source)]), np.uint64(0))[0]
        return float(np.floor(share / cost + draw) * cost)

    def _waiting(self, reason: Reason) -> tuple[Candidates, Ints]:
        """Who is in the pools of a rule and was not chosen yet, best first, with their routes."""
        pools = [self.pools[route, reason].held for route in range(len(self.routes))]
        routes = np.repeat(np.arange(len(pools)), [len(pool) for pool in pools])
        joined = Candidates.joined(pools)
        taken = [pick.chosen.keys for pick in self.picks if (pick.reason is Reason.POSTS) == (reason is Reason.POSTS)]
        if taken:
            is_left = ~np.isin(joined.keys, np.concatenate(taken))
            joined, routes = joined.at(is_left), routes[is_left]
        if len(pools) == 1:  # sorted already
            return joined, routes
        order = np.lexsort((joined.keys, -joined.scores))
        return joined.at(order), routes[order]

    def _prefix(self, reason: Reason, allowance: float) -> tuple[Ints, Candidates]:
        """The best that an allowance and the hour can pay, with their routes.

        One too dear is passed over, with all of its route; never among the overdue, whose order is their guarantee.
        """
        waiting, routes = self._waiting(reason)
        for _ in self.routes:
            steps = np.eye(len(self.routes), dtype=np.int64)[routes]
            is_paid = np.cumsum(self.purse.costs[routes]) <= allowance + ROUNDING
            is_paid &= self.purse.fits(self.counts + np.cumsum(steps, axis=0))
            size = len(routes) if is_paid.all() else int(np.argmin(is_paid))
            if size == len(routes) or reason is Reason.OVERDUE:
                break
            is_left = (np.arange(len(routes)) < size) | (routes != routes[size])
            waiting, routes = waiting.at(is_left), routes[is_left]
        return routes[:size] if len(routes) else routes, waiting.at(slice(size)) if len(routes) else waiting

    def _take(self, reason: Reason, allowance: float) -> None:
        routes, chosen = self._prefix(reason, allowance)
        self.spent += float(self.purse.costs[routes].sum())
        for route in range(len(self.routes)):
            self._add(reason, route, chosen.at(routes == route))

    def _fill(self, reason: Reason) -> None:
        """Fill the last batch of each route with the next best of a rule, where a further key costs nothing."""
        waiting, routes = self._waiting(reason)
        for route in range(len(self.routes)):
            if not self.purse.per_row[route].any():
                room = int(-self.counts[route] % self.purse.batches[route])
                self._add(
                    Reason.FILL if reason is Reason.VALUE else reason,
                    route,
                    waiting.at(routes == route).at(slice(room)),
                )

    def _add(self, reason: Reason, route: int, chosen: Candidates) -> None:
        if len(chosen):
            self.counts[route] += len(chosen)
            self.discovered[route] += len(chosen) * (reason is Reason.DISCOVER)
            self.picks.append(Pick(self.source.source, self.purse.routes[route], reason, chosen))


def _tasks(picks: Sequence[Pick], terms: Terms) -> Iterator[FetchTask]:
    """Batches of each endpoint in order of precedence; a batch that holds a duty is one. Duties of all sources come first."""
    batches: list[tuple[Reason, FetchTask]] = []
    for source, endpoint in sorted({(pick.source, pick.endpoint) for pick in picks}):
        own = [pick for pick in picks if (pick.source, pick.endpoint) == (source, endpoint)]
        names = [name for pick in own for name in pick.chosen.names]
        ids = [known for pick in own for known in pick.chosen.ids]
        reasons = [pick.reason for pick in own for _ in range(len(pick.chosen))]
        size = terms.sources[source].endpoints[endpoint].batch
        for start in range(0, len(names), size):
            reason = reasons[start]
            keys, known = tuple(names[start : start + size]), tuple(ids[start : start + size])
            task = FetchTask(
                source,
                endpoint,
                keys,
                priority=PRIORITIES.get(reason, Priority.LIVE),
                cycle=terms.cycle,
                params=terms.posts_params if reason is Reason.POSTS else {},
                ids=known if any(known) else (),
            )
            batches.append((reason, task))
    return (task for _, task in sorted(batches, key=lambda batch: batch[0]))


def _summary(picks: Sequence[Pick], desks: Sequence[_Desk], ages: Ages, unreachable: int) -> RefreshSummary:
    counts: Counter[tuple[str, str]] = Counter()
    for pick in picks:
        for tier, number in zip(*np.unique(pick.chosen.tiers, return_counts=True), strict=True):
            counts[pick.reason.name.lower(), ages.tiers[tier]] += int(number)
    return RefreshSummary(
        counts=dict(counts),
        spending={desk.source.source: _spending(desk) for desk in desks},
        freshness=ages.freshness(),
        unreachable=unreachable,
        high_value={desk.source.source: desk.is_high_affordable for desk in desks},
    )


def _spending(desk: _Desk) -> Spending:
    units, usd = desk.purse.price(desk.counts)
    live_units, _ = desk.purse.price(desk.counts - desk.discovered)
    kept = sum(float(pick.chosen.values.sum()) for pick in desk.picks if pick.reason not in UNVALUED)
    is_lookup = [not route.is_list for route in desk.routes]
    return Spending(
        accounts=int(desk.counts[is_lookup].sum()),
        requests=int(desk.purse.requests(desk.counts).sum()),
        units=units,
        live_units=live_units,
        usd=usd,
        value_kept=round(kept, 6),
        value_left=round(max(0.0, desk.value_all - kept), 6),
    )
