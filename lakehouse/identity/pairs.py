"""From accounts with the keys that they take to scored edges.

Accounts of a key all meet while they are no more than its share allows. Of more, each meets its neighbours in the order of (sort
text, platform, id), half a share on either side. A pair is scored once, under the first key, in the emission order of
`keys.select_keys`, under which it meets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.tables import EDGES
from lakehouse.identity.calibration import PAIR
from lakehouse.identity.counts import Counts
from lakehouse.identity.hashing import ABSENT, Kind, kind_of, mix, row_digests
from lakehouse.identity.keys import is_lone, potential_keys, prefix_hashes, select_keys
from lakehouse.identity.model import Model, probability
from lakehouse.identity.nodes import NODE, READ, compared, forms, lengths, nodes
from lakehouse.identity.signals import Pairs, score, telling
from lakehouse.identity.text import within

_TAKEN = [pa.field("blocking_keys", pa.list_(pa.int64())), pa.field("blocking_shares", pa.list_(pa.int32()))]
_KEPT = [pa.field("node_digest", pa.int64()), *_TAKEN]
PREPARED = pa.schema([*NODE, *_KEPT])
"""A `NODE`, the digest of what it was made from, the keys that it takes (64 bits, signed) and the share of each."""
INDEX = pa.schema(
    [PREPARED.field(name) for name in ("platform", "platform_account_id", "node_digest", "sort_text")] + _TAKEN
)
"""The part of a `PREPARED` row that tells whom it meets."""
SORTED_BY = ("sort_text", "platform", "platform_account_id")
EDGE = EDGES.arrow_schema()
PLACE = "place"
"""Column of edges that may come several times: the place of the key that made them among the keys of the left account."""
PART_ACCOUNTS = 60_000
"""Accounts for each part of the keys: a part holds about four times as many rows, 100 MB."""
SCORED_AT_ONCE = 50_000
"""Pairs that are compared in one go: about 100 MB of intermediate arrays."""


class Meetings(NamedTuple):
    """Pairs of rows, the key under which they meet, and its place among the keys of either row."""

    left: np.ndarray
    right: np.ndarray
    key: np.ndarray
    left_place: np.ndarray
    right_place: np.ndarray

    def of(self, chosen: np.ndarray) -> Meetings:
        """Some of the pairs."""
        return Meetings(*(column[chosen] for column in self))


def prepare(raw: pa.Table, counts: Counts, model: Model) -> pa.Table:
    """Batch of `PREPARED` rows, one per `RAW` row, in order."""
    made = forms(raw, model)
    chosen = select_keys(potential_keys(made, model), counts, prefix_hashes(made), model.blocking)
    taken = chosen.keys != ABSENT
    offsets = pa.array(np.r_[0, np.cumsum(taken.sum(axis=1))], pa.int32())
    keys, shares = pa.array(chosen.keys[taken].view(np.int64)), pa.array(chosen.shares[taken], pa.int32())
    node = nodes(made, counts, model)
    read = [made[name] for name in (*READ, *(field.column for field in model.fields))]
    columns = [
        *node.columns,
        pa.array(row_digests(read)),
        *(pa.ListArray.from_arrays(offsets, flat) for flat in (keys, shares)),
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema([*node.schema, *_KEPT]))


def without_lone(table: pa.Table, counts: Counts) -> pa.Table:
    """`PREPARED` rows without keys that one account alone has, by counts of these very accounts."""
    keys, shares = (table.column(name).combine_chunks() for name in ("blocking_keys", "blocking_shares"))
    flat = keys.flatten().to_numpy(), shares.flatten().to_numpy()
    kept = ~is_lone(flat[0], flat[1], counts)
    left = np.bincount(np.repeat(np.arange(len(keys)), lengths(keys))[kept], minlength=len(keys))
    offsets = pa.array(np.r_[0, np.cumsum(left)], pa.int32())
    lists = [pa.ListArray.from_arrays(offsets, pa.array(values[kept])) for values in flat]
    return pa.Table.from_arrays([*table.columns[: -len(lists)], *lists], schema=table.schema)


def telling_pairs(table: pa.Table, model: Model, owned: np.ndarray, *, part: int = 0, parts: int = 1) -> pa.Table:
    """What the pairs of one part of the keys of `PREPARED` rows tell (`calibration.PAIR`), where no key outgrew its count.

    `owned` is what `mutual.owned` says of all accounts.
    """
    table = table.combine_chunks()
    met, sides = near(table, _entries(table, part, parts)), table.select(compared(model).names)
    found = _under_first_common(table, met) if parts > 1 else first_meetings(met)
    told = [PAIR.empty_table()]
    for start in range(0, len(found.left), SCORED_AT_ONCE):
        left, right = (pa.array(side[start : start + SCORED_AT_ONCE]) for side in (found.left, found.right))
        told.append(telling(Pairs(sides.take(left), sides.take(right), model), owned))
    return pa.concat_tables(told)


def part_of(keys: np.ndarray, parts: int) -> np.ndarray:
    """Which of so many parts each key belongs to; pairs of a part are found without the others."""
    return (mix(keys.view(np.uint64)) % np.uint64(parts)).astype(np.int64)


def by_part(table: pa.Table, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """`PREPARED` rows that have a key of each part, part by part, and where each part begins (of `parts` + 1)."""
    lists = table.column("blocking_keys").combine_chunks()
    owner, part = np.repeat(np.arange(len(lists)), lengths(lists)), part_of(lists.flatten().to_numpy(), parts)
    part, row = np.divmod(np.unique(part * len(lists) + owner), max(len(lists), 1))
    return row, np.searchsorted(part, np.arange(parts + 1))


def edges(table: pa.Table, model: Model) -> Iterator[pa.Table]:
    """Scored edges above the model's floor of a table of `PREPARED` rows; each pair once."""
    table = table.combine_chunks()
    yield from _scored(table, first_meetings(near(table, _entries(table))), model)


def edges_of_part(table: pa.Table, model: Model, *, part: int, parts: int) -> Iterator[pa.Table]:
    """Edges of the pairs that meet first under a key of one part, where no key outgrew its count.

    A pair then meets under all keys that it has in common, and the first of them is known without the other parts.
    """
    table = table.combine_chunks()
    yield from _scored(table, _under_first_common(table, near(table, _entries(table, part, parts))), model)


def placed_edges_of_part(table: pa.Table, model: Model, *, part: int, parts: int) -> Iterator[pa.Table]:
    """Edges of all pairs that meet under a key of one part, with the `place` of that key.

    Of a pair that several parts give the one with the smallest place counts.
    """
    table = table.combine_chunks()
    for chosen in _portions(first_meetings(near(table, _entries(table, part, parts)))):
        edge, rows = scored_rows(table, chosen, model)
        kept = chosen.of(rows)
        place = np.where(_is_after(table, kept.left, kept.right), kept.right_place, kept.left_place)
        yield edge.append_column(PLACE, pa.array(place, pa.int32()))


def near(table: pa.Table, entries: np.ndarray) -> Meetings:
    """Pairs of rows that meet, once under each key.

    Args:
        table: rows with the columns of `INDEX`.
        entries: positions in the flattened lists of keys; the keys that are looked at.
    """
    key, row, place, reach = _grouped(table, entries)
    found, at = [], np.flatnonzero(reach > 0)
    for apart in range(1, int(reach.max(initial=0)) + 1):
        at = at[(reach[at] >= apart) & (at + apart < len(key))]
        met = at[key[at] == key[np.minimum(at + apart, len(key) - 1)]]
        found.append(np.stack([row[met], row[met + apart], key[met], place[met], place[met + apart]]))
    return Meetings(*(np.concatenate(found, axis=1) if found else np.zeros((5, 0), dtype=np.int64)))


def first_meetings(met: Meetings) -> Meetings:
    """Each pair once, under the first of the keys under which it meets."""
    low, high = np.minimum(met.left, met.right), np.maximum(met.left, met.right)
    place = np.where(met.left < met.right, met.left_place, met.right_place)
    order = np.lexsort((place, high, low))
    low, high = low[order], high[order]
    is_first = np.r_[True, (low[1:] != low[:-1]) | (high[1:] != high[:-1])] if len(order) else np.zeros(0, dtype=bool)
    return met.of(np.sort(order[is_first]))


def scored(table: pa.Table, met: Meetings, model: Model) -> pa.Table:
    """Edges (rows of `EDGE`) of the pairs above the floor; the smaller (platform, id) is on the left."""
    return scored_rows(table, met, model)[0]


def scored_rows(table: pa.Table, met: Meetings, model: Model) -> tuple[pa.Table, np.ndarray]:
    """Edges as `scored` gives them, and which of the pairs they are of."""
    swap = _is_after(table, met.left, met.right)
    left, right = np.where(swap, met.right, met.left), np.where(swap, met.left, met.right)
    sides = table.select(compared(model).names)
    pairs = Pairs(sides.take(pa.array(left)), sides.take(pa.array(right)), model)
    result = score(pairs)
    rows = np.flatnonzero(result.log_odds >= model.thresholds.floor)
    kept = pa.array(rows)
    names = np.array([kind.name.lower() for kind in Kind])
    log_odds = result.log_odds[rows]
    columns = {
        "left_platform": pairs.left.column("platform").take(kept),
        "left_id": pairs.left.column("platform_account_id").take(kept),
        "right_platform": pairs.right.column("platform").take(kept),
        "right_id": pairs.right.column("platform_account_id").take(kept),
        "probability": pa.array(probability(log_odds)),
        "log_odds": pa.array(log_odds),
        "reasons": result.reasons(rows),
        "blocking_code": pa.array(names[kind_of(met.key[rows].view(np.uint64))], pa.string()),
        "model_version": pa.array(np.full(len(rows), model.version), pa.string()),
    }
    return pa.Table.from_arrays([columns[name] for name in EDGE.names], schema=EDGE), rows


def _scored(table: pa.Table, met: Meetings, model: Model) -> Iterator[pa.Table]:
    return (scored(table, chosen, model) for chosen in _portions(met))


def _portions(met: Meetings) -> Iterator[Meetings]:
    """The pairs, some at a time."""
    for start in range(0, len(met.left), SCORED_AT_ONCE):
        yield met.of(np.arange(start, min(start + SCORED_AT_ONCE, len(met.left))))


def _under_first_common(table: pa.Table, met: Meetings) -> Meetings:
    """Pairs that meet under the first of the keys that they have in common."""
    matrix = _matrix(table.column("blocking_keys").combine_chunks())
    kept = [_first_common(matrix[some.left], matrix[some.right]) == some.key for some in _portions(met)]
    return met.of(np.flatnonzero(np.concatenate([np.zeros(0, dtype=bool), *kept])))


def _entries(table: pa.Table, part: int = 0, parts: int = 1) -> np.ndarray:
    """Positions of a part's keys in the flattened lists."""
    keys = table.column("blocking_keys").combine_chunks().flatten().to_numpy()
    return np.flatnonzero(part_of(keys, parts) == part) if parts > 1 else np.arange(len(keys))


def _grouped(table: pa.Table, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Entries ordered by key, and of a key that outgrew its share by `SORTED_BY`.

    Returns:
        Key, row, place of the key among the row's keys, and how far each one meets others.
    """
    lists, shares = (table.column(name).combine_chunks() for name in ("blocking_keys", "blocking_shares"))
    owner = np.repeat(np.arange(len(lists)), lengths(lists))
    flat, share, places = lists.flatten().to_numpy(), shares.flatten().to_numpy(), within(owner)
    order = entries[np.argsort(flat[entries], kind="stable")]
    key = flat[order]
    is_first = np.r_[True, key[1:] != key[:-1]] if len(key) else np.zeros(0, dtype=bool)
    starts = np.flatnonzero(is_first)
    size = np.diff(np.r_[starts, len(key)])[np.cumsum(is_first) - 1]
    is_outgrown = size > share[order] + 1
    if is_outgrown.any():
        at = np.flatnonzero(is_outgrown)
        order[at] = order[at][np.lexsort((_ranks(table, owner[order[at]]), key[at]))]
    reach = np.where(is_outgrown, np.maximum(share[order] // 2, 1), size - 1)
    return key, owner[order], places[order], reach


def _ranks(table: pa.Table, rows: np.ndarray) -> np.ndarray:
    """Position of each of some rows in the order of `SORTED_BY`."""
    distinct, place = np.unique(rows, return_inverse=True)
    some = table.select(list(SORTED_BY)).take(pa.array(distinct))
    order = pc.sort_indices(some, [(name, "ascending") for name in SORTED_BY]).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[place]


def _is_after(table: pa.Table, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Whether (platform, id) of the left row is the larger."""
    names = [table.column(name).combine_chunks() for name in ("platform", "platform_account_id")]
    platform, ids = ([column.take(pa.array(side)) for side in (left, right)] for column in names)
    is_after = pc.or_(pc.greater(*platform), pc.and_(pc.equal(*platform), pc.greater(*ids)))
    return np.asarray(is_after.to_numpy(zero_copy_only=False), dtype=bool)


def _first_common(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """First key of each row of `left` that the row of `right` has too (there is one)."""
    common = np.zeros(left.shape, dtype=bool)
    for column in range(left.shape[1]):
        common[:, column] = ((left[:, column, None] == right) & (right != 0)).any(axis=1)
    first = common.argmax(axis=1) if left.shape[1] else np.zeros(len(left), np.int64)
    return np.asarray(left[np.arange(len(left)), first])


def _matrix(lists: pa.ListArray) -> np.ndarray:
    """Lists of keys as a matrix, 0 where a list is shorter than the longest."""
    sizes = lengths(lists)
    matrix = np.zeros((len(sizes), int(sizes.max(initial=1))), dtype=np.int64)
    matrix[np.arange(matrix.shape[1]) < sizes[:, None]] = lists.flatten().to_numpy()
    return matrix
