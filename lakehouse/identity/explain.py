"""Why accounts are one creator, or two: the scored links between them, the strongest way through a cluster, what people decided.

Pure: who calls brings the creators of the accounts, the links among their members, and the judgements that stand.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lakehouse.identity.judgements import Account, Judgement, Kind, groups
from lakehouse.identity.model import Model, probability

WORDS: Mapping[str, str] = {
    "prior": "two accounts that were compared at all",
    "link:mutual": "they link each other",
    "link:one_way": "one links the other",
    "email:shared": "the same address",
    "domain:shared": "the same site",
    "link_target:shared": "both link the same account",
    "handle:exact": "the same handle",
    "handle:same_letters": "the same letters in the handle",
    "handle:stripped_exact": "the same handle without affixes",
    "handle:other_digits": "the same handle with other digits",
    "handle:similar_95": "nearly the same handle",
    "handle:similar_90": "a similar handle",
    "handle:similar_80": "a somewhat similar handle",
    "handle:different": "another handle",
    "name:exact": "the same name",
    "name:same_tokens": "the same words in the name",
    "name:similar": "a similar name",
    "name:contained": "one name within the other",
    "name:partial": "some words of the name in common",
    "name:different": "another name",
    "name_as_handle:exact": "one's name is the other's handle",
    "name_as_handle:stripped": "one's name is the other's handle without affixes",
    "name_as_handle:beside_name": "the name is also the other's handle",
    "same_handle_same_platform:one_without_id": "one account, known by its handle alone elsewhere",
    "same_name_same_platform:one_without_handle": "one account, known by its name alone elsewhere",
    "same_platform:two_accounts": "two accounts of one platform",
    "fan_page:one_side": "one says that it is about somebody else",
    "country:equal": "the same country",
    "country:different": "another country",
    "language:equal": "the same language",
    "language:different": "another language",
    "followers:near": "about as many followers",
    "followers:far": "far more followers",
    "calibration:strangers": "how often such a pair is two people here",
}
"""What the reasons of a link say."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason of a link: base-2 log-odds and what was compared."""

    signal: str
    log_odds: float
    left_value: str | None = None
    right_value: str | None = None

    @property
    def words(self) -> str:
        """The reason in words."""
        return WORDS.get(self.signal, self.signal)


@dataclass(frozen=True, slots=True)
class Link:
    """A scored pair; its reasons add up to its log-odds."""

    left: Account
    right: Account
    log_odds: float
    reasons: tuple[Reason, ...] = ()

    @property
    def chance(self) -> float:
        """Probability that the two are one creator's."""
        return float(probability(self.log_odds))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of two accounts: whether they are one creator's, and why.

    `scored` is the link between the two, if they were compared; `path` the links of the strongest way from one to the other
    through their creator's accounts; `judgements` those that stand and name either.
    """

    are_one: bool
    why: str
    scored: Link | None
    path: tuple[Link, ...]
    judgements: tuple[Judgement, ...]


def explain(
    left: Account,
    right: Account,
    creators: Mapping[Account, str],
    links: Sequence[Link],
    stands: Sequence[Judgement],
    model: Model,
) -> Explanation:
    """Explain two accounts.

    Args:
        left: an account of the lake.
        right: another.
        creators: the creator of both and of every other member of those creators.
        links: scored pairs among these accounts.
        stands: judgements that stand.
        model: whose thresholds count.
    """
    scored = next((link for link in links if {link.left, link.right} == {left, right}), None)
    are_one = creators[left] == creators[right]
    own = [one for one in stands if {left, right} & set(one.accounts)]
    path = strongest_path(left, right, _joining(links, creators, creators[left], model)) if are_one else ()
    decided = _decided(left, right, stands)
    if decided is not None:
        why = decided
    elif are_one:
        why = _why_one(scored, path, model)
    else:
        why = _why_two(scored, model)
    return Explanation(are_one, why, scored, path, tuple(own))


def strongest_path(start: Account, end: Account, links: Iterable[Link]) -> tuple[Link, ...]:
    """The way from one account to another whose weakest link is strongest; empty where there is none."""
    around: dict[Account, list[Link]] = {}
    for one in links:
        around.setdefault(one.left, []).append(one)
        around.setdefault(one.right, []).append(one)
    came: dict[Account, Link | None] = {}
    waiting: list[tuple[float, Account, Account, Link | None]] = [(float("-inf"), start, start, None)]
    while waiting:
        weakest, account, _, link = heapq.heappop(waiting)
        if account in came:
            continue
        came[account] = link
        for further in around.get(account, ()):
            other = further.right if further.left == account else further.left
            if other not in came:
                heapq.heappush(waiting, (max(weakest, -further.log_odds), other, account, further))
    return tuple(reversed(list(_way_back(came, start, end)))) if end in came else ()


def _way_back(came: Mapping[Account, Link | None], start: Account, end: Account) -> Iterable[Link]:
    at = end
    while at != start and (link := came[at]) is not None:
        yield link
        at = link.left if link.right == at else link.right


def _joining(links: Iterable[Link], creators: Mapping[Account, str], creator: str, model: Model) -> list[Link]:
    """Links within a creator that are strong enough to join."""
    return [
        link
        for link in links
        if link.log_odds >= model.thresholds.merge and creators.get(link.left) == creators.get(link.right) == creator
    ]


def _decided(left: Account, right: Account, stands: Sequence[Judgement]) -> str | None:
    """What people decided of the two; None where they did not."""
    group = groups(stands)
    ends = group.get(left, left), group.get(right, right)
    if ends[0] == ends[1]:
        numbers = [one.number for one in stands if group[one.accounts[0]] == ends[0] and one.kind is not Kind.UNLINK]
        return f"People decided that they are one creator: {_numbered(numbers)}."
    apart = [
        one for one in stands if one.kind is Kind.UNLINK and {group[account] for account in one.accounts} == set(ends)
    ]
    if apart:
        return f"People decided that they are not one creator: {_numbered([one.number for one in apart])}."
    closed = [one for one in stands if one.kind is Kind.FREEZE and (left in one.accounts) != (right in one.accounts)]
    return f"One of them is closed to others: {_numbered([one.number for one in closed])}." if closed else None


def _why_one(scored: Link | None, path: Sequence[Link], model: Model) -> str:
    if scored is not None and scored.log_odds >= model.thresholds.merge:
        return f"Their score of {scored.log_odds:.1f} bits reaches the {model.thresholds.merge:g} that join."
    if not path:
        return "They are one creator's by their history."
    weakest = min(link.log_odds for link in path)
    return f"They are joined through {len(path) - 1} other account(s); the weakest step scores {weakest:.1f} bits."


def _why_two(scored: Link | None, model: Model) -> str:
    if scored is None:
        return (
            "They were not compared, or score next to nothing: they share no handle, name, link, site or address that is "
            "rare enough."
        )
    if scored.log_odds < model.thresholds.merge:
        return f"Their score of {scored.log_odds:.1f} bits is below the {model.thresholds.merge:g} that join."
    return (
        f"Their score of {scored.log_odds:.1f} bits would join them, but what speaks against it between their groups, or "
        "several accounts of one platform, outweighs it."
    )


def _numbered(numbers: Sequence[int]) -> str:
    return f"judgement{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
