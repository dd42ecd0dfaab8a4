"""From keyed accounts in key order to scored edges, one batch at a time.

Rows arrive sorted by (key, sort text, platform, id) in batches of any size; a group may lie across a border, so the last
rows of a batch are carried over. Rows of a key meet when they are at most `window` apart. A pair that has several keys
in common is scored once, under the first of them in the emission order of `keys.select_keys`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.tables import EDGES
from lakehouse.identity.counts import Counts
from lakehouse.identity.hashing import ABSENT, Kind, kind_of
from lakehouse.identity.keys import potential_keys, prefix_hashes, select_keys
from lakehouse.identity.model import Model, probability
from lakehouse.identity.nodes import NODE, forms, lengths, nodes
from lakehouse.identity.signals import Pairs, score

PREPARED = pa.schema([*NODE, pa.field("keys", pa.list_(pa.int64())), pa.field("windows", pa.list_(pa.int32()))])
"""A `NODE` with the keys that it takes (64 bits, signed) and the window of each."""
KEYED = pa.schema([*PREPARED, pa.field("key", pa.int64()), pa.field("window", pa.int32())])
"""A `PREPARED` account under one of its keys."""
SORTED_BY = ("key", "sort_text", "platform", "platform_account_id")
EDGE = EDGES.arrow_schema()
SCORED_AT_ONCE = 50_000
"""Pairs that are compared in one go: about 100 MB of intermediate arrays."""


def prepare(raw: pa.Table, counts: Counts, model: Model) -> pa.Table:
    """Batch of `PREPARED` rows, one per `RAW` row, in order."""
    made = forms(raw, model)
    chosen = select_keys(potential_keys(made, model), counts, prefix_hashes(made), model.blocking)
    taken = chosen.keys != ABSENT
    offsets = pa.array(np.r_[0, np.cumsum(taken.sum(axis=1))], pa.int32())
    table = nodes(made, counts, model)
    table = table.append_column("keys", pa.ListArray.from_arrays(offsets, pa.array(chosen.keys[taken].view(np.int64))))
    windows = pa.array(chosen.windows[taken], pa.int32())
    return table.append_column("windows", pa.ListArray.from_arrays(offsets, windows)).cast(PREPARED)


def explode(prepared: pa.Table) -> pa.Table:
    """`KEYED` rows of `PREPARED` ones: each account once under every key."""
    keys, windows = (prepared.column(name).combine_chunks() for name in ("keys", "windows"))
    table = prepared.take(pa.array(np.repeat(np.arange(len(keys)), lengths(keys))))
    return under_keys(table, keys.flatten(), windows.flatten())


def under_keys(table: pa.Table, key: pa.Array, window: pa.Array) -> pa.Table:
    """`KEYED` rows of aligned `PREPARED` rows, keys and windows."""
    return table.append_column("key", key).append_column("window", window).cast(KEYED)


def edges(batches: Iterable[pa.Table], model: Model) -> Iterator[pa.Table]:
    """Scored edges of a stream of `KEYED` tables in order; each pair once, those above the model's floor."""
    carried: pa.Table | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        fresh = 0 if carried is None else carried.num_rows
        table = batch if carried is None else pa.concat_tables([carried, batch]).combine_chunks()
        left, right = candidates(table, fresh=fresh)
        for start in range(0, len(left), SCORED_AT_ONCE):
            part = slice(start, start + SCORED_AT_ONCE)
            yield scored(table, left[part], right[part], model)
        carried = _tail(table, model)


def candidates(table: pa.Table, *, fresh: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Row indices of the pairs that are scored here; the first `fresh` rows have met each other before."""
    key = table.column("key").to_numpy()
    window = table.column("window").to_numpy()
    found = []
    for apart in range(1, min(int(window.max(initial=0)), len(key) - 1) + 1):
        near = (key[:-apart] == key[apart:]) & (window[:-apart] >= apart)
        rows = np.flatnonzero(near)
        rows = rows[rows + apart >= fresh]
        found.append(np.stack([rows, rows + apart]))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    left, right = np.concatenate(found, axis=1)
    keys = _matrix(table.column("keys").combine_chunks())
    is_here = _first_common(keys[left], keys[right]) == key[left]
    return left[is_here], right[is_here]


def scored(table: pa.Table, left: np.ndarray, right: np.ndarray, model: Model) -> pa.Table:
    """Edges (rows of `EDGE`) of the pairs above the floor; the smaller (platform, id) is on the left."""
    left, right = _ordered(table, left, right)
    pairs = Pairs(table.take(pa.array(left)), table.take(pa.array(right)), model)
    result = score(pairs)
    rows = np.flatnonzero(result.log_odds >= model.thresholds.floor)
    kept = pa.array(rows)
    kinds = kind_of(table.column("key").to_numpy()[left[rows]].view(np.uint64))
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
        "blocking_code": pa.array(names[kinds], pa.string()),
        "model_version": pa.array(np.full(len(rows), model.version), pa.string()),
    }
    return pa.Table.from_arrays([columns[name] for name in EDGE.names], schema=EDGE)


def _ordered(table: pa.Table, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = pc.sort_indices(table, [("platform", "ascending"), ("platform_account_id", "ascending")]).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    swap = rank[left] > rank[right]
    return np.where(swap, right, left), np.where(swap, left, right)


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


def _tail(table: pa.Table, model: Model) -> pa.Table:
    """Rows that the next batch may still have to meet: the last group's, as many as the widest window."""
    most = max(model.blocking.key_size_max - 1, model.blocking.window)
    tail = table.slice(max(table.num_rows - most, 0))
    same = pc.equal(tail.column("key"), tail.column("key")[-1])
    return tail.filter(same)
