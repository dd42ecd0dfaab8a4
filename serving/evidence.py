"""Why accounts are one creator's or not, read from the evidence of one snapshot. Look-ups only.

Which of two accounts are one, and the sentence that says why, come from `lakehouse/contracts/evidence.py`, which the command
line asks as well; here rows become what it reads, and what it says becomes answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from lakehouse.contracts.evidence import (
    FIELDS,
    INSIDE_MAX,
    NEAR_MAX,
    TOGETHER,
    WORDS,
    Account,
    Explanation,
    Judgement,
    Kind,
    Link,
    explain,
)
from serving.catalog import Catalog
from serving.errors import RequestError, UnknownError
from serving.filters import handle_keys
from serving.models import (
    AccountNode,
    EvidenceAnswer,
    EvidenceEdge,
    EvidenceEnd,
    EvidenceJudgement,
    EvidencePlace,
    EvidenceReason,
    PairAnswer,
)
from serving.profile import ACCOUNTS_ROWS, current_of
from serving.snapshot import Snapshot

Row = Mapping[str, Any]
TABLE = "evidence"
ORDER = "len(judgements) DESC, log_odds DESC NULLS LAST, left_platform, left_id, right_platform, right_id"
NO_EVIDENCE = "This snapshot was made without evidence; the next one that is published has it."
ONLY_STRONGEST = (
    f"Of each of the two creators only the {NEAR_MAX} strongest near misses are kept; this pair is not among them."
)


@dataclass(frozen=True)
class Told:
    """The evidence of some creators: rows by pair, and whose each account is."""

    creators: Mapping[Account, str]
    rows: Mapping[tuple[Account, Account], Row]
    with_profile: frozenset[str] = field(default_factory=frozenset)

    @property
    def merge(self) -> float | None:
        """Log-odds from which a pair is joined; None where nothing was scored."""
        return next((float(row["merge_log_odds"]) for row in self.rows.values()), None)

    @cached_property
    def links(self) -> list[Link]:
        """Pairs that were scored."""
        return [Link(*ends, row["log_odds"]) for ends, row in self.rows.items() if row["log_odds"] is not None]

    @cached_property
    def stands(self) -> list[Judgement]:
        """Judgements that name one of the accounts, put together from what the pairs say of them."""
        said: dict[int, tuple[Kind, datetime | None, set[Account]]] = {}
        for (left, right), row in self.rows.items():
            for one in row["judgements"]:
                _, _, accounts = said.setdefault(one["number"], (Kind(one["kind"]), one["at"], set()))
                accounts.update(end for end, is_named in ((left, one["is_left"]), (right, one["is_right"])) if is_named)
        return [
            Judgement(number, kind, tuple(sorted(accounts)), at=at.isoformat() if at else "")
            for number, (kind, at, accounts) in sorted(said.items())
        ]

    def explain(self, left: Account, right: Account) -> Explanation:
        """Why two accounts are one or two."""
        return explain(left, right, self.creators, self.links, self.stands, self.merge or 0.0)

    def near_count(self, creator: str) -> int:
        """Near misses of a creator that are here."""
        near = [row for row in self.rows.values() if row["other_creator_id"] is not None]
        return sum(creator in (row["creator_id"], row["other_creator_id"]) for row in near)

    def edge(self, ends: tuple[Account, Account]) -> EvidenceEdge:
        """A pair as it is sent."""
        row, (left, right) = self.rows[ends], ends
        are_one = self.creators[left] == self.creators[right]
        is_strong = row["log_odds"] is not None and row["log_odds"] >= row["merge_log_odds"]
        return EvidenceEdge(
            left=self._end(row, "left"),
            right=self._end(row, "right"),
            is_joining=are_one and (is_strong or any(one["kind"] in TOGETHER for one in row["judgements"])),
            why=self.explain(left, right).why,
            log_odds=row["log_odds"],
            probability=row["probability"],
            reasons=[_reason(signal, row) for signal in row["signals"]],
            judgements=[EvidenceJudgement.model_validate(dict(one)) for one in row["judgements"]],
            model_version=row["model_version"],
        )

    def _end(self, row: Row, side: str) -> EvidenceEnd:
        account = _account(row, side)
        creator = self.creators[account]
        return EvidenceEnd(
            platform=account[0],
            platform_account_id=account[1],
            handle=row[f"{side}_handle"],
            creator_id=creator,
            has_profile=creator in self.with_profile,
            observed_at=row[f"{side}_observed_at"],
        )


class EvidenceReader:
    """Reads the evidence of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Wrap an opened snapshot."""
        self._snapshot = snapshot

    def creator(self, creator_id: str) -> dict[str, Any]:
        """Answer of `GET /v1/creators/{creator_id}/evidence`.

        Raises:
            UnknownError: neither a creator nor a former id.
        """
        current, _ = current_of(self._snapshot, creator_id)
        accounts = self._accounts([current])
        told = self._told([current], accounts)
        is_inside = {ends: self._is_inside(row) for ends, row in told.rows.items()}
        answer = EvidenceAnswer(
            creator_id=current,
            requested_id=creator_id,
            is_alias=creator_id != current,
            index_version=self._snapshot.id,
            is_available=TABLE in self._catalog.sides,
            merge_log_odds=told.merge,
            accounts=[_node(row) for row in accounts],
            edges=[told.edge(ends) for ends in told.rows if is_inside[ends]],
            near_misses=[told.edge(ends) for ends in told.rows if not is_inside[ends]],
        )
        return answer.model_dump(mode="json")

    def pair(self, left: str, right: str) -> dict[str, Any]:
        """Answer of `GET /v1/evidence`.

        Args:
            left: `platform/handle` or `platform/id` of an account.
            right: of another one.

        Raises:
            RequestError: one of them is no such name, or both name one account.
            UnknownError: there is no such account.
        """
        rows = [self._named(left, "left"), self._named(right, "right")]
        ends = [(row["platform"], row["platform_account_id"]) for row in rows]
        if ends[0] == ends[1]:
            raise RequestError("invalid_value", "Both name the same account; name two.", field="right")
        creators = list(dict.fromkeys(row["creator_id"] for row in rows))
        told = self._told(creators, [*self._accounts(creators), *rows])
        found = told.explain(*ends)
        pair = (min(ends), max(ends))
        answer = PairAnswer(
            index_version=self._snapshot.id,
            is_available=TABLE in self._catalog.sides,
            are_one=found.are_one,
            why=self._why(found, told, creators),
            merge_log_odds=told.merge,
            left=_node(rows[0]),
            right=_node(rows[1]),
            scored=told.edge(pair) if pair in told.rows else None,
            path=[told.edge((link.left, link.right)) for link in found.path if (link.left, link.right) in told.rows],
            judgements=[_judgement(one) for one in found.judgements],
        )
        return answer.model_dump(mode="json")

    @property
    def _catalog(self) -> Catalog:
        return self._snapshot.catalog

    def _why(self, found: Explanation, told: Told, creators: Sequence[str]) -> str:
        """The sentence, with what the snapshot does not hold."""
        if TABLE not in self._catalog.sides:
            return NO_EVIDENCE
        is_cut = found.scored is None and not found.are_one and not found.judgements
        is_full = all(told.near_count(creator) >= NEAR_MAX for creator in creators)
        return f"{found.why} {ONLY_STRONGEST}" if is_cut and is_full else found.why

    def _told(self, creators: Sequence[str], accounts: Iterable[Row]) -> Told:
        """The evidence of creators, whose accounts are given."""
        own = {(row["platform"], row["platform_account_id"]): row["creator_id"] for row in accounts}
        rows: dict[tuple[Account, Account], Row] = {}
        owners: dict[Account, str] = dict(own)
        for creator in creators:
            for row in self._catalog.side(TABLE, creator, order_by=ORDER, limit=INSIDE_MAX + NEAR_MAX):
                left, right = _account(row, "left"), _account(row, "right")
                rows.setdefault((left, right), row)
                other = row["other_creator_id"] or creator
                is_left_own = own.get(left) == creator
                owners.setdefault(left, creator if is_left_own else other)
                owners.setdefault(right, other if is_left_own else creator)
        return Told(owners, rows, frozenset(self._snapshot.documents.gids_of(sorted(set(owners.values())))))

    def _accounts(self, creators: Sequence[str]) -> list[dict[str, Any]]:
        order = "followers_count DESC NULLS LAST, platform, platform_account_id"
        return [
            row
            for creator in creators
            for row in self._catalog.side("accounts", creator, order_by=order, limit=ACCOUNTS_ROWS)
        ]

    def _named(self, name: str, where: str) -> dict[str, Any]:
        """The account that a text names: by its id, else by its handle; of several the one that is known by an id."""
        platform, slash, key = name.partition("/")
        if not slash or not platform or not key.strip("@ "):
            message = f"{name!r} does not name an account: write platform/handle or platform/id."
            raise RequestError("invalid_value", message, field=where)
        found = self._catalog.account_row(platform.casefold(), key, sorted(handle_keys(key)))
        if found is None:
            raise UnknownError("unknown_account", f"There is no account {key!r} on {platform!r}.", field=where)
        return found

    @staticmethod
    def _is_inside(row: Row) -> bool:
        return row["other_creator_id"] is None


def _account(row: Row, side: str) -> Account:
    return row[f"{side}_platform"], row[f"{side}_id"]


def _node(row: Row) -> AccountNode:
    return AccountNode.model_validate({name: row.get(name) for name in AccountNode.model_fields})


def _judgement(one: Judgement) -> EvidenceJudgement:
    return EvidenceJudgement(
        number=one.number, kind=one.kind.value, at=datetime.fromisoformat(one.at) if one.at else None
    )


def _reason(signal: Row, row: Row) -> EvidenceReason:
    name = signal["signal"]
    left, right = (_place(name, signal[side], row[f"{side}_observed_at"]) for side in ("left", "right"))
    words = WORDS.get(name, name)
    return EvidenceReason(signal=name, words=words, log_odds=signal["log_odds"], left=left, right=right)


def _place(signal: str, place: Row, observed_at: datetime | None) -> EvidencePlace | None:
    """What one side showed; a column of the account was seen when the account was, a link has times of its own."""
    column = FIELDS.get(signal.partition(":")[0])
    if place["field"] is not None:
        times = {"first_seen_at": place["first_seen_at"], "seen_at": place["last_seen_at"]}
        return EvidencePlace(value=place["value"], field=place["field"], url=place["url"], **times)
    if column is None:
        return None if place["value"] is None else EvidencePlace(value=place["value"])
    return EvidencePlace(value=place["value"], field=column, seen_at=observed_at)
