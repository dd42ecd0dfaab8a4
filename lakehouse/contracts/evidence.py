"""What holds accounts together and keeps them apart: judgements, scored links, and how both are told in a sentence.

Pure, and known to those who decide, to the command line and to the service, so that all of them give the same reason. How a
pair is scored is in `lakehouse/identity/signals.py`; how judgements are kept in `lakehouse/identity/judgements.py`.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

Account = tuple[str, str]
"""(platform, platform_account_id)"""
PAIR = 2
INSIDE_MAX = 200
"""Pairs among a creator's own accounts that are shown, strongest first: all of those of twenty accounts."""
NEAR_MAX = 12
"""Pairs with accounts of other creators that are shown, what people decided first, then the strongest."""

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
    "calibration:strangers": "what such likeness is worth here",
}
"""What the reasons of a link say."""
FIELDS: Mapping[str, str] = {
    "email": "bio",
    "domain": "website_url",
    "handle": "handle",
    "name": "display_name",
    "name_as_handle": "display_name",
    "same_handle_same_platform": "handle",
    "same_name_same_platform": "display_name",
    "same_platform": "platform",
    "fan_page": "display_name",
    "country": "country_code",
    "language": "language_code",
    "followers": "followers_count",
}
"""By the first part of a reason: the column of an account that was compared. What links say names its own place."""


class Kind(StrEnum):
    """What a judgement says of its accounts."""

    LINK = "link"
    """They are one creator's."""
    UNLINK = "unlink"
    """The two are not, nor is anything that belongs to them for certain."""
    FREEZE = "freeze"
    """They are one creator's, and no other account is, whatever the scores say."""
    UNDO = "undo"
    """An earlier judgement does not stand any more."""
    GONE = "gone"
    """Said of accounts that were erased; nothing is left of it."""


TOGETHER = (Kind.LINK, Kind.FREEZE)
"""Kinds that make all their accounts one creator's."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One entry of the log. `of` is the number that an undo takes back; `by`, `note` and `at` say who, why and when."""

    number: int
    kind: Kind
    accounts: tuple[Account, ...] = ()
    of: int = 0
    by: str = ""
    note: str = ""
    at: str = ""

    def to_json(self) -> bytes:
        """The entry's object."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    def pairs(self) -> list[tuple[Account, Account]]:
        """Pairs that say the same: the smallest account with each other one."""
        first, *others = sorted(self.accounts) or [("", "")]
        return [(first, other) for other in others]


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
    """A scored pair, whose reasons add up to its log-odds, or one that a judgement joins; `judgement` is then its number."""

    left: Account
    right: Account
    log_odds: float
    reasons: tuple[Reason, ...] = ()
    judgement: int = 0

    @property
    def chance(self) -> float:
        """Probability that the two are one creator's, by their score."""
        return 1.0 / (1.0 + math.exp2(-self.log_odds))

    @property
    def strength(self) -> float:
        """Log-odds; what people decided is beyond any."""
        return math.inf if self.judgement else self.log_odds


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
    merge: float,
) -> Explanation:
    """Explain two accounts.

    Args:
        left: an account of the lake.
        right: another.
        creators: the creator of both and of every other member of those creators.
        links: scored pairs among these accounts.
        stands: judgements that stand.
        merge: log-odds from which a pair is joined.
    """
    scored = next((link for link in links if {link.left, link.right} == {left, right}), None)
    are_one = creators[left] == creators[right]
    own = [one for one in stands if {left, right} & set(one.accounts)]
    members = {account for account, creator in creators.items() if creator == creators[left]}
    path = strongest_path(left, right, _joining(links, stands, members, merge)) if are_one else ()
    decided = _decided(left, right, stands)
    if decided is not None:
        why = decided
    elif are_one:
        why = _why_one(scored, path, merge)
    else:
        why = _why_two(scored, merge)
    return Explanation(are_one, why, scored, path, tuple(own))


def bits(log_odds: float) -> str:
    """Log-odds with one decimal, ties away from zero as browsers round them: a page and a sentence then say the same."""
    return f"{math.copysign(math.floor(abs(log_odds) * 10 + 0.5) / 10, log_odds):.1f}"


def groups(stands: Iterable[Judgement]) -> dict[Account, Account]:
    """Every judged account to the smallest account that is the same creator's by judgement."""
    root: dict[Account, Account] = {}

    def find(account: Account) -> Account:
        while root.setdefault(account, account) != account:
            root[account] = account = root[root[account]]
        return account

    for one in stands:
        first = [find(account) for account in one.accounts]
        if one.kind in TOGETHER:
            for other in first[1:]:
                left, right = sorted((find(first[0]), find(other)))
                root[right] = left
    return {account: find(account) for account in root}


def strongest_path(start: Account, end: Account, links: Iterable[Link]) -> tuple[Link, ...]:
    """The way from one account to another whose weakest link is strongest; empty where there is none."""
    around: dict[Account, list[Link]] = {}
    for one in links:
        around.setdefault(one.left, []).append(one)
        around.setdefault(one.right, []).append(one)
    came: dict[Account, Link | None] = {}
    waiting: list[tuple[float, int, Account, Account, Link | None]] = [(-math.inf, 0, start, start, None)]
    while waiting:
        weakest, steps, account, _, link = heapq.heappop(waiting)
        if account in came:
            continue
        came[account] = link
        for further in around.get(account, ()):
            other = further.right if further.left == account else further.left
            if other not in came:
                heapq.heappush(waiting, (max(weakest, -further.strength), steps + 1, other, account, further))
    return tuple(reversed(list(_way_back(came, start, end)))) if end in came else ()


def _way_back(came: Mapping[Account, Link | None], start: Account, end: Account) -> Iterator[Link]:
    at = end
    while at != start and (link := came[at]) is not None:
        yield link
        at = link.left if link.right == at else link.right


def _joining(links: Iterable[Link], stands: Iterable[Judgement], members: set[Account], merge: float) -> list[Link]:
    """Links among a creator's accounts that join: strong enough, or decided by people."""
    inside = {(link.left, link.right): link for link in links if {link.left, link.right} <= members}
    judged = {
        pair: Link(*pair, inside[pair].log_odds if pair in inside else 0.0, judgement=one.number)
        for one in stands
        if one.kind in TOGETHER
        for pair in one.pairs()
        if set(pair) <= members
    }
    strong = [link for pair, link in inside.items() if link.log_odds >= merge and pair not in judged]
    return [*strong, *judged.values()]


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


def _why_one(scored: Link | None, path: Sequence[Link], merge: float) -> str:
    if scored is not None and scored.log_odds >= merge:
        return f"Their score of {bits(scored.log_odds)} bits reaches the {merge:g} that join."
    if not path:
        return "They are one creator's by their history, or through accounts of which nothing is shown."
    way = f"They are joined through {len(path) - 1} other account(s)"
    weakest = min(link.strength for link in path)
    if math.isinf(weakest):
        return f"{way}, each step by what people decided."
    return f"{way}; the weakest step scores {bits(weakest)} bits."


def _why_two(scored: Link | None, merge: float) -> str:
    if scored is None:
        return (
            "They were not compared, or score next to nothing: they share no handle, name, link, site or address that is "
            "rare enough."
        )
    if scored.log_odds < merge:
        return f"Their score of {bits(scored.log_odds)} bits is below the {merge:g} that join."
    return (
        f"Their score of {bits(scored.log_odds)} bits would join them, but what speaks against it between their groups, or "
        "several accounts of one platform, outweighs it."
    )


def _numbered(numbers: Sequence[int]) -> str:
    return f"judgement{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
