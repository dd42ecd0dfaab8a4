"""Creator ids decided part by part in Spark: those that one process decides, through merges, splits, losses and judgements."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import pairwise

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from pyspark.errors import PythonException

from lakehouse.contracts.evidence import Kind
from lakehouse.contracts.tables import ACCOUNTS, CREATOR_ALIASES, CREATOR_IDS, EDGES
from lakehouse.identity import creators as creators_step
from lakehouse.identity import spread
from lakehouse.identity.creators import _known as known_of
from lakehouse.identity.creators import build_creator_ids
from lakehouse.identity.decisions import decide
from lakehouse.identity.judgements import Said, read, record, standing
from lakehouse.identity.model import default_model
from lakehouse.identity.spread import connected, decide_spread
from lakehouse.ops.steps import StepContext
from tests.spark.lakehouse.identity.test_edges import FIRST

pytestmark = pytest.mark.spark
MODEL = default_model()
PLATFORMS = ("instagram", "tiktok", "x", "youtube")
ACCOUNTS_COUNT = 160


class World:
    """Accounts and edges that change by chance, in a lake."""

    def __init__(self, lake, seed):
        self.lake, self.chance = lake, random.Random(seed)
        self.accounts, self.edges = set(), {}

    def change(self):
        """Accounts come and go, edges come, go and are scored anew."""
        every = [(self.chance.choice(PLATFORMS), f"{at:04}") for at in range(ACCOUNTS_COUNT)]
        self.accounts |= set(self.chance.sample(every, 90))
        gone = self.chance.sample(sorted(self.accounts), 8)
        self.accounts -= set(gone)
        self.edges = {pair: odds for pair, odds in self.edges.items() if self.chance.random() > 0.2}
        for _ in range(len(self.accounts) // 3):
            pair = tuple(sorted(self.chance.sample(sorted(self.accounts), 2)))
            self.edges[pair] = self.chance.choice([-5.0, 1.0, 3.0, 9.0]) + self.chance.randrange(64) / 64
        self._write()

    def _write(self):
        accounts = [
            self._row(ACCOUNTS, platform=platform, platform_account_id=name, first_seen_at=seen(name))
            for platform, name in sorted(self.accounts)
        ]
        edges = [
            self._row(EDGES, left_platform=left[0], left_id=left[1], right_platform=right[0], right_id=right[1])
            | {"log_odds": odds}
            for (left, right), odds in sorted(self.edges.items())
        ]
        for spec, rows in ((ACCOUNTS, accounts), (EDGES, edges)):
            values = [tuple(row[name] for name in spec.columns) for row in rows]
            self.lake.replace(spec, self.lake.spark.createDataFrame(values, self.lake.spark_schema(spec)))

    @staticmethod
    def _row(spec, **given):
        """A row with something of the right kind in every required column."""
        schema = spec.arrow_schema()
        blank = {name: _blank(schema.field(name).type) for name in spec.required}
        return dict.fromkeys(spec.columns) | blank | given

    def build(self):
        return build_creator_ids(StepContext(self.lake, self.lake.settings, {}, lambda _: None)).metadata


def _blank(kind):
    if pa.types.is_timestamp(kind):
        return FIRST
    if pa.types.is_list(kind):
        return []
    return {pa.string(): "", pa.bool_(): False}.get(kind, 0.0 if pa.types.is_floating(kind) else 0)


def seen(name):
    return FIRST + timedelta(days=int(name) * 37 % ACCOUNTS_COUNT)


def both(lake):
    """What is decided at once and part by part of the lake as it is: rows of ids and aliases, and counts."""
    stands = standing(read(lake.objects))
    known = known_of(lake, None)
    whole = decide(known, stands, MODEL)
    parts = decide_spread(lake, known.aliases, stands, MODEL, part_accounts=30)
    return [
        (ordered(ids, CREATOR_IDS), ordered(found.aliases, CREATOR_ALIASES), found.merges, found.splits)
        for found, ids in ((whole, whole.ids), (parts, parts.ids.toArrow()))
    ]


def ordered(table, spec):
    schema = spec.arrow_schema()
    return table.select(schema.names).cast(schema).sort_by([(name, "ascending") for name in spec.key]).to_pylist()


KINDS = (Kind.LINK, Kind.FREEZE, Kind.UNLINK)


def strangers(lake, world, count):
    """Pairs of accounts that nothing but a judgement joins, each in components of its own."""
    creators = {(row.platform, row.platform_account_id): row.creator_id for row in lake.read(CREATOR_IDS).collect()}
    strong = [pair for pair, odds in world.edges.items() if odds >= MODEL.thresholds.merge]
    graph = nx.Graph(strong)
    graph.add_nodes_from(world.accounts)
    graph.add_edges_from((account, creators[account]) for account in world.accounts if account in creators)
    first = [sorted(part & world.accounts)[0] for part in nx.connected_components(graph) if part & world.accounts]
    chosen = world.chance.sample(sorted(first), 2 * count)
    return list(zip(chosen[::2], chosen[1::2], strict=True))


@pytest.mark.proof
def test_parts_are_decided_as_the_whole_through_a_history(lake):
    world, merges, splits = World(lake, 5), 0, 0
    for night in range(3):
        world.change()
        if night == 1:
            for kind, (first, second) in zip(KINDS, strangers(lake, world, len(KINDS)), strict=True):
                record(lake.objects, Said(kind, (first, second)))
        whole, parts = both(lake)
        assert parts == whole
        merges, splits = merges + whole[2], splits + whole[3]
        world.build()
    assert min(merges, splits, len(whole[1])) > 5
    assert max(row["cluster_size_count"] for row in whole[0]) < len(world.accounts) / 4


@pytest.mark.proof
def test_a_lake_of_many_accounts_is_decided_in_parts_and_a_quiet_night_writes_nothing(lake, monkeypatch):
    world = World(lake, 6)
    world.change()
    world.build()
    world.change()
    expected = both(lake)[0]
    monkeypatch.setattr(creators_step, "HELD_ROWS", 0)
    made = world.build()
    assert (made["merges"], made["splits"]) == expected[2:]
    assert ordered(lake.read(CREATOR_IDS).toArrow(), CREATOR_IDS) == expected[0]
    assert ordered(lake.read(CREATOR_ALIASES).toArrow(), CREATOR_ALIASES) == expected[1]
    versions = [lake.version(spec.name) for spec in (CREATOR_IDS, CREATOR_ALIASES)]
    assert world.build()["accounts_looked_at"] == len(world.accounts)
    assert [lake.version(spec.name) for spec in (CREATOR_IDS, CREATOR_ALIASES)] == versions


@pytest.mark.proof
def test_what_a_killed_run_left_of_its_aliases_is_decided_alike(lake):
    world = World(lake, 7)
    world.change()
    world.build()
    world.change()
    ids = lake.read(CREATOR_IDS).toArrow()
    world.build()
    lake.replace(CREATOR_IDS, lake.spark.createDataFrame(ids))  # aliases are written, ids are not
    world.change()
    whole, parts = both(lake)
    assert parts == whole


def test_the_first_run_of_an_empty_lake_is_fine(lake, settings, monkeypatch):
    monkeypatch.setattr(creators_step, "HELD_ROWS", -1)
    report = build_creator_ids(StepContext(lake, settings, {}, lambda _text: None))
    assert (report.rows_in, report.rows_out) == (0, 0)


def test_accounts_without_any_edge_are_decided(lake):
    world = World(lake, 9)
    world.change()
    world.edges = {}
    world._write()
    whole, parts = both(lake)
    assert parts == whole
    assert len(whole[0]) == len(world.accounts)


def test_a_lost_component_fails_the_step(lake, monkeypatch):
    World(lake, 8).change()
    monkeypatch.setattr(spread, "connected", lambda pairs, _: pairs.limit(0).toDF("larger", "smaller"))
    with pytest.raises(PythonException, match="lost an edge"):
        decide_spread(lake, CREATOR_ALIASES.arrow_schema().empty_table(), [], MODEL, part_accounts=30)


@pytest.mark.parametrize("count", [0, 400])
def test_components_of_spark_are_those_of_networkx(lake, count):
    draw = np.random.default_rng(count)
    names = draw.integers(-(2**63), 2**63, 600)
    pairs = [tuple(int(names[at]) for at in ends) for ends in draw.integers(0, 600, (count, 2))]
    chain = [(int(left), int(right)) for left, right in pairwise(names[:81])] if count else []
    found = connected(lake.spark.createDataFrame(pairs + chain, "left long, right long"), 3).collect()
    assert len({row.larger for row in found}) == len(found)
    parts = [part for part in nx.connected_components(nx.Graph(pairs + chain)) if len(part) > 1]
    assert {row.larger: row.smaller for row in found} == {
        node: min(part) for part in parts for node in part if node != min(part)
    }
