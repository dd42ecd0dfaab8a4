"""Which pairs a change of some accounts brings and takes away; every other edge stays as it is.

What an account takes depends on itself and the frozen counts alone (`keys.py`), so accounts that changed meet others under their old
and their new keys only. Among the others, a pair comes or goes where a changed account stood or stands between the two in a key
that outgrew its share; whether it still meets elsewhere is then looked up. Edges of the whole set are therefore always those that a
computation from nothing finds with the same counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.identity.counts import Counts
from lakehouse.identity.engine import slices
from lakehouse.identity.hashing import among
from lakehouse.identity.ids import SEPARATOR, names_of
from lakehouse.identity.model import Model
from lakehouse.identity.nodes import forms, lengths, nodes
from lakehouse.identity.pairs import INDEX, SCORED_AT_ONCE, Meetings, first_meetings, near, scored

ENDS = ("left_platform", "left_id", "right_platform", "right_id")
PAIRS = pa.schema([pa.field(name, pa.string()) for name in ENDS] + [pa.field("key", pa.int64())])
"""A pair and the key under which it meets; the ends in any order."""
_KEY = ("platform", "platform_account_id")


@dataclass(frozen=True, slots=True)
class Changed:
    """Accounts whose index row came, went or changed: as they were and as they are (rows of `INDEX`)."""

    old: pa.Table
    new: pa.Table

    @property
    def names(self) -> pa.Array:
        """All of them, as `names_of` writes them."""
        return pc.unique(pa.concat_arrays([names_of(self.old), names_of(self.new)]))

    @property
    def keys(self) -> np.ndarray:
        """Keys that one of them takes or took, ascending."""
        lists = [table.column("blocking_keys").combine_chunks().flatten().to_numpy() for table in (self.old, self.new)]
        return np.unique(np.concatenate(lists))


@dataclass(frozen=True, slots=True)
class PairChange:
    """`to_score`: pairs (rows of `PAIRS`) that have to be scored. `parted`: pairs of unchanged accounts that meet no more.

    Whatever a changed account had before is to go as well.
    """

    to_score: pa.Table
    parted: pa.Table


def changed(old: pa.Table, new: pa.Table) -> Changed:
    """Accounts that differ between two sets of `INDEX` rows of the same accounts, by digest and what they take."""
    there = {name: row for row, name in enumerate(names_of(old).to_pylist())}
    digests = old.column("node_digest").to_pylist()
    same_old, same_new = set(), set()
    for row, (name, digest) in enumerate(
        zip(names_of(new).to_pylist(), new.column("node_digest").to_pylist(), strict=True)
    ):
        before = there.get(name)
        if before is not None and digests[before] == digest:
            same_old.add(before)
            same_new.add(row)
    return Changed(_without(old, same_old), _without(new, same_new))


def neighbours(index: Iterable[pa.Table], keys: np.ndarray, names: pa.Array, *, rows_max: int) -> pa.Table | None:
    """Rows of an index that have one of some keys (ascending), but for some accounts; None if they are more than `rows_max`."""
    found, rows = [INDEX.empty_table()], 0
    for batch in index:
        lists = batch.column("blocking_keys").combine_chunks()
        near_ones = batch.filter(pa.array(_any(lists, among(lists.flatten().to_numpy(), keys))))
        kept = near_ones.filter(pc.invert(pc.is_in(names_of(near_ones), names))).select(INDEX.names).cast(INDEX)
        found, rows = [*found, kept], rows + kept.num_rows
        if rows > rows_max:
            return None
    return pa.concat_tables(found)


def changed_pairs(index: Callable[[], Iterable[pa.Table]], what: Changed, *, rows_max: int) -> PairChange | None:
    """Pairs that come and go; None where that takes more than `rows_max` rows of the index.

    Args:
        index: gives the `INDEX` rows of all accounts as they were.
        what: the accounts that changed.
        rows_max: most rows that are held.
    """
    others = neighbours(index(), what.keys, what.names, rows_max=rows_max)
    if others is None:
        return None
    rows = pa.concat_tables([others, what.old, what.new]).combine_chunks()
    first_old, first_new = others.num_rows, others.num_rows + what.old.num_rows
    owner, is_asked = _entries(rows, what.keys)
    before = near(rows, np.flatnonzero(is_asked & (owner < first_new)))
    after = near(rows, np.flatnonzero(is_asked & ((owner < first_old) | (owner >= first_new))))
    stay = [(met.left < first_old) & (met.right < first_old) for met in (before, after)]
    moved = _moved(before.of(stay[0]), after.of(stay[1]), rows.num_rows)
    doubtful = _named(rows, moved)
    fresh = _named(rows, first_meetings(after.of(~stay[1])))
    if not doubtful.num_rows:
        return PairChange(fresh, doubtful)
    common = _common_keys(rows, moved)
    more = neighbours(index(), common, what.names, rows_max=rows_max)
    if more is None:
        return None
    settled = _meeting(pa.concat_tables([more, what.new]).combine_chunks(), common)
    is_met = pc.is_in(pair_names(settled), pair_names(doubtful))
    parted = doubtful.filter(pc.invert(pc.is_in(pair_names(doubtful), pair_names(settled))))
    return PairChange(pa.concat_tables([fresh, settled.filter(is_met)]), parted)


def score_pairs(raw: pa.Table, pairs: pa.Table, counts: Counts, model: Model) -> list[pa.Table]:
    """Edges of some pairs that reach the model's floor.

    Args:
        raw: `RAW` rows of all accounts at their ends.
        pairs: rows of `PAIRS`.
        counts: the frozen counts.
        model: the model.
    """
    table = pa.concat_tables([nodes(forms(some, model), counts, model) for some in slices(raw)]).combine_chunks()
    names = names_of(table)
    ends = [pc.index_in(_end_names(pairs, side), names).to_numpy() for side in ("left", "right")]
    nowhere = np.zeros(pairs.num_rows, dtype=np.int64)
    met = Meetings(ends[0], ends[1], pairs.column("key").to_numpy(), nowhere, nowhere)
    starts = range(0, pairs.num_rows, SCORED_AT_ONCE)
    chosen = (np.arange(start, min(start + SCORED_AT_ONCE, pairs.num_rows)) for start in starts)
    return [scored(table, met.of(some), model) for some in chosen]


def ends_of(pairs: pa.Table) -> pa.Table:
    """Distinct accounts at the ends of some pairs: `platform`, `platform_account_id`."""
    sides = [pairs.select(list(ENDS[at : at + 2])).rename_columns(list(_KEY)) for at in (0, 2)]
    return pa.concat_tables(sides).group_by(list(_KEY)).aggregate([])


def ordered(pairs: pa.Table) -> pa.Table:
    """The keys of the edges of some pairs: the smaller account on the left."""
    left, right = _end_names(pairs, "left"), _end_names(pairs, "right")
    swap = pc.greater(left, right)
    ends = [pc.if_else(swap, pairs.column(ENDS[(at + 2) % 4]), pairs.column(ENDS[at])) for at in range(4)]
    return pa.table(dict(zip(ENDS, ends, strict=True)))


def pair_names(pairs: pa.Table) -> pa.Array:
    """One text for each pair, whichever of its ends is on the left."""
    left, right = _end_names(pairs, "left"), _end_names(pairs, "right")
    swap = pc.greater(left, right)
    return pc.binary_join_element_wise(pc.if_else(swap, right, left), pc.if_else(swap, left, right), SEPARATOR)


def _end_names(pairs: pa.Table, side: str) -> pa.Array:
    return names_of(pairs, (f"{side}_platform", f"{side}_id"))


def _without(table: pa.Table, rows: set[int]) -> pa.Table:
    kept = np.ones(table.num_rows, dtype=bool)
    kept[list(rows)] = False
    return table.filter(pa.array(kept))


def _any(lists: pa.ListArray, hits: np.ndarray) -> np.ndarray:
    """Whether one of the flat values of each list is a hit."""
    owner = np.repeat(np.arange(len(lists)), pc.list_value_length(lists).to_numpy())
    return np.asarray(np.bincount(owner[hits], minlength=len(lists)) > 0)


def _entries(rows: pa.Table, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row of each entry of the flattened key lists, and whether its key is one of some (ascending)."""
    lists = rows.column("blocking_keys").combine_chunks()
    return np.repeat(np.arange(len(lists)), lengths(lists)), among(lists.flatten().to_numpy(), keys)


def _moved(before: Meetings, after: Meetings, rows: int) -> Meetings:
    """Pairs that meet under a key before or after, but not both; each once."""
    both = Meetings(*(np.concatenate(columns) for columns in zip(before, after, strict=True)))
    pair = np.minimum(both.left, both.right) * rows + np.maximum(both.left, both.right)
    order = np.lexsort((pair, both.key))
    differs = (np.diff(both.key[order]) != 0) | (np.diff(pair[order]) != 0)
    is_alone = np.r_[True, differs] & np.r_[differs, True] if len(order) else np.zeros(0, dtype=bool)
    return first_meetings(both.of(np.sort(order[is_alone])))


def _common_keys(rows: pa.Table, met: Meetings) -> np.ndarray:
    """All keys that the two of a pair have in common, ascending."""
    lists = rows.column("blocking_keys").combine_chunks()
    pair, keys = [], []
    for side in (met.left, met.right):
        taken = lists.take(pa.array(side))
        pair.append(np.repeat(np.arange(len(side)), lengths(taken)))
        keys.append(taken.flatten().to_numpy())
    entries = np.stack([np.concatenate(pair), np.concatenate(keys)])
    distinct, count = np.unique(entries, axis=1, return_counts=True)
    return np.unique(distinct[1, count > 1])


def _meeting(rows: pa.Table, keys: np.ndarray) -> pa.Table:
    """Pairs of rows that meet under some keys (ascending), under the first of them."""
    return _named(rows, first_meetings(near(rows, np.flatnonzero(_entries(rows, keys)[1]))))


def _named(rows: pa.Table, met: Meetings) -> pa.Table:
    columns = [rows.column(name).take(pa.array(side)) for side in (met.left, met.right) for name in _KEY]
    return pa.Table.from_arrays([*columns, pa.array(met.key, pa.int64())], schema=PAIRS)
