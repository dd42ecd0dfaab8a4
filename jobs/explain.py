"""The command that explains: why two accounts are one creator or two, or what holds a creator together."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations

from jobs.subjects import KEY, accounts_of, members_of
from lakehouse.contracts.evidence import PAIR, Account, Explanation, Link, Reason, bits, explain
from lakehouse.contracts.tables import CREATOR_IDS, EDGES
from lakehouse.errors import PermanentError
from lakehouse.identity.judgements import read, standing
from lakehouse.identity.model import default_model
from lakehouse.settings import load_settings
from lakehouse.storage.lake import Lake

ENDS = ("left_platform", "left_id", "right_platform", "right_id", "log_odds", "reasons")


def tell(subjects: Sequence[str], *, is_json: bool = False) -> int:
    """Print why the accounts that are named are one creator's or not, pair by pair.

    Args:
        subjects: two accounts, or one creator's id for all pairs that hold it together.
        is_json: one JSON object a pair instead of words.

    Raises:
        PermanentError: neither two accounts nor a creator with several are named.
        NotFoundError: the lake has no such account or creator.
    """
    lake = Lake(load_settings())
    named = [account for subject in subjects for account in accounts_of(lake, subject)]
    if len(named) < PAIR or len(set(named)) < len(named):
        raise PermanentError("Name two accounts, or one creator that has several.")
    creators = creators_of(lake, named)
    links, stands = list(links_among(lake, creators)), standing(read(lake.objects))
    merge = default_model().thresholds.merge
    for left, right in combinations(named, PAIR):
        found = explain(left, right, creators, links, stands, merge)
        if len(named) == PAIR or (found.scored is not None and found.scored.log_odds >= merge):
            sys.stdout.write(_as_json(left, right, found) if is_json else _as_words(left, right, found))
    return 0


def creators_of(lake: Lake, accounts: Collection[Account]) -> dict[Account, str]:
    """The creator of each of some accounts and of every other account of these creators."""
    own: dict[Account, str] = {}
    where = f"platform_account_id IN ({_quoted(account_id for _, account_id in accounts)})"
    for batch in lake.stream(CREATOR_IDS, (*KEY, "creator_id"), where=where):
        for platform, account_id, creator_id in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if (platform, account_id) in accounts:
                own[platform, account_id] = creator_id
    return {account: creator for creator in set(own.values()) for account in members_of(lake, creator)}


def links_among(lake: Lake, creators: Mapping[Account, str]) -> Iterator[Link]:
    """Scored pairs whose both ends are among some accounts."""
    quoted = _quoted(account_id for _, account_id in creators)
    for batch in lake.stream(EDGES, ENDS, where=f"left_id IN ({quoted}) AND right_id IN ({quoted})"):
        for row in batch.to_pylist():
            left, right = (row["left_platform"], row["left_id"]), (row["right_platform"], row["right_id"])
            if left in creators and right in creators:
                yield Link(left, right, row["log_odds"], tuple(Reason(**reason) for reason in row["reasons"]))


def _quoted(texts: Iterator[str]) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in sorted(set(texts)))


def _as_json(left: Account, right: Account, found: Explanation) -> str:
    body = {"left": ":".join(left), "right": ":".join(right)} | asdict(found)
    return json.dumps(body, ensure_ascii=False, default=str) + "\n"


def _as_words(left: Account, right: Account, found: Explanation) -> str:
    verdict = "one creator" if found.are_one else "two creators"
    lines = [f"{':'.join(left)} and {':'.join(right)}: {verdict}. {found.why}"]
    shown = [found.scored] if found.scored is not None else []
    for link in [*shown, *(step for step in found.path if step is not found.scored)]:
        lines.append(f"  {':'.join(link.left)} - {':'.join(link.right)}: {_worth(link)}")
        lines += [f"    {reason.log_odds:+6.1f}  {reason.words}{_compared(reason)}" for reason in link.reasons]
    lines += [
        f"  judgement {one.number}: {one.kind}, {one.by} {one.at} {one.note}".rstrip() for one in found.judgements
    ]
    return "\n".join(lines) + "\n"


def _worth(link: Link) -> str:
    return f"judgement {link.judgement}" if link.judgement else f"{bits(link.log_odds)} bits, {link.chance:.3f}"


def _compared(reason: Reason) -> str:
    values = [value for value in (reason.left_value, reason.right_value) if value]
    return f" ({' | '.join(dict.fromkeys(values))})" if values else ""
