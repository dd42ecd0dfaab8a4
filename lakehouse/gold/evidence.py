"""Why the accounts of each creator are one, and which others came near: scored pairs and judgements, as they may be shown.

Accounts that are shown nowhere have no row. What is told of a pair's reasons is in `places.py`; how it is scored and who is
joined is decided in `lakehouse/identity`; how it is put into words, by whoever reads the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import StructType

from lakehouse.contracts.evidence import INSIDE_MAX, NEAR_MAX, Account, Judgement, Kind
from lakehouse.contracts.tables import EDGES, GOLD_ACCOUNTS, GOLD_EVIDENCE, LINKS
from lakehouse.gold.accounts import KEY
from lakehouse.gold.places import LINK_COLUMNS, SIDES, SIGNALS, with_signals
from lakehouse.identity.delta import ENDS
from lakehouse.identity.judgements import read, standing
from lakehouse.identity.model import default_model
from lakehouse.ops.derive import write
from lakehouse.ops.steps import Report, StepContext
from lakehouse.storage.keys import Keys, frame_of, kept

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.storage.lake import Lake

LEFT, RIGHT = ENDS[:2], ENDS[2:]
PROFILE = ("creator_id", "handle", "observed_at")
"""What a row says of each end beside its key."""
LOOKED_UP = ("handle_key", "links")
"""What the reasons of a pair are looked up in at each end."""
_READ = (*KEY, *PROFILE, "handle_key")
"""Columns of an account that are read."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What rows are made of: edges, both ends of each among the accounts, and the links of these."""

    edges: DataFrame
    accounts: DataFrame
    links: DataFrame


def build_gold_evidence(ctx: StepContext) -> Report:
    """Bring `gold_creator__evidence` up to date with edges, accounts, links and judgements."""
    stands = standing(read(ctx.lake.objects))
    write(ctx, GOLD_EVIDENCE, lambda keys: evidence(ctx.lake, stands, keys), keys=_touched(ctx))
    near = ctx.lake.count(GOLD_EVIDENCE, where="other_creator_id IS NOT NULL")
    rows = ctx.lake.count(GOLD_EVIDENCE)
    return Report(
        rows_in=ctx.lake.count(EDGES),
        rows_out=rows,
        metadata={"pairs_within_creators": rows - near, "near_misses": near, "judgements": len(stands)},
    )


def evidence(lake: Lake, stands: Sequence[Judgement], keys: Keys | None) -> DataFrame:
    """Rows of `GOLD_EVIDENCE` of some creators, or with None of all."""
    pairs = _with_signals(_with_ends(_sources(lake, _pairs(stands), keys)))
    rows = _by_creator(_with_judgements(pairs, stands))
    merge = F.lit(default_model().thresholds.merge).alias("merge_log_odds")
    kept = _strongest(rows if keys is None else keys.rows_of(rows))
    return kept.select("*", merge).select(*GOLD_EVIDENCE.columns)


# What is read


def _touched(ctx: StepContext) -> Keys | None:
    """Creators whose rows may have changed: those of what changed, and those whose accounts were scored against it."""
    lake, before = ctx.lake, ctx.before
    if before is None or lake.is_small(GOLD_EVIDENCE):
        return None
    states = {spec: before[spec.name] for spec in (EDGES, GOLD_ACCOUNTS, LINKS)}
    accounts = lake.changed_keys({spec: states[spec] for spec in (GOLD_ACCOUNTS, LINKS)}, KEY)
    creators = lake.changed_keys({GOLD_ACCOUNTS: states[GOLD_ACCOUNTS]}, ("creator_id",))
    edges = lake.changed_keys({EDGES: states[EDGES]}, ENDS)
    if accounts is None or creators is None or edges is None:
        return None
    met = changed = accounts.with_keys(_ends(edges))
    for side in (LEFT, RIGHT):
        met = met.with_keys(_ends(lake.keys_at(EDGES, _at(side, changed), ENDS)))
    return creators.with_keys(lake.keys_at(GOLD_ACCOUNTS, met, ("creator_id",)))


def _sources(lake: Lake, judged: Sequence[tuple[Account, Account]], keys: Keys | None) -> Sources:
    """Edges of some creators or of all, with pairs that were judged but never scored."""
    unscored = _unscored(lake, judged)
    if keys is None:
        return Sources(lake.read(EDGES).unionByName(unscored), lake.read(GOLD_ACCOUNTS), lake.read(LINKS))
    own = lake.keys_at(GOLD_ACCOUNTS, keys, KEY)
    left, right = (_at(side, own) for side in (LEFT, RIGHT))
    scored = lake.read_of(EDGES, left).unionByName(left.others_of(lake.read_of(EDGES, right)))
    edges = kept(scored.unionByName(unscored))
    ends = _ends(Keys.of_frame(edges.select(*ENDS)))
    accounts = lake.read_of(GOLD_ACCOUNTS, ends, columns=_READ)
    return Sources(edges, accounts, lake.read_of(LINKS, ends, columns=(*KEY, *LINK_COLUMNS)))


def _at(side: Sequence[str], accounts: Keys) -> Keys:
    """Accounts as keys of the edges that have them at one side."""
    return accounts.renamed(dict(zip(KEY, side, strict=True)))


def _ends(edges: Keys) -> Keys:
    """Accounts at both ends of edges."""
    left, right = (edges.renamed(dict(zip(side, KEY, strict=True))) for side in (LEFT, RIGHT))
    return left.with_keys(right)


def _pairs(stands: Sequence[Judgement]) -> list[tuple[Account, Account]]:
    """Pairs that people decided, each once."""
    return sorted({pair for one in stands for pair in one.pairs()})


def _unscored(lake: Lake, judged: Sequence[tuple[Account, Account]]) -> DataFrame:
    """Judged pairs that have no edge, as edges without a score."""
    schema = pa.schema([field.with_nullable(True) for field in EDGES.arrow_schema()])
    rows = [dict(zip(ENDS, (*left, *right), strict=True)) for left, right in judged]
    table = pa.Table.from_pylist(rows, schema=schema)
    if rows:
        keys = Keys.of_table(lake.spark, table.select(list(ENDS)))
        known = {tuple(row) for row in lake.read_of(EDGES, keys).select(*ENDS).collect()}
        table = pa.Table.from_pylist([row for row in rows if tuple(row.values()) not in known], schema=schema)
    return frame_of(lake.spark, table)


# What a row says


def _with_ends(found: Sources) -> DataFrame:
    """Edges with what is shown of both ends, and what their reasons are looked up in; without those at accounts that are not shown."""
    joined = found.edges.drop("blocking_code")
    links = found.links.groupBy(*KEY).agg(F.collect_list(F.struct(*LINK_COLUMNS)).alias("links"))
    accounts = found.accounts.select(*_READ).join(links, list(KEY), "left")
    for side, columns in zip(SIDES, (LEFT, RIGHT), strict=True):
        named = dict(zip(KEY, columns, strict=True)) | {name: f"{side}_{name}" for name in (*PROFILE, *LOOKED_UP)}
        joined = joined.join(accounts.withColumnsRenamed(named), list(columns))
    return joined


def _with_signals(pairs: DataFrame) -> DataFrame:
    """Pairs with `signals` in place of their reasons and of what these were looked up in."""
    left_out = {"reasons", *[f"{side}_{name}" for side in SIDES for name in LOOKED_UP]}
    columns = [name for name in pairs.columns if name not in left_out]
    schema = StructType([pairs.schema[name] for name in columns]).add("signals", from_arrow_type(SIGNALS))
    return pairs.mapInArrow(partial(with_signals, columns=columns), schema)


def _with_judgements(edges: DataFrame, stands: Sequence[Judgement]) -> DataFrame:
    """Edges with the judgements that say something of the two: such that name both, and what closes one to others."""
    said = "array<struct<number:bigint,kind:string,at:timestamp>>"
    nothing = F.array().cast("array<struct<number:bigint,kind:string,at:timestamp,is_left:boolean,is_right:boolean>>")
    if not stands:
        return edges.withColumn("judgements", nothing)
    names = edges.sparkSession.createDataFrame(
        _said(stands), f"platform string, platform_account_id string, said {said}"
    )
    for side, columns in zip(SIDES, (LEFT, RIGHT), strict=True):
        edges = edges.join(F.broadcast(names.toDF(*columns, f"{side}_said")), list(columns), "left")
    left, right = (F.coalesce(f"{side}_said", F.array().cast(said)) for side in SIDES)
    named = F.transform(
        F.array_sort(F.array_union(left, right)),
        lambda one: F.struct(
            *[one[name].alias(name) for name in ("number", "kind", "at")],
            F.array_contains(left, one).alias("is_left"),
            F.array_contains(right, one).alias("is_right"),
        ),
    )
    told = F.filter(named, lambda one: (one["is_left"] & one["is_right"]) | (one["kind"] == Kind.FREEZE.value))
    return edges.withColumn("judgements", told).drop("left_said", "right_said")


def _said(stands: Sequence[Judgement]) -> list[tuple[str, str, list[tuple[int, str, datetime]]]]:
    """What is said of each account that a judgement names."""
    said: dict[Account, list[tuple[int, str, datetime]]] = {}
    for one in stands:
        for account in one.accounts:
            said.setdefault(account, []).append((one.number, one.kind.value, datetime.fromisoformat(one.at)))
    return [(*account, told) for account, told in sorted(said.items())]


def _by_creator(edges: DataFrame) -> DataFrame:
    """A row for the creator of each end, one where both are the same."""
    left, right = F.col("left_creator_id"), F.col("right_creator_id")
    rows = edges.withColumn("creator_id", F.explode(F.array_distinct(F.array(left, right))))
    other = F.when(left == right, None).when(F.col("creator_id") == left, right).otherwise(left)
    return rows.withColumn("other_creator_id", other)


def _strongest(rows: DataFrame) -> DataFrame:
    """Of each creator so many pairs among its own accounts, and with others."""
    is_inside = F.col("other_creator_id").isNull()
    order = (F.size("judgements").desc(), F.col("log_odds").desc_nulls_last(), *ENDS)
    place = F.row_number().over(Window.partitionBy("creator_id", is_inside).orderBy(*order))
    most = F.when(is_inside, INSIDE_MAX).otherwise(NEAR_MAX)
    return rows.withColumn("_place", place).where(F.col("_place") <= most).drop("_place")
