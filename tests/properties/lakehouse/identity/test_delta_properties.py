"""Edges that follow changes are those of a computation from nothing with the same counts, after any history."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.contracts.tables import EDGES
from lakehouse.identity.delta import changed, changed_pairs, ends_of, ordered, score_pairs
from lakehouse.identity.engine import count_all, find_edges, prepare_all
from lakehouse.identity.ids import names_of
from lakehouse.identity.model import default_model
from lakehouse.identity.pairs import INDEX
from tests.identity_accounts import account, raw, synthetic_people

pytestmark = pytest.mark.properties

MODEL = default_model()
ENDS = ("left_platform", "left_id", "right_platform", "right_id")


def crowd(count):
    """Accounts of one name and one site: keys that outgrow whatever share they had."""
    return [
        account("x", f"thegamer{at:03}", "The Gamer", domains=["agency.com"], id=f"g{at:03}") for at in range(count)
    ]


POOL = [row for row, _ in synthetic_people(30, seed=8)] + crowd(60)
COUNTS = count_all(raw(POOL[:70]), MODEL)


def key(row):
    return row["platform"], row["platform_account_id"]


class Followed:
    """Index and edges that follow a set of accounts."""

    def __init__(self):
        self.rows = {}
        self.index = INDEX.empty_table()
        self.edges = {}

    def go_to(self, rows):
        """Bring index and edges to the accounts of `rows`."""
        touched = {name for name in {*self.rows, *rows} if self.rows.get(name) != rows.get(name)}
        new = prepare_all(raw([rows[name] for name in sorted(touched) if name in rows]), COUNTS, MODEL).select(
            INDEX.names
        )
        is_touched = pa.array(
            [tuple(name.split("\0")) in touched for name in names_of(self.index).to_pylist()], pa.bool_()
        )
        what = changed(self.index.filter(is_touched), new)
        pairs = changed_pairs(lambda: [self.index], what, rows_max=10**6)
        gone = set(what.names.to_pylist())
        parted = {tuple(row.values()) for row in ordered(pairs.parted).to_pylist()}
        self.edges = {
            ends: edge
            for ends, edge in self.edges.items()
            if ends not in parted and not {"\0".join(ends[:2]), "\0".join(ends[2:])} & gone
        }
        needed = [rows[end["platform"], end["platform_account_id"]] for end in ends_of(pairs.to_score).to_pylist()]
        for part in score_pairs(raw(needed), pairs.to_score, COUNTS, MODEL):
            self.edges |= by_ends(part)
        kept = self.index.filter(pa.array([name not in gone for name in names_of(self.index).to_pylist()], pa.bool_()))
        self.index, self.rows = pa.concat_tables([kept, what.new]), rows


def by_ends(edges):
    return {tuple(edge[name] for name in ENDS): edge for edge in edges.to_pylist()}


def from_nothing(rows):
    found = find_edges(raw(list(rows.values())), MODEL, COUNTS) if rows else []
    return by_ends(pa.concat_tables([EDGES.arrow_schema().empty_table(), *found]))


def edited(row, chance):
    """The account with another name, other followers, another handle, or without its links."""
    kind = chance.randrange(4)
    if kind == 0:
        return row | {"display_name": "The Gamer"}
    if kind == 1:
        return row | {"followers_count": 10 ** chance.randrange(7)}
    if kind == 2:
        return row | {"handle_key": chance.choice(POOL)["handle_key"]}
    return row | {"links": [], "emails": []}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 6))
def test_after_any_history_edges_are_those_of_a_computation_from_nothing(seed, steps):
    chance = random.Random(seed)
    followed, rows = Followed(), {}
    for _ in range(steps):
        rows = {name: row for name, row in rows.items() if chance.random() > 0.1}
        rows |= {key(row): row for row in chance.sample(POOL, chance.choice([1, 5, 40]))}
        rows |= {name: edited(row, chance) for name, row in rows.items() if chance.random() < 0.1}
        followed.go_to(dict(rows))
        assert followed.edges == from_nothing(rows)


def test_a_pair_comes_back_when_what_stood_between_goes():
    """Under a key that outgrew its share the neighbours change though they themselves do not."""
    rows = {key(row): row for row in crowd(60)}
    followed = Followed()
    followed.go_to(rows)
    before = set(followed.edges)
    fewer = {name: row for at, (name, row) in enumerate(rows.items()) if at % 2}
    followed.go_to(fewer)
    assert set(followed.edges) - before
    followed.go_to(rows)
    assert set(followed.edges) == before


def test_followers_that_stay_in_their_order_of_magnitude_change_nothing():
    row = account("x", "someone", "Some One", followers_count=10_000)
    digests = [
        prepare_all(raw([row | {"followers_count": count}]), COUNTS, MODEL).column("node_digest")[0].as_py()
        for count in (10_000, 10_900, 99_000)
    ]
    assert digests[0] == digests[1] != digests[2]


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(40)))
def test_the_order_of_arrival_does_not_matter(order):
    followed, rows = Followed(), {}
    for start in range(0, 40, 10):
        rows |= {key(POOL[-at]): POOL[-at] for at in order[start : start + 10]}
        followed.go_to(dict(rows))
    assert followed.edges == from_nothing(rows)
    assert np.unique(names_of(followed.index).to_pylist()).size == len(rows)
