"""Stable creator ids: a pure function of the old ids and the new clusters. No counter, no clock, no arrival order.

An id belongs to its anchor, the oldest account of the cluster when the id was made: by (first_seen_at, platform, id).
An id only ever names a cluster that holds its anchor.

* A cluster with one old anchor keeps that id. With several, the id of the oldest anchor survives and the others become
  its aliases for ever (one hop: aliases of an alias are pointed at the survivor).
* A cluster without an old anchor gets a new id, a hash of its oldest account and a generation number; the generation
  is the first whose hash was never an id or alias of that account, so a retired id never comes back for somebody else.
* An anchor that no longer exists stays as a tombstone: it counts as a member of the cluster of its oldest remaining
  companion, so the id does not move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ID_PREFIX = "c_"
ID_BYTES = 10
"""80 bits: with 250 million creators the chance of one collision is about 3e-8."""
BASE_BITS = 5
BASE32 = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", dtype=np.uint8)
SEPARATOR = "\0"
"""Joins platform and id into one text; occurs in neither."""
ACCOUNT = pa.schema([("platform", pa.string()), ("platform_account_id", pa.string()), ("first_seen_us", pa.int64())])
"""An account and when it was first seen, in microseconds since 1970; recorded once, never changed."""
MEMBER = pa.schema([*ACCOUNT, ("creator_id", pa.string()), ("is_anchor", pa.bool_())])
"""An account's row in the old or new table of creator ids."""

Account = tuple[str, str]
"""(platform, platform_account_id)"""


@dataclass(frozen=True, slots=True)
class Lineage:
    """What happened to an id: `merge` (from became an alias of to) or `split` (to was cut from from)."""

    from_id: str
    to_id: str
    reason_code: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """New rows (`MEMBER`: the accounts in their order, then tombstones), all aliases (to an id, one hop), the new lineage."""

    members: pa.Table
    aliases: dict[str, str]
    lineage: list[Lineage]


class _Nodes(NamedTuple):
    """Accounts and after them tombstones: `MEMBER` columns but the last two, cluster, and row of the old table or -1."""

    table: pa.Table
    label: np.ndarray
    anchor_row: np.ndarray


class _Groups(NamedTuple):
    """Clusters: the group of each node, the anchor node of each group, and old anchor nodes that lost their id to it."""

    of: np.ndarray
    anchor: np.ndarray
    merged: np.ndarray


def mint(account: Account, generation: int = 0) -> str:
    """Id made from an anchor: `c_` and 16 characters of lower-case base32 (RFC 4648)."""
    return str(mint_each([account], generation)[0].as_py())


def mint_each(accounts: Iterable[Account], generation: int = 0) -> pa.StringArray:
    """`mint` of each account."""
    texts = (SEPARATOR.join((*account, str(generation))).encode("utf-8", "surrogatepass") for account in accounts)
    digests = b"".join(hashlib.sha256(text).digest()[:ID_BYTES] for text in texts)
    bits = np.unpackbits(np.frombuffer(digests, dtype=np.uint8)).reshape(-1, ID_BYTES * 8 // BASE_BITS, BASE_BITS)
    letters = BASE32[np.packbits(bits, axis=2)[:, :, 0] >> (8 - BASE_BITS)]
    prefix = np.frombuffer(ID_PREFIX.encode(), dtype=np.uint8)
    written = np.concatenate([np.broadcast_to(prefix, (len(letters), len(prefix))), letters], axis=1)
    offsets = np.arange(len(written) + 1, dtype=np.int32) * written.shape[1]
    return pa.StringArray.from_buffers(len(written), pa.py_buffer(offsets), pa.py_buffer(written.tobytes()))


def assign(
    old: pa.Table, aliases: Mapping[str, str], accounts: pa.Table, labels: np.ndarray, given: Container[str] = ()
) -> Assignment:
    """Creator id of every account.

    Args:
        old: `MEMBER` rows of the last assignment, tombstones included. Rows of creators that share no account with
            `accounts`, and had none of them before, may be missing.
        aliases: alias to current id, as last assigned; none of them an id of today.
        accounts: current accounts (`ACCOUNT`), distinct.
        labels: cluster of each current account.
        given: further ids that are never given again.
    """
    names, was = names_of(accounts), names_of(old)
    at = pc.fill_null(pc.index_in(was, names), -1).to_numpy()
    nodes = _nodes(old, accounts, labels, at)
    groups = _groups(nodes)
    creator = _creators(old, nodes, groups, (aliases, given))
    of_node = creator.take(pa.array(groups.of))
    size = accounts.num_rows
    is_anchor = np.zeros(len(groups.of), dtype=bool)
    is_anchor[groups.anchor] = True
    kept = pa.array((np.arange(len(groups.of)) < size) | is_anchor)
    columns = [*nodes.table.columns, of_node, pa.array(is_anchor)]
    members = pa.Table.from_arrays(columns, schema=MEMBER).filter(kept).combine_chunks()
    old_ids = old.column("creator_id").combine_chunks()
    gone = old_ids.take(pa.array(nodes.anchor_row[groups.merged]))
    merged = dict(zip(gone.to_pylist(), of_node.take(pa.array(groups.merged)).to_pylist(), strict=True))
    resolved = {alias: merged.get(current, current) for alias, current in aliases.items()} | merged
    merges = [Lineage(lost, into, "merge") for lost, into in sorted(merged.items())]
    return Assignment(members, resolved, [*merges, *_splits(old_ids, resolved, of_node, at)])


def names_of(table: pa.Table, key: Sequence[str] = ("platform", "platform_account_id")) -> pa.Array:
    """Platform and id of each row, from two columns, as one text, ordered as the two are."""
    return pc.binary_join_element_wise(*(table.column(name).combine_chunks() for name in key), SEPARATOR)


def _nodes(old: pa.Table, accounts: pa.Table, labels: np.ndarray, at: np.ndarray) -> _Nodes:
    """Accounts and tombstones; a tombstone is in the cluster of its oldest companion, or in one of its own."""
    is_anchor = old.column("is_anchor").to_numpy()
    gone = np.flatnonzero(is_anchor & (at < 0))
    companion = _companions(old, gone, at)
    alone = np.arange(len(gone)) + int(labels.max(initial=-1)) + 1
    label = np.where(companion >= 0, labels[companion] if len(labels) else alone, alone)
    anchor_row = np.full(accounts.num_rows + len(gone), -1, dtype=np.int64)
    here = np.flatnonzero(is_anchor & (at >= 0))
    anchor_row[at[here]] = here
    anchor_row[accounts.num_rows :] = gone
    table = pa.concat_tables([accounts.select(ACCOUNT.names), old.select(ACCOUNT.names).take(pa.array(gone))])
    return _Nodes(table.combine_chunks(), np.r_[labels, label].astype(np.int64), anchor_row)


def _companions(old: pa.Table, gone: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Position among the accounts of the oldest former companion of each of some old rows, -1 for none."""
    if not len(gone):
        return np.zeros(0, dtype=np.int64)
    ids = old.column("creator_id").combine_chunks()
    wanted = ids.take(pa.array(gone))
    rows = np.flatnonzero(pc.is_in(ids, wanted).to_numpy(zero_copy_only=False) & (at >= 0))
    rows = rows[_by_age(old.take(pa.array(rows)))]
    first: dict[str, int] = {}
    for creator_id, place in zip(ids.take(pa.array(rows)).to_pylist(), at[rows].tolist(), strict=True):
        first.setdefault(creator_id, place)
    return np.array([first.get(creator_id, -1) for creator_id in wanted.to_pylist()], dtype=np.int64)


def _by_age(table: pa.Table) -> np.ndarray:
    """Rows from the oldest to the youngest."""
    order = [(name, "ascending") for name in ("first_seen_us", "platform", "platform_account_id")]
    return np.asarray(pc.sort_indices(table, order).to_numpy(), dtype=np.int64)


def _groups(nodes: _Nodes) -> _Groups:
    """Clusters, each with its anchor: the oldest old anchor, or else the oldest account."""
    by_age = _by_age(nodes.table)
    order = by_age[np.argsort(nodes.label[by_age], kind="stable")]
    label = nodes.label[order]
    is_first = np.r_[True, label[1:] != label[:-1]] if len(label) else np.zeros(0, dtype=bool)
    group = np.cumsum(is_first) - 1
    anchor = order[is_first]
    holds = np.flatnonzero(nodes.anchor_row[order] >= 0)
    with_anchor, first = np.unique(group[holds], return_index=True)
    anchor[with_anchor] = order[holds[first]]
    of = np.empty(len(order), dtype=np.int64)
    of[order] = group
    return _Groups(of, anchor, np.delete(order[holds], first))


def _creators(old: pa.Table, nodes: _Nodes, groups: _Groups, given: Sequence[Container[str]]) -> pa.Array:
    """Id of each group: that of its old anchor, or a new one, which is none of those given."""
    row = nodes.anchor_row[groups.anchor]
    kept = old.column("creator_id").combine_chunks().take(pa.array(np.maximum(row, 0), mask=row < 0))
    fresh = np.flatnonzero(row < 0)
    anchors = nodes.table.select(ACCOUNT.names[:2]).take(pa.array(groups.anchor[fresh]))
    made = _fresh(list(zip(*(column.to_pylist() for column in anchors.columns), strict=True)), given)
    place = np.zeros(len(row), dtype=np.int64)
    place[fresh] = np.arange(len(fresh))
    return pc.coalesce(kept, made.take(pa.array(place, mask=row >= 0)))


def _fresh(anchors: Sequence[Account], given: Sequence[Container[str]]) -> pa.Array:
    """First id of each account that was not given before. It cannot be an id that is in use: the account would be its anchor."""
    made = mint_each(anchors)
    if not any(given):
        return made
    ids = made.to_pylist()
    for at in range(len(ids)):
        generation = 0
        while any(ids[at] in one for one in given):
            generation += 1
            ids[at] = mint(anchors[at], generation)
    return pa.array(ids, pa.string())


def _splits(old_ids: pa.Array, aliases: Mapping[str, str], of_node: pa.Array, at: np.ndarray) -> list[Lineage]:
    """Pairs of ids where an account left an id that still lives for one that is new."""
    place = pc.index_in(old_ids, pa.array(list(aliases), pa.string()))
    before = pc.coalesce(pa.array(list(aliases.values()), pa.string()).take(place), old_ids)
    here = pa.array(at >= 0)
    left, right = before.filter(here), of_node.take(pa.array(at[at >= 0]))
    moved = pc.and_(pc.not_equal(left, right), pc.invert(pc.is_in(right, before)))
    found = (
        pa.table({"left": left.filter(moved), "right": right.filter(moved)}).group_by(["left", "right"]).aggregate([])
    )
    return [
        Lineage(row["left"], row["right"], "split")
        for row in sorted(found.to_pylist(), key=lambda r: tuple(r.values()))
    ]
