"""Creator ids of more accounts than one process holds: Spark finds what hangs together, and each part is decided in a task of its own.

What hangs together by edges that merge, by a former creator or by a judgement is closed (`decisions.py`), so parts of whole components
are decided apart as they are decided at once. Nodes are hashes of accounts: two accounts of one hash only put two components into
one part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import LongType, StructField, StructType

from lakehouse.contracts.evidence import Judgement
from lakehouse.contracts.tables import ACCOUNTS, CREATOR_ALIASES, CREATOR_IDS, EDGES
from lakehouse.identity.components import Links, both_ways, large_star, links, small_star
from lakehouse.identity.decisions import Decided, Known, decide, without_living
from lakehouse.identity.delta import ENDS
from lakehouse.identity.hashing import hash_strings
from lakehouse.identity.ids import SEPARATOR, names_of
from lakehouse.identity.model import Model
from lakehouse.identity.packing import pack, unpack
from lakehouse.ops.derive import ACCOUNT_KEY
from lakehouse.storage.keys import frame_of, kept

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lakehouse.storage.lake import Lake

Batches = Iterator[pa.RecordBatch]

PART_ACCOUNTS = 200_000
"""Accounts decided at once: a task takes about 0.2 GB for them."""
PART_LINKS = 1_000_000
"""Links of nodes that a task looks at at once, 16 bytes each and a few times that to sort them."""
_ACCOUNT, _EDGE, _ID = range(3)
"""What a row of a part is."""
_LINK = "larger long, smaller long, moved boolean"
_MADE = "kind string, body binary"
_IDS, _ALIASES, _COUNTS = "ids", "aliases", "counts"


@dataclass(frozen=True, slots=True)
class Spread:
    """Rows of `CREATOR_IDS`, with Spark, and of `CREATOR_ALIASES`; how many ids were merged and split."""

    ids: DataFrame
    aliases: pa.Table
    merges: int
    splits: int


def decide_spread(
    lake: Lake, aliases: pa.Table, stands: Sequence[Judgement], model: Model, *, part_accounts: int = PART_ACCOUNTS
) -> Spread:
    """Creator ids of all accounts of a lake, as `decisions.decide` gives them.

    Args:
        lake: accounts, edges and former ids are its tables.
        aliases: all rows of `CREATOR_ALIASES`.
        stands: judgements that stand.
        model: thresholds of merging.
        part_accounts: accounts decided at once.

    Raises:
        PythonException: an edge that merges leaves a part; the result would be silently wrong.
    """
    accounts = _named(lake.read(ACCOUNTS).select(*ACCOUNT_KEY, "first_seen_at"), node=ACCOUNT_KEY)
    edges = _named(lake.read(EDGES).select(*ENDS, "log_odds"), left=ENDS[:2], right=ENDS[2:])
    former = lake.read(CREATOR_IDS).select(*ACCOUNT_KEY, "first_seen_at", "creator_id", "is_anchor")
    ids = _named(former, node=ACCOUNT_KEY)
    shared = _shuffles(lake, lake.count(EDGES) + lake.count(CREATOR_IDS), PART_LINKS)
    labels = connected(_pairs(lake, edges, ids, stands, model), shared)
    parts = _shuffles(lake, lake.count(ACCOUNTS), part_accounts)
    rows = _rows(accounts, edges, ids, labels, parts)
    standing = _standing(lake, aliases.cast(CREATOR_ALIASES.arrow_schema()))
    made = kept(_decided(rows, standing, stands, model, parts))
    fresh = _tables(made, _ALIASES, CREATOR_ALIASES.arrow_schema())
    unmoved = standing.filter(pc.invert(pc.is_in(standing.column("alias_id"), fresh.column("alias_id"))))
    counts = _tables(made, _COUNTS, pa.schema([("merges", pa.int64()), ("splits", pa.int64())]))
    return Spread(
        made.where(F.col("kind") == _IDS).mapInArrow(_unpacked, from_arrow_schema(CREATOR_IDS.arrow_schema())),
        pa.concat_tables([fresh, unmoved]).sort_by("alias_id").combine_chunks(),
        *(pc.sum(counts.column(name)).as_py() or 0 for name in ("merges", "splits")),
    )


def connected(pairs: DataFrame, shuffles: int) -> DataFrame:
    """Smallest node of the component of every node that is not it: columns `larger`, that node, and `smaller`, the smallest.

    Args:
        pairs: two columns of nodes (long), an edge each, in any direction and any number of times.
        shuffles: into how many parts a shuffle splits the nodes.
    """
    edges = pairs.mapInArrow(_linked, _LINK)
    is_done = False
    while not is_done:
        ends = edges.mapInArrow(_both_ways, "node long, other long")
        large = _by_node(ends, "node", shuffles).mapInArrow(_large_star, _LINK)
        edges = kept(_by_node(large, "larger", shuffles).mapInArrow(_small_star, _LINK))
        is_done = edges.where("moved").isEmpty()
    return edges.select("larger", "smaller")


# What hangs together


def _pairs(lake: Lake, edges: DataFrame, ids: DataFrame, stands: Sequence[Judgement], model: Model) -> DataFrame:
    """Accounts that have to be decided together, two and two, by their nodes."""
    merging = edges.where(F.col("log_odds") >= model.thresholds.merge).select("left", "right")
    held = ids.select("node", F.min("node").over(Window.partitionBy("creator_id")).alias("first"))
    names = [
        [SEPARATOR.join(account) for account in (one.accounts[0], other)] for one in stands for other in one.accounts
    ]
    columns = [pa.array([pair[side] for pair in names], pa.string()) for side in (0, 1)]
    judged = pa.table({name: _nodes(column) for name, column in zip(("left", "right"), columns, strict=True)})
    return merging.union(held.where("node <> first")).union(frame_of(lake.spark, judged))


def _by_node(df: DataFrame, node: str, shuffles: int) -> DataFrame:
    return df.repartitionById(shuffles, F.pmod(node, F.lit(shuffles)).cast("int"))


def _linked(batches: Batches) -> Batches:
    return (_batch(links(*_columns(batch))) for batch in batches)


def _both_ways(batches: Batches) -> Batches:
    for batch in batches:
        node, other = both_ways(Links(*_columns(batch)))
        yield pa.RecordBatch.from_pydict({"node": node, "other": other})


def _large_star(batches: Batches) -> Batches:
    yield _batch(large_star(*_whole(batches, pa.schema([("node", pa.int64()), ("other", pa.int64())]))))


def _small_star(batches: Batches) -> Batches:
    given = pa.schema([("larger", pa.int64()), ("smaller", pa.int64()), ("moved", pa.bool_())])
    yield _batch(small_star(Links(*_whole(batches, given))))


def _whole(batches: Batches, schema: pa.Schema) -> list[np.ndarray]:
    """Columns of all batches."""
    tables = [pa.Table.from_batches([batch]).cast(schema) for batch in batches]
    return [column.to_numpy() for column in pa.concat_tables([schema.empty_table(), *tables]).columns]


def _columns(batch: pa.RecordBatch) -> list[np.ndarray]:
    return [column.to_numpy(zero_copy_only=False) for column in batch.columns]


def _batch(edges: Links) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(edges._asdict())


# Parts


def _rows(accounts: DataFrame, edges: DataFrame, ids: DataFrame, labels: DataFrame, parts: int) -> DataFrame:
    """All that each part is decided from: `part`, `kind` and the columns of its kind. Edges at accounts that are gone are left out."""
    labelled = labels.select(F.col("larger").alias("node"), "smaller")
    part = F.pmod(F.coalesce("smaller", "node"), F.lit(parts)).cast("int").alias("part")
    own = accounts.join(labelled, "node", "left").select(part, _kind(_ACCOUNT), "node", *ACCOUNT_KEY, "first_seen_at")
    held = ids.join(labelled, "node", "left").select(
        part, _kind(_ID), *ACCOUNT_KEY, "first_seen_at", "creator_id", "is_anchor"
    )
    homes = own.groupBy("node").agg(F.min("part").alias("home"))
    here = homes.select(F.col("node").alias("left"), F.col("home").alias("here"))
    there = homes.select(F.col("node").alias("right"), F.col("home").alias("there"))
    placed = edges.join(here, on="left", how="inner").join(there, on="right", how="inner")
    at = F.explode(F.array_distinct(F.array("here", "there"))).alias("part")
    return (
        own.drop("node")
        .unionByName(placed.select(at, _kind(_EDGE), *ENDS, "log_odds"), allowMissingColumns=True)
        .unionByName(held, allowMissingColumns=True)
    )


def _kind(kind: int) -> Column:
    return F.lit(kind).alias("kind")


def _decided(rows: DataFrame, aliases: pa.Table, stands: Sequence[Judgement], model: Model, parts: int) -> DataFrame:
    """What becomes of each part, packed: `kind`, `body`."""
    shared = rows.sparkSession.sparkContext.broadcast(pack(aliases))

    def run(batches: Batches) -> Batches:
        tables = [pa.Table.from_batches([batch]) for batch in batches]
        if tables:
            standing = unpack(shared.value)
            given = frozenset(standing.column("alias_id").to_pylist())
            whole = pa.concat_tables(tables)
            for part in pc.unique(whole.column("part")):
                known = _known(whole.filter(pc.equal(whole.column("part"), part)), standing)
                _check(known, model)
                yield from _packed(decide(known, stands, model, given))

    return rows.repartitionById(parts, F.col("part")).mapInArrow(run, _MADE)


def _known(rows: pa.Table, aliases: pa.Table) -> Known:
    """What is known of one part."""
    columns: Mapping[int, Sequence[str]] = {
        _ACCOUNT: (*ACCOUNT_KEY, "first_seen_at"),
        _EDGE: (*ENDS, "log_odds"),
        _ID: (*ACCOUNT_KEY, "first_seen_at", "creator_id", "is_anchor"),
    }
    accounts, edges, ids = (
        _nullable(rows.filter(pc.equal(rows.column("kind"), kind)).select(list(names)))
        for kind, names in columns.items()
    )
    return Known(accounts, edges, ids, aliases.filter(pc.is_in(aliases.column("creator_id"), ids.column("creator_id"))))


def _nullable(table: pa.Table) -> pa.Table:
    """The table without promises about nulls, which depend on what Spark made of the plan."""
    return table.cast(pa.schema([field.with_nullable(True) for field in table.schema])).combine_chunks()


def _check(known: Known, model: Model) -> None:
    merging = known.edges.filter(pc.field("log_odds") >= model.thresholds.merge)
    own = names_of(known.accounts)
    if not all(pc.all(pc.is_in(names_of(merging, ends), own), min_count=0).as_py() for ends in (ENDS[:2], ENDS[2:])):
        message = "connected components lost an edge"
        raise AssertionError(message)


def _packed(decided: Decided) -> Iterator[pa.RecordBatch]:
    counts = pa.table({"merges": [decided.merges], "splits": [decided.splits]})
    for kind, table in ((_IDS, decided.ids), (_ALIASES, decided.aliases), (_COUNTS, counts)):
        yield pa.RecordBatch.from_pydict({"kind": [kind], "body": pa.array([pack(table)], pa.binary())})


def _unpacked(batches: Batches) -> Batches:
    for batch in batches:
        for body in batch.column("body"):
            yield from unpack(body.as_buffer()).to_batches()


def _tables(made: DataFrame, kind: str, schema: pa.Schema) -> pa.Table:
    """All tables of a kind as one, in this process."""
    bodies = made.where(F.col("kind") == kind).select("body").toArrow().column("body")
    return pa.concat_tables([schema.empty_table(), *(unpack(body.as_buffer()) for body in bodies)])


def _standing(lake: Lake, aliases: pa.Table) -> pa.Table:
    """`decisions.without_living`, of ids that stay with Spark."""
    if not aliases.num_rows:
        return aliases
    named = lake.read(CREATOR_ALIASES).select(F.col("alias_id").alias("creator_id"))
    found = lake.read(CREATOR_IDS).where("is_anchor").join(named, "creator_id", "left_semi")
    return without_living(aliases, found.select("creator_id", "is_anchor").toArrow())


# Small helpers


def _named(df: DataFrame, **keys: Sequence[str]) -> DataFrame:
    """The frame with a column more for each key: the node of the account that its two columns name."""

    def run(batches: Batches) -> Batches:
        for batch in batches:
            table = pa.Table.from_batches([batch])
            for name, key in keys.items():
                table = table.append_column(name, _nodes(names_of(table, key)))
            yield from table.to_batches()

    return df.mapInArrow(run, StructType([*df.schema, *(StructField(name, LongType()) for name in keys)]))


def _nodes(names: pa.Array) -> pa.Array:
    return pa.array(hash_strings(names).view(np.int64))


def _shuffles(lake: Lake, rows: int, at_once: int) -> int:
    return max(-(-rows // at_once), lake.settings.shuffle_partitions)
