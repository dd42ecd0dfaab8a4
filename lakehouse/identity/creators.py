"""Step: edges, old ids and judgements -> `silver_identity__creator_ids` and `..._aliases`.

A night looks only at accounts that changed, at what is joined to them by edges that merge, and at whom they shared an id with: that
is closed, so that what comes out for it is what comes out for the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.evidence import Judgement
from lakehouse.contracts.tables import ACCOUNTS, CREATOR_ALIASES, CREATOR_IDS, EDGES
from lakehouse.identity.decisions import Known, decide
from lakehouse.identity.delta import ENDS, ends_of
from lakehouse.identity.hashing import among, hash_strings
from lakehouse.identity.ids import SEPARATOR, names_of
from lakehouse.identity.judgements import read as read_judgements
from lakehouse.identity.judgements import standing
from lakehouse.identity.model import Model, default_model
from lakehouse.identity.spread import decide_spread
from lakehouse.ops.derive import ACCOUNT_KEY
from lakehouse.ops.steps import Report, StepContext
from lakehouse.storage.keys import Keys, frame_of
from lakehouse.storage.picking import GONE, KIND, differing

if TYPE_CHECKING:
    from lakehouse.contracts.tables import TableSpec
    from lakehouse.storage.lake import Lake

HELD_ROWS = 20_000_000
"""Accounts and edges, of a night the accounts alone, that this process decides on by itself; beyond, Spark decides part by part
(`spread.py`)."""
FOLLOWED_ROWS = 200_000_000
"""Accounts and edges among which this process looks for what hangs on a night's changes, 16 bytes each; of more, all are decided anew."""
_ACCOUNT = (*ACCOUNT_KEY, "first_seen_at")
_EDGE = (*ENDS, "log_odds")


@dataclass(frozen=True, slots=True)
class _Done:
    """Accounts that were looked at; ids merged and split."""

    looked_at: int
    merges: int
    splits: int


def build_creator_ids(ctx: StepContext) -> Report:
    """Cluster the edges as people's judgements leave them, and give every account its creator id; old ids are kept.

    Aliases are written before ids: after a kill in between, the next run finds the same merges again. If the edges of such a merge are gone
    by then, its alias goes too, but older aliases that were pointed at the survivor stay there.

    Returns:
        Accounts and rows; metadata counts creators, merges, splits, and accounts that were looked at.
    """
    model, lake = default_model(), ctx.lake
    stands = standing(read_judgements(lake.objects))
    rows_count = lake.count(ACCOUNTS) + lake.count(EDGES)
    scope = _scope(ctx, stands, model) if rows_count <= FOLLOWED_ROWS else None
    held = rows_count if scope is None else len(scope)
    done = _here(lake, scope, stands, model) if held <= HELD_ROWS else _spread(lake, stands, model)
    rows, accounts = lake.count(CREATOR_IDS), lake.count(ACCOUNTS)
    creators = lake.count(CREATOR_IDS, where="is_anchor")
    ctx.log(f"{creators:,} creators of {accounts:,} accounts, {done.looked_at:,} of them looked at")
    changes = {"creators": creators, "merges": done.merges, "splits": done.splits, "judgements": len(stands)}
    return Report(rows_in=accounts, rows_out=rows, metadata=changes | {"accounts_looked_at": done.looked_at})


def _here(lake: Lake, scope: np.ndarray | None, stands: Sequence[Judgement], model: Model) -> _Done:
    """Decide for a scope, or for all accounts, in this process."""
    known = _known(lake, scope)
    decided = decide(known, stands, model)
    _write(lake, CREATOR_ALIASES, decided.aliases, known.aliases)
    _write(lake, CREATOR_IDS, decided.ids, known.ids, is_whole=scope is None)
    return _Done(known.accounts.num_rows, decided.merges, decided.splits)


def _spread(lake: Lake, stands: Sequence[Judgement], model: Model) -> _Done:
    """Decide for all accounts in Spark."""
    aliases = _at(lake, CREATOR_ALIASES, CREATOR_ALIASES.columns, None)
    found = decide_spread(lake, aliases, stands, model)
    _write(lake, CREATOR_ALIASES, found.aliases, aliases)
    is_there = lake.version(CREATOR_IDS.name) is not None
    every = found.ids.select(*ACCOUNT_KEY).union(lake.read(CREATOR_IDS).select(*ACCOUNT_KEY))
    lake.upsert(CREATOR_IDS, found.ids, of=Keys.of_frame(every) if is_there else None)
    return _Done(lake.count(ACCOUNTS), found.merges, found.splits)


# What is read


def _scope(ctx: StepContext, stands: Sequence[Judgement], model: Model) -> np.ndarray | None:
    """Hashes of the accounts whose creator may have changed and of all that hangs on them, ascending; None for all accounts."""
    lake = ctx.lake
    if ctx.before is None or lake.is_small(CREATOR_IDS) or lake.version(CREATOR_IDS.name) is None:
        return None
    changed = lake.changed_keys({ACCOUNTS: ctx.before[ACCOUNTS.name]}, ACCOUNT_KEY)
    moved = lake.changed_keys({EDGES: ctx.before[EDGES.name]}, ENDS)
    if changed is None or moved is None or changed.few is None or moved.few is None:
        return None
    judged = pa.array([SEPARATOR.join(account) for one in stands for account in one.accounts], pa.string())
    names = [names_of(changed.few), names_of(ends_of(moved.few)), judged]
    return _closed(np.unique(hash_strings(pa.concat_arrays(names))), _merging(lake, model), _holders(lake))


def _closed(
    scope: np.ndarray, edges: tuple[np.ndarray, np.ndarray], holders: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """The scope with whatever is joined to it, directly or through others.

    Args:
        scope: hashes of accounts, ascending.
        edges: hashes of both ends of the edges that merge.
        holders: hash of the account and of the creator of each row of `CREATOR_IDS`.
    """
    while True:
        ids = np.unique(holders[1][among(holders[0], scope)])
        found = [scope, holders[0][among(holders[1], ids)]]
        found += [edges[1 - side][among(edges[side], scope)] for side in (0, 1)]
        wider = np.unique(np.concatenate(found))
        if len(wider) == len(scope):
            return scope
        scope = wider


def _merging(lake: Lake, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of both ends of the edges that are enough to merge."""
    ends: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for batch in _streamed(lake, EDGES, ENDS, where=f"log_odds >= {model.thresholds.merge}"):
        for side, hashes in zip((0, 2), ends, strict=True):
            hashes.append(_hashes(batch, ENDS[side : side + 2]))
    left, right = (np.concatenate([np.zeros(0, np.uint64), *hashes]) for hashes in ends)
    return left, right


def _holders(lake: Lake) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of account and creator of each row of `CREATOR_IDS`."""
    accounts, creators = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    for batch in _streamed(lake, CREATOR_IDS, (*ACCOUNT_KEY, "creator_id")):
        accounts.append(_hashes(batch, ACCOUNT_KEY))
        creators.append(hash_strings(batch.column("creator_id").combine_chunks()))
    return np.concatenate(accounts), np.concatenate(creators)


def _known(lake: Lake, scope: np.ndarray | None) -> Known:
    """What is known of the accounts of a scope, or of all."""
    accounts = _at(lake, ACCOUNTS, _ACCOUNT, scope, ACCOUNT_KEY)
    edges = _between_living(_at(lake, EDGES, _EDGE, scope, ENDS[:2], ENDS[2:]), accounts, scope)
    ids = _at(lake, CREATOR_IDS, CREATOR_IDS.columns, scope, ACCOUNT_KEY)
    aliases = _at(lake, CREATOR_ALIASES, CREATOR_ALIASES.columns, None)
    return Known(accounts, edges, ids, aliases)


def _between_living(edges: pa.Table, accounts: pa.Table, scope: np.ndarray | None) -> pa.Table:
    """Edges without those at accounts of the scope that are not there any more."""
    living = np.unique(_hashes(accounts, ACCOUNT_KEY))
    for key in (ENDS[:2], ENDS[2:]):
        hashes = _hashes(edges, key)
        gone = ~among(hashes, living) & (True if scope is None else among(hashes, scope))
        edges = edges.filter(pa.array(~gone))
    return edges.combine_chunks()


def _at(
    lake: Lake, spec: TableSpec, columns: Sequence[str], scope: np.ndarray | None, *keys: Sequence[str]
) -> pa.Table:
    """Rows of a table in which one of the accounts named by `keys` is in the scope."""
    schema = spec.arrow_schema()
    found = [pa.schema([schema.field(name).with_nullable(True) for name in columns]).empty_table()]
    for batch in _streamed(lake, spec, columns):
        hits = [among(_hashes(batch, key), scope) for key in keys] if scope is not None else []
        found.append(batch.filter(pa.array(np.logical_or.reduce(hits))) if hits else batch)
    return pa.concat_tables(found).combine_chunks()


def _streamed(lake: Lake, spec: TableSpec, columns: Sequence[str], where: str = "") -> Iterator[pa.Table]:
    return (pa.Table.from_batches([batch]) for batch in lake.stream(spec, columns, where=where))


def _hashes(table: pa.Table, key: Sequence[str]) -> np.ndarray:
    """Hash of the account that two columns name."""
    return hash_strings(names_of(table, key))


# What is written


def _write(lake: Lake, spec: TableSpec, rows: pa.Table, old: pa.Table, *, is_whole: bool = True) -> None:
    """Bring the `old` rows of a table to `rows`, writing only what differs; without a difference nothing is committed."""
    is_there = lake.version(spec.name) is not None
    found = differing(rows, old.cast(rows.schema), key=spec.key) if is_there else None
    if found is None and (is_whole or not is_there):
        lake.replace(spec, lake.spark.createDataFrame(rows))
    elif found is None or found.num_rows:
        looked_at = pa.concat_tables([rows.select(spec.key), old.select(spec.key)]) if found is None else found
        changed = rows if found is None else found.filter(pc.field(KIND) != GONE).select(rows.column_names)
        lake.upsert(spec, frame_of(lake.spark, changed), of=Keys.of_table(lake.spark, looked_at.select(spec.key)))
