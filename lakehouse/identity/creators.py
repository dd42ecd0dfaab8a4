"""Step: edges, old ids and judgements -> `silver_identity__creator_ids` and `..._aliases`.

A night looks only at accounts that changed, at what is joined to them by edges that merge, and at whom they shared an id with: that
is closed, so that what comes out for it is what comes out for the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.evidence import Judgement
from lakehouse.contracts.tables import ACCOUNTS, CREATOR_ALIASES, CREATOR_IDS, EDGES
from lakehouse.identity.cluster import Graph, cluster, confidence, judge
from lakehouse.identity.delta import ENDS, ends_of
from lakehouse.identity.engine import Accounts
from lakehouse.identity.hashing import among, hash_strings
from lakehouse.identity.ids import ACCOUNT, MEMBER, SEPARATOR, Assignment, assign, names_of
from lakehouse.identity.judgements import read as read_judgements
from lakehouse.identity.judgements import standing
from lakehouse.identity.model import Model, default_model
from lakehouse.ops.derive import ACCOUNT_KEY
from lakehouse.ops.steps import Report, StepContext
from lakehouse.storage.keys import Keys, frame_of
from lakehouse.storage.picking import GONE, KIND, differing

if TYPE_CHECKING:
    from lakehouse.contracts.tables import TableSpec
    from lakehouse.storage.lake import Lake

_ACCOUNT = (*ACCOUNT_KEY, "first_seen_at")
_EDGE = (*ENDS, "log_odds")


@dataclass(frozen=True, slots=True)
class Known:
    """What ids follow from: accounts with `first_seen_at`, edges at them, their rows of `CREATOR_IDS`, and all aliases."""

    accounts: pa.Table
    edges: pa.Table
    ids: pa.Table
    aliases: pa.Table


@dataclass(frozen=True, slots=True)
class Decided:
    """Rows of `CREATOR_IDS` and `CREATOR_ALIASES`, and how many ids were merged and split."""

    ids: pa.Table
    aliases: pa.Table
    merges: int
    splits: int


def build_creator_ids(ctx: StepContext) -> Report:
    """Cluster the edges as people's judgements leave them, and give every account its creator id; old ids are kept.

    Aliases are written before ids: after a kill in between, the next run finds the same merges again.

    Returns:
        Accounts and rows; metadata counts creators, merges, splits, and accounts that were looked at.
    """
    model, lake = default_model(), ctx.lake
    stands = standing(read_judgements(lake.objects))
    scope = _scope(ctx, stands, model)
    known = _known(lake, scope)
    decided = decide(known, stands, model)
    _write(lake, CREATOR_ALIASES, decided.aliases, known.aliases)
    _write(lake, CREATOR_IDS, decided.ids, known.ids, is_whole=scope is None)
    rows = lake.count(CREATOR_IDS)
    creators = lake.count(CREATOR_IDS, where="is_anchor")
    accounts = lake.count(ACCOUNTS)
    ctx.log(f"{creators:,} creators of {accounts:,} accounts, {known.accounts.num_rows:,} of them looked at")
    changes = {"creators": creators, "merges": decided.merges, "splits": decided.splits, "judgements": len(stands)}
    return Report(rows_in=accounts, rows_out=rows, metadata=changes | {"accounts_looked_at": known.accounts.num_rows})


def decide(known: Known, stands: Sequence[Judgement], model: Model) -> Decided:
    """Creator ids of all accounts, or of a part that is closed (see above).

    Args:
        known: the accounts; edges may end at others, which then get no row.
        stands: judgements that stand.
        model: thresholds of merging.
    """
    accounts, table = Accounts.of(_with_others(known))
    own = table.column("first_seen_at").is_valid().to_numpy()
    graph = judge(accounts.graph(known.edges), accounts.judged(stands))
    labels = cluster(graph, model)
    aliases = dict(zip(*(known.aliases.column(name).to_pylist() for name in ("alias_id", "creator_id")), strict=True))
    rows = np.flatnonzero(own)
    current = _in_microseconds(table.take(pa.array(rows)), ACCOUNT)
    assigned = assign(_in_microseconds(known.ids, MEMBER), aliases, current, labels[rows])
    ids = _id_rows(assigned, rows, graph, labels, model)
    reasons = [line.reason_code for line in assigned.lineage]
    return Decided(ids, _alias_rows(assigned, known.aliases), reasons.count("merge"), reasons.count("split"))


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


def _with_others(known: Known) -> pa.Table:
    """The accounts, and without a `first_seen_at` those beyond at which their edges end."""
    beyond = ends_of(known.edges)
    others = beyond.filter(pc.invert(pc.is_in(names_of(beyond), names_of(known.accounts))))
    none = pa.nulls(others.num_rows, known.accounts.schema.field("first_seen_at").type)
    return pa.concat_tables([known.accounts, others.append_column("first_seen_at", none)])


def _in_microseconds(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Columns of `MEMBER` or `ACCOUNT`."""
    given = table.append_column("first_seen_us", table.column("first_seen_at").cast(pa.int64()))
    return given.select(schema.names).cast(schema)


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


def _id_rows(assigned: Assignment, rows: np.ndarray, graph: Graph, labels: np.ndarray, model: Model) -> pa.Table:
    """Rows of `CREATOR_IDS`; tombstones have confidence 0.

    Args:
        assigned: members, those of `rows` first and in that order, then tombstones.
        rows: nodes that are accounts of the scope.
        graph: all edges at them.
        labels: cluster of each node.
        model: thresholds and the constant of accounts that are alone.
    """
    members = assigned.members
    is_anchor = members.column("is_anchor").to_numpy()
    anchors = _anchor_nodes(labels, rows, is_anchor[: len(rows)])
    certain = np.zeros(members.num_rows)
    certain[: len(rows)] = confidence(graph, labels, anchors, model)[rows]
    creator = members.column("creator_id").combine_chunks().dictionary_encode().indices.to_numpy()
    sizes = np.bincount(creator[: len(rows)], minlength=int(creator.max(initial=-1)) + 1)[creator]
    schema = CREATOR_IDS.arrow_schema()
    columns: Mapping[str, pa.Array] = {
        "confidence_score": pa.array(certain),
        "cluster_size_count": pa.array(sizes, pa.int64()),
        "first_seen_at": members.column("first_seen_us").combine_chunks().cast(schema.field("first_seen_at").type),
        "model_version": pa.array(np.full(members.num_rows, model.version), pa.string()),
    }
    given = [columns[name] if name in columns else members.column(name) for name in schema.names]
    return pa.Table.from_arrays(given, schema=schema)


def _anchor_nodes(labels: np.ndarray, rows: np.ndarray, is_anchor: np.ndarray) -> np.ndarray:
    """Node of each cluster's anchor; where the anchor is a tombstone or beyond the scope, the first node."""
    distinct, first = np.unique(labels, return_index=True)
    anchors = rows[is_anchor]
    first[np.searchsorted(distinct, labels[anchors])] = anchors
    return np.asarray(first, dtype=np.int64)


def _alias_rows(assigned: Assignment, old: pa.Table) -> pa.Table:
    """Rows of `CREATOR_ALIASES`; an alias keeps the time it was made, that of its creator's newest account then."""
    made = dict(zip(old.column("alias_id").to_pylist(), old.column("last_seen_at").to_pylist(), strict=True))
    schema, aliases = CREATOR_ALIASES.arrow_schema(), sorted(assigned.aliases.items())
    fresh = pa.array([creator_id for alias, creator_id in aliases if alias not in made], pa.string())
    theirs = assigned.members.filter(pc.is_in(assigned.members.column("creator_id"), fresh))
    newest = theirs.group_by("creator_id").aggregate([("first_seen_us", "max")])
    when = newest.column("first_seen_us_max").cast(schema.field("last_seen_at").type).to_pylist()
    seen = dict(zip(newest.column("creator_id").to_pylist(), when, strict=True))
    columns = {
        "alias_id": [alias for alias, _ in aliases],
        "creator_id": [creator_id for _, creator_id in aliases],
        "alias_reason_code": ["merge"] * len(aliases),
        "last_seen_at": [made.get(alias) or seen.get(creator_id) for alias, creator_id in aliases],
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
