"""Invariants of ids under any sequence of inserts, deletes, merges and splits, and of the whole core under any order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.contracts.evidence import Judgement, Kind
from lakehouse.errors import PermanentError
from lakehouse.identity.cluster import Graph, cluster, judge
from lakehouse.identity.engine import Accounts
from lakehouse.identity.ids import ACCOUNT, MEMBER, assign, mint
from lakehouse.identity.judgements import Said, check
from lakehouse.identity.model import default_model
from tests import identity_oracle as oracle
from tests.identity_accounts import resolve, synthetic_people

pytestmark = pytest.mark.properties

ACCOUNTS = [("x", f"{i:02}") for i in range(12)]
SEEN = {account: 1_000 + (i * 7) % 12 for i, account in enumerate(ACCOUNTS)}
PEOPLE = [row for row, _ in synthetic_people(25, seed=5)]

snapshots = st.lists(
    st.dictionaries(st.sampled_from(ACCOUNTS), st.integers(0, 4), min_size=1, max_size=len(ACCOUNTS)),
    min_size=1,
    max_size=6,
)


def step(state, snapshot, order=None):
    """The next assignment in the oracle's form, after checking that it is the oracle's."""
    accounts = list(snapshot) if order is None else [list(snapshot)[i] for i in order]
    old, aliases = (state.members, state.aliases) if state else ([], {})
    labels, seen = np.array([snapshot[a] for a in accounts]), [SEEN[a] for a in accounts]
    found = assign(
        rows_of(MEMBER, [(*row.account, row.first_seen_us, row.creator_id, row.is_anchor) for row in old]),
        aliases,
        rows_of(ACCOUNT, [(*account, us) for account, us in zip(accounts, seen, strict=True)]),
        labels,
    )
    members = [
        oracle.Member(tuple(row[:2]), *row[2:])
        for row in zip(*(column.to_pylist() for column in found.members.columns), strict=True)
    ]
    expected = oracle.assign(old, aliases, accounts, seen, labels)
    members = sorted(members, key=expected.members.index)
    assert oracle.Assignment(members, found.aliases, found.lineage) == expected
    return expected


def rows_of(schema, rows):
    return pa.table({name: [row[at] for row in rows] for at, name in enumerate(schema.names)}, schema=schema)


def ids(state):
    return {member.account: member.creator_id for member in state.members}


def anchors(state):
    return {member.creator_id: member for member in state.members if member.is_anchor}


@settings(max_examples=200, deadline=None)
@given(snapshots)
def test_an_id_only_ever_names_the_cluster_of_its_anchor(history):
    state, owner = None, {}
    for snapshot in history:
        state = step(state, snapshot)
        for creator_id, anchor in anchors(state).items():
            assert owner.setdefault(creator_id, anchor.account) == anchor.account
        assert set(ids(state).values()) == set(anchors(state))
        assert not state.aliases.keys() & set(ids(state).values())


@settings(max_examples=200, deadline=None)
@given(snapshots)
def test_every_id_ever_given_stays_resolvable_in_one_hop(history):
    state, ever = None, set()
    for snapshot in history:
        state = step(state, snapshot)
        ever |= set(ids(state).values())
        live = set(ids(state).values())
        assert all((state.aliases.get(creator_id, creator_id)) in live for creator_id in ever)


@settings(max_examples=100, deadline=None)
@given(snapshots)
def test_ids_follow_the_clusters_and_a_second_run_changes_nothing(history):
    state = None
    for snapshot in history:
        state = step(state, snapshot)
        given_ids = ids(state)
        for a in snapshot:
            for b in snapshot:
                assert (given_ids[a] == given_ids[b]) == (snapshot[a] == snapshot[b])
        again = step(state, snapshot)
        assert (again.members, again.aliases, again.lineage) == (state.members, state.aliases, [])


@settings(max_examples=100, deadline=None)
@given(snapshots, st.randoms(use_true_random=False))
def test_the_order_of_accounts_does_not_matter(history, random):
    state = None
    for snapshot in history:
        order = random.sample(range(len(snapshot)), len(snapshot))
        assert step(state, snapshot, order) == step(state, snapshot)
        state = step(state, snapshot)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(ACCOUNTS), st.integers(0, 4), min_size=2))
def test_a_merge_keeps_the_oldest_id(snapshot):
    before = step(None, snapshot)
    after = step(before, dict.fromkeys(snapshot, 0))
    oldest = min(anchors(before).values(), key=lambda member: member.age)
    assert set(ids(after).values()) == {oldest.creator_id}
    assert set(after.aliases) == set(anchors(before)) - {oldest.creator_id}


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(ACCOUNTS), st.integers(0, 4), min_size=2))
def test_a_split_leaves_the_id_with_the_anchor(snapshot):
    before = step(None, dict.fromkeys(snapshot, 0))
    after = step(before, snapshot)
    (creator_id, anchor), *_ = anchors(before).items()
    with_anchor = {a for a, label in snapshot.items() if label == snapshot[anchor.account]}
    assert {a for a, given_id in ids(after).items() if given_id == creator_id} == with_anchor
    assert {line.reason_code for line in after.lineage} <= {"split"}


def test_a_part_that_splits_off_after_a_merge_does_not_revive_its_alias():
    a, b = ACCOUNTS[0], ACCOUNTS[1]
    apart = {a: 0, b: 1}
    first = step(None, apart)
    merged = step(first, {a: 0, b: 0})
    again = step(merged, apart)
    assert ids(again)[a] == mint(a)
    assert ids(again)[b] == mint(b, 1)
    assert again.aliases == {mint(b): mint(a)}


def test_ids_whose_table_was_lost_come_back_beside_their_aliases():
    a, b = ACCOUNTS[0], ACCOUNTS[1]
    merged = step(step(None, {a: 0, b: 1}), {a: 0, b: 0})
    again = step(replace(merged, members=[]), {a: 0, b: 0})
    assert (ids(again), again.aliases) == (ids(merged), merged.aliases)


def test_a_deleted_anchor_keeps_the_id_of_the_others():
    a, b, c = ACCOUNTS[:3]
    first = step(None, {a: 0, b: 0, c: 1})
    after = step(first, {b: 0, c: 1})
    assert ids(after)[b] == ids(first)[b]
    assert anchors(after)[ids(first)[b]].account == a


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(len(PEOPLE))))
def test_the_partition_does_not_depend_on_the_order_of_rows(order):
    assert resolve([PEOPLE[i] for i in order]).partition == resolve(PEOPLE).partition


NODES = 14
edge_lists = st.lists(
    st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1), st.integers(-40, 80)), min_size=0, max_size=60
)
sayings = st.lists(
    st.tuples(
        st.sampled_from([Kind.LINK, Kind.UNLINK, Kind.FREEZE]),
        st.lists(st.integers(0, NODES - 1), min_size=2, max_size=3, unique=True),
    ),
    max_size=8,
)


def consistent(said):
    """What of some sayings the log takes, in order."""
    stands = []
    for kind, nodes in said:
        accounts = tuple(("x", f"{node:02}") for node in (nodes[:2] if kind is Kind.UNLINK else nodes))
        try:
            check(stands, Said(kind, accounts))
        except PermanentError:
            continue
        stands.append(Judgement(len(stands) + 1, kind, accounts))
    return stands


@settings(max_examples=200, deadline=None)
@given(edge_lists, sayings, st.lists(st.integers(0, 3), min_size=NODES, max_size=NODES))
def test_what_people_decided_holds_whatever_the_scores_say(weighted, said, platforms):
    unique = {(min(a, b), max(a, b)): weight / 4 for a, b, weight in weighted if a != b}
    ends = np.array(sorted(unique), dtype=np.int64).reshape(-1, 2)
    scores = np.array([unique[tuple(pair)] for pair in ends.tolist()], dtype=np.float64)
    accounts = Accounts(pa.array(["x"] * NODES), pa.array([f"{node:02}" for node in range(NODES)]))
    graph = Graph(NODES, ends[:, 0], ends[:, 1], scores, np.array(platforms))
    stands = consistent(said)
    labels = cluster(judge(graph, accounts.judged(stands)), default_model())
    for one in stands:
        nodes = [int(account[1]) for account in one.accounts]
        own = {int(labels[node]) for node in nodes}
        if one.kind is Kind.UNLINK:
            assert len(own) == 2
        else:
            assert len(own) == 1
        if one.kind is Kind.FREEZE:
            assert sorted(np.flatnonzero(labels == own.pop())) == sorted(nodes)
    if not stands:
        assert np.array_equal(labels, cluster(graph, default_model()))
    order = np.random.default_rng(1).permutation(len(scores))
    shuffled = Graph(NODES, ends[order, 0], ends[order, 1], scores[order], np.array(platforms))
    assert np.array_equal(labels, cluster(judge(shuffled, accounts.judged(stands[::-1])), default_model()))
