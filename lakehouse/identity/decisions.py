"""What creator ids follow from, and which they are: clusters, old ids and judgements in, rows of two tables out. Neither Spark nor the lake.

Whatever is closed - no edge that merges, no former creator and no judgement leads out of it - is decided by itself as it is decided within
the whole: a night hands over the part that changed (`creators.py`), a cluster many parts side by side (`spread.py`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.evidence import Judgement
from lakehouse.contracts.tables import CREATOR_ALIASES, CREATOR_IDS
from lakehouse.identity.cluster import Graph, cluster, confidence, judge
from lakehouse.identity.delta import ENDS, ends_of
from lakehouse.identity.engine import Accounts
from lakehouse.identity.ids import ACCOUNT, MEMBER, Assignment, assign, names_of
from lakehouse.identity.model import Model


@dataclass(frozen=True, slots=True)
class Known:
    """What ids follow from: accounts with `first_seen_at`, edges at them, their rows of `CREATOR_IDS`, and aliases of their creators."""

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


def decide(known: Known, stands: Sequence[Judgement], model: Model, given: Container[str] = ()) -> Decided:
    """Creator ids of all accounts, or of a part that is closed (see above).

    Args:
        known: the accounts; edges may end at others, which then get no row.
        stands: judgements that stand.
        model: thresholds of merging.
        given: ids that were given once, besides those in `known`: no account gets one of them again.
    """
    accounts, table = Accounts.of(_with_others(known))
    own = table.column("first_seen_at").is_valid().to_numpy()
    graph = judge(accounts.graph(known.edges), accounts.judged(stands))
    labels = cluster(graph, model)
    before = without_living(known.aliases, known.ids)
    aliases = dict(zip(*(before.column(name).to_pylist() for name in ("alias_id", "creator_id")), strict=True))
    rows = np.flatnonzero(own)
    current = _in_microseconds(table.take(pa.array(rows)), ACCOUNT)
    assigned = assign(_in_microseconds(known.ids, MEMBER), aliases, current, labels[rows], given)
    ids = _id_rows(assigned, rows, graph, labels, model)
    reasons = [line.reason_code for line in assigned.lineage]
    return Decided(ids, _alias_rows(assigned, before), reasons.count("merge"), reasons.count("split"))


def without_living(aliases: pa.Table, ids: pa.Table) -> pa.Table:
    """Aliases without those that are an id of today: a run that was killed before it wrote its ids left them."""
    living = ids.filter(ids.column("is_anchor")).column("creator_id")
    return aliases.filter(pc.invert(pc.is_in(aliases.column("alias_id"), living)))


def _with_others(known: Known) -> pa.Table:
    """The accounts, and without a `first_seen_at` those beyond at which their edges end."""
    own = names_of(known.accounts)
    is_here = [pc.is_in(names_of(known.edges, ends), own) for ends in (ENDS[:2], ENDS[2:])]
    others = ends_of(known.edges.filter(pc.invert(pc.and_(*is_here))))
    others = others.filter(pc.invert(pc.is_in(names_of(others), own)))
    none = pa.nulls(others.num_rows, known.accounts.schema.field("first_seen_at").type)
    return pa.concat_tables([known.accounts, others.append_column("first_seen_at", none)])


def _in_microseconds(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Columns of `MEMBER` or `ACCOUNT`."""
    given = table.append_column("first_seen_us", table.column("first_seen_at").cast(pa.int64()))
    return given.select(schema.names).cast(schema)


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
