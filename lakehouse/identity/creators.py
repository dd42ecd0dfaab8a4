"""Step: edges, old ids and judgements -> `silver_identity__creator_ids` and `..._aliases`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.tables import ACCOUNTS, CREATOR_ALIASES, CREATOR_IDS, EDGES
from lakehouse.identity.cluster import Graph, cluster, confidence, judge
from lakehouse.identity.engine import Accounts
from lakehouse.identity.ids import Assignment, Member, assign
from lakehouse.identity.judgements import read as read_judgements
from lakehouse.identity.judgements import standing
from lakehouse.identity.model import Model, default_model
from lakehouse.ops.steps import Report, StepContext
from lakehouse.storage.keys import Keys, frame_of
from lakehouse.storage.picking import GONE, KIND, differing

if TYPE_CHECKING:
    from lakehouse.contracts.tables import TableSpec
    from lakehouse.storage.lake import Lake

_KEY = ("platform", "platform_account_id")
_EDGE_ENDS = ("left_platform", "left_id", "right_platform", "right_id", "log_odds")


def build_creator_ids(ctx: StepContext) -> Report:
    """Cluster the edges as people's judgements leave them, and give every account its creator id; old ids are kept.

    Aliases are written before ids: after a kill in between, the next run finds the same merges again.

    Returns:
        Accounts read and rows written; metadata counts creators, merges and splits.
    """
    model = default_model()
    accounts, table = Accounts.of(ctx.lake.read(ACCOUNTS).select(*_KEY, "first_seen_at").toArrow())
    stands = standing(read_judgements(ctx.lake.objects))
    scored = accounts.graph(ctx.lake.read(EDGES).select(*_EDGE_ENDS).toArrow())
    graph = judge(scored, accounts.judged(stands))
    labels = cluster(graph, model)
    old_ids, old_aliases = (ctx.lake.read(spec).toArrow() for spec in (CREATOR_IDS, CREATOR_ALIASES))
    keys = list(zip(accounts.platforms.to_pylist(), accounts.ids.to_pylist(), strict=True))
    seen = table.column("first_seen_at").cast(pa.int64()).to_pylist()
    current = dict(
        zip(old_aliases.column("alias_id").to_pylist(), old_aliases.column("creator_id").to_pylist(), strict=True)
    )
    assigned = assign(_members(old_ids), current, keys, seen, labels)
    rows = _id_table(assigned, keys, graph, labels, model)
    aliases = _alias_table(assigned, old_aliases, newest=max(seen, default=0))
    _write(ctx.lake, CREATOR_ALIASES, aliases, old_aliases)
    _write(ctx.lake, CREATOR_IDS, rows, old_ids)
    reasons = [line.reason_code for line in assigned.lineage]
    creators = len(rows.column("creator_id").unique())
    ctx.log(f"{creators:,} creators of {len(keys):,} accounts")
    changes = {"creators": creators, "merges": reasons.count("merge"), "splits": reasons.count("split")}
    changes["judgements"] = len(stands)
    return Report(rows_in=len(keys), rows_out=rows.num_rows, metadata=changes)


def _write(lake: Lake, spec: TableSpec, rows: pa.Table, old: pa.Table) -> None:
    """Make the table hold `rows`, writing only what is not in `old`; without a difference nothing is committed."""
    found = differing(rows, old.cast(rows.schema), key=spec.key) if lake.version(spec.name) is not None else None
    if found is None:
        lake.replace(spec, lake.spark.createDataFrame(rows))
    elif found.num_rows:
        changed = found.filter(pc.field(KIND) != GONE).select(rows.column_names)
        keys = Keys.of_frame(frame_of(lake.spark, found.select(spec.key)))
        lake.upsert(spec, frame_of(lake.spark, changed), of=keys)


def _members(table: pa.Table) -> list[Member]:
    names = ("platform", "platform_account_id", "creator_id", "is_anchor")
    seen = table.column("first_seen_at").cast(pa.int64()).to_pylist()
    columns = zip(*(table.column(name).to_pylist() for name in names), seen, strict=True)
    return [Member((platform, key), us, creator_id, anchor) for platform, key, creator_id, anchor, us in columns]


def _id_table(
    assigned: Assignment, keys: list[tuple[str, str]], graph: Graph, labels: np.ndarray, model: Model
) -> pa.Table:
    """Rows of `CREATOR_IDS`; tombstones have confidence 0."""
    node_of = {key: node for node, key in enumerate(keys)}
    certain = confidence(graph, labels, _anchor_nodes(assigned, node_of, labels), model)
    sizes: dict[str, int] = {}
    for member in assigned.members:
        sizes[member.creator_id] = sizes.get(member.creator_id, 0) + (member.account in node_of)
    schema, members = CREATOR_IDS.arrow_schema(), assigned.members
    columns = {
        "platform": [member.account[0] for member in members],
        "platform_account_id": [member.account[1] for member in members],
        "creator_id": [member.creator_id for member in members],
        "confidence_score": [
            float(certain[node_of[member.account]]) if member.account in node_of else 0.0 for member in members
        ],
        "cluster_size_count": [sizes[member.creator_id] for member in members],
        "is_anchor": [member.is_anchor for member in members],
        "first_seen_at": [member.first_seen_us for member in members],
        "model_version": [model.version] * len(members),
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _anchor_nodes(assigned: Assignment, node_of: dict[tuple[str, str], int], labels: np.ndarray) -> np.ndarray:
    """Node of each cluster's anchor; where the anchor is a tombstone, of the oldest account."""
    anchors: dict[int, int] = {}
    for member in assigned.members:
        node = node_of.get(member.account)
        if node is not None and (member.is_anchor or int(labels[node]) not in anchors):
            anchors[int(labels[node])] = node
    return np.fromiter(anchors.values(), dtype=np.int64, count=len(anchors))


def _alias_table(assigned: Assignment, old: pa.Table, *, newest: int) -> pa.Table:
    """Rows of `CREATOR_ALIASES`; an alias keeps the time it was made, that of the newest account then."""
    made = dict(
        zip(old.column("alias_id").to_pylist(), old.column("last_seen_at").cast(pa.int64()).to_pylist(), strict=True)
    )
    schema, aliases = CREATOR_ALIASES.arrow_schema(), sorted(assigned.aliases.items())
    columns = {
        "alias_id": [alias for alias, _ in aliases],
        "creator_id": [creator_id for _, creator_id in aliases],
        "alias_reason_code": ["merge"] * len(aliases),
        "last_seen_at": [made.get(alias, newest) for alias, _ in aliases],
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
