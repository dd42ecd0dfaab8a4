"""What people decided about accounts: these are one creator's, these are not, this creator stays as it is. It outranks every score.

The log is append-only: one numbered object a judgement, which nobody changes; an `undo` names the one that it takes back.
Clusters are derived from scores and from what stands, at every run, under every model. A judgement that contradicts a
standing one is refused, so that what stands can always be met.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lakehouse.contracts.evidence import PAIR, Account, Judgement, Kind, groups
from lakehouse.contracts.layout import JUDGEMENTS, judgement_key
from lakehouse.errors import IntegrityError, PermanentError, TransientError
from lakehouse.storage.objects import ObjectStore

TRIES = 20
"""Numbers that are tried where others judge at the same moment."""


@dataclass(frozen=True, slots=True)
class Said:
    """A judgement as somebody states it."""

    kind: Kind
    accounts: tuple[Account, ...] = ()
    of: int = 0
    by: str = ""
    note: str = ""


def read(objects: ObjectStore) -> list[Judgement]:
    """The whole log, in order."""
    return [_parsed(objects.get(key)) for key in sorted(info.key for info in objects.list(JUDGEMENTS))]


def digest_of(objects: ObjectStore) -> str:
    """Changes with the log: keys, sizes and times of its objects; empty without any."""
    found = [f"{info.key} {info.size} {info.modified_at.isoformat()}" for info in objects.list(JUDGEMENTS)]
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()[:16] if found else ""


def record(objects: ObjectStore, said: Said, *, now: datetime | None = None) -> Judgement:
    """Append a judgement.

    Raises:
        PermanentError: it contradicts one that stands, takes back none that does, or names too few accounts.
        TransientError: others take every number.
    """
    at = (now or datetime.now(tz=UTC)).isoformat(timespec="seconds")
    for _ in range(TRIES):
        log = read(objects)
        check(standing(log), said)
        number = max((one.number for one in log), default=0) + 1
        made = Judgement(number, said.kind, said.accounts, said.of, said.by, said.note, at)
        try:
            objects.put_once(judgement_key(number), made.to_json())
        except IntegrityError:
            continue
        return made
    raise TransientError("Others judge at the same moment; say it again.")


def standing(log: Iterable[Judgement]) -> list[Judgement]:
    """Judgements that count: neither taken back nor an undo."""
    entries = list(log)
    undone = {one.of for one in entries if one.kind is Kind.UNDO}
    return [one for one in entries if one.kind not in (Kind.UNDO, Kind.GONE) and one.number not in undone]


def check(stands: Sequence[Judgement], said: Said) -> None:
    """Refuse what cannot be met together with what stands.

    Raises:
        PermanentError: the sentence names the judgement that is in the way.
    """
    if said.kind is Kind.UNDO:
        if said.of not in {one.number for one in stands}:
            raise PermanentError(f"There is no standing judgement {said.of} to take back.")
        return
    distinct = set(said.accounts)
    if len(distinct) != len(said.accounts) or len(distinct) < (1 if said.kind is Kind.FREEZE else PAIR):
        raise PermanentError(f"A judgement needs different accounts, and {said.kind} at least two of them.")
    if said.kind is Kind.UNLINK and len(distinct) != PAIR:
        raise PermanentError("An unlink is of two accounts.")
    every = [*stands, Judgement(0, said.kind, said.accounts)]
    group = groups(every)
    for one in every:
        if one.kind is Kind.UNLINK and group[one.accounts[0]] == group[one.accounts[1]]:
            raise PermanentError(_against(one, stands, group))
        if one.kind is Kind.FREEZE and _outsiders(one, group):
            raise PermanentError(_against(one, stands, group))


def forget(objects: ObjectStore, accounts: Collection[Account]) -> int:
    """Empty the entries that name some accounts, which were erased; how many those were."""
    named = set(accounts)
    found = [one for one in read(objects) if named & set(one.accounts)]
    for one in found:
        objects.replace(judgement_key(one.number), Judgement(one.number, Kind.GONE).to_json())
    return len(found)


def _outsiders(frozen: Judgement, group: dict[Account, Account]) -> set[Account]:
    """Accounts that other judgements put to a frozen creator."""
    own = group[frozen.accounts[0]]
    return {account for account, root in group.items() if root == own} - set(frozen.accounts)


def _against(one: Judgement, stands: Sequence[Judgement], group: dict[Account, Account]) -> str:
    if one.number:
        return f"This contradicts judgement {one.number}: {one.kind} {_named(one.accounts)}; undo that first."
    root = group[one.accounts[0]]
    others = [str(other.number) for other in stands if any(group[account] == root for account in other.accounts)]
    return f"This contradicts what judgements {', '.join(others)} say of these accounts; undo one of them first."


def _named(accounts: Sequence[Account]) -> str:
    return ", ".join(":".join(account) for account in accounts)


def _parsed(data: bytes) -> Judgement:
    body = json.loads(data)
    accounts = tuple((platform, account) for platform, account in body["accounts"])
    return Judgement(**body | {"kind": Kind(body["kind"]), "accounts": accounts})
