"""Ids by one plain pass over Python objects, cluster by cluster: what `lakehouse.identity.ids` does on columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lakehouse.identity.ids import Lineage, mint

Account = tuple[str, str]
"""(platform, platform_account_id)"""
Age = tuple[int, str, str]
"""(first_seen_at in microseconds since 1970, platform, platform_account_id)"""


@dataclass(frozen=True, slots=True)
class Member:
    """An account's row in the old or new table of creator ids."""

    account: Account
    first_seen_us: int
    creator_id: str
    is_anchor: bool

    @property
    def age(self) -> Age:
        """Sort key of anchors, oldest first."""
        return (self.first_seen_us, *self.account)


@dataclass(frozen=True, slots=True)
class Assignment:
    """New rows, tombstones included, all aliases (alias to id, one hop) and the new lineage."""

    members: list[Member]
    aliases: dict[str, str]
    lineage: list[Lineage]


def assign(
    old: list[Member], aliases: dict[str, str], accounts: list[Account], first_seen_us: list[int], labels: np.ndarray
) -> Assignment:
    """Creator id of every account.

    Args:
        old: rows of the last assignment, tombstones included.
        aliases: alias to current id, as last assigned.
        accounts: current accounts, distinct.
        first_seen_us: when each was first seen, microseconds since 1970; recorded once, never changed.
        labels: cluster of each current account.
    """
    live = {row.creator_id for row in old if row.is_anchor}
    aliases = {alias: current for alias, current in aliases.items() if alias not in live}
    clusters = _clusters(old, accounts, first_seen_us, labels)
    anchors = {row.account: row.creator_id for row in old if row.is_anchor}
    used = set(anchors.values()) | aliases.keys()  # what aliases name is among the anchors, or lost and free again
    present = set(accounts)
    members: list[Member] = []
    merged: dict[str, str] = {}
    for cluster in clusters:
        kept = [(age, anchors[age[1:]]) for age in cluster if age[1:] in anchors]
        anchor, creator_id = kept[0] if kept else (cluster[0], _fresh(cluster[0], used))
        merged.update({gone: creator_id for _, gone in kept[1:]})
        kept_rows = (age for age in cluster if age == anchor or age[1:] in present)
        members += [Member(age[1:], age[0], creator_id, age == anchor) for age in kept_rows]
    resolved = {alias: merged.get(current, current) for alias, current in aliases.items()} | merged
    return Assignment(members, resolved, [*_merges(merged), *_splits(old, members, resolved)])


def _clusters(
    old: list[Member], accounts: list[Account], first_seen_us: list[int], labels: np.ndarray
) -> list[list[Age]]:
    """Members of each cluster, oldest first, tombstones with their companions; clusters oldest first."""
    groups: dict[int, list[Age]] = {}
    label_of = dict(zip(accounts, labels.tolist(), strict=True))
    for account, seen in zip(accounts, first_seen_us, strict=True):
        groups.setdefault(label_of[account], []).append((seen, *account))
    alone = -1
    for tombstone, companion in _tombstones(old, label_of):
        label = alone if companion is None else label_of[companion]
        alone -= companion is None
        groups.setdefault(label, []).append(tombstone.age)
    return sorted(sorted(group) for group in groups.values())


def _tombstones(old: list[Member], label_of: dict[Account, int]) -> Iterator[tuple[Member, Account | None]]:
    """Anchors that are gone and the oldest of their former companions that is not."""
    gone = [row for row in old if row.is_anchor and row.account not in label_of]
    if not gone:
        return
    companions: dict[str, Age] = {}
    for row in old:
        if row.account in label_of:
            companions[row.creator_id] = min(row.age, companions.get(row.creator_id, row.age))
    for row in gone:
        oldest = companions.get(row.creator_id)
        yield row, oldest[1:] if oldest else None


def _fresh(anchor: Age, used: set[str]) -> str:
    generation = 0
    while (creator_id := mint(anchor[1:], generation)) in used:
        generation += 1
    used.add(creator_id)
    return creator_id


def _merges(merged: dict[str, str]) -> list[Lineage]:
    return [Lineage(gone, kept, "merge") for gone, kept in sorted(merged.items())]


def _splits(old: list[Member], members: list[Member], aliases: dict[str, str]) -> list[Lineage]:
    """Pairs of ids where an account left an id that still lives for one that is new."""
    before = {row.account: aliases.get(row.creator_id, row.creator_id) for row in old}
    known = set(before.values())
    moved = {
        (before[row.account], row.creator_id)
        for row in members
        if row.account in before and before[row.account] != row.creator_id and row.creator_id not in known
    }
    return [Lineage(kept, cut, "split") for kept, cut in sorted(moved)]
