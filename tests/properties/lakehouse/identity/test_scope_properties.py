"""What is decided for a closed part of the accounts is what is decided for all of them, after any history."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.contracts.evidence import Judgement, Kind
from lakehouse.contracts.tables import CREATOR_ALIASES, CREATOR_IDS
from lakehouse.identity.creators import _closed
from lakehouse.identity.decisions import Known, decide
from lakehouse.identity.hashing import hash_strings
from lakehouse.identity.ids import SEPARATOR
from lakehouse.identity.model import default_model

pytestmark = pytest.mark.properties

MODEL = default_model()
ACCOUNTS = [(("x", "tiktok")[at % 2], f"{at:02}") for at in range(16)]
SEEN = {account: datetime(2026, 1, 1 + at * 7 % 16, tzinfo=UTC) for at, account in enumerate(ACCOUNTS)}
STANDS = [Judgement(1, Kind.UNLINK, (ACCOUNTS[0], ACCOUNTS[1])), Judgement(2, Kind.LINK, (ACCOUNTS[2], ACCOUNTS[9]))]
JUDGED = {account for one in STANDS for account in one.accounts}
IDS, ALIASES = CREATOR_IDS.arrow_schema().empty_table(), CREATOR_ALIASES.arrow_schema().empty_table()


def known(accounts, edges, ids, aliases):
    """`Known` of some accounts and the edges at them."""
    rows = [(*account, SEEN[account]) for account in sorted(accounts)]
    ends = [(*left, *right, odds) for (left, right), odds in edges.items() if {left, right} & set(accounts)]
    texts, when = pa.string(), pa.timestamp("us", tz="UTC")
    return Known(
        table(rows, {"platform": texts, "platform_account_id": texts, "first_seen_at": when}),
        table(
            ends,
            dict.fromkeys(("left_platform", "left_id", "right_platform", "right_id"), texts)
            | {"log_odds": pa.float64()},
        ),
        ids,
        aliases,
    )


def table(rows, types):
    return pa.table({name: pa.array([row[at] for row in rows], kind) for at, (name, kind) in enumerate(types.items())})


def hashes(accounts):
    return hash_strings(pa.array([SEPARATOR.join(account) for account in accounts], pa.string()))


def scope_of(touched, edges, ids):
    """Accounts of the closure."""
    strong = [pair for pair, odds in edges.items() if odds >= MODEL.thresholds.merge]
    holders = [(row["platform"], row["platform_account_id"]) for row in ids.to_pylist()]
    found = _closed(
        np.unique(hashes(touched)),
        (hashes([left for left, _ in strong]), hashes([right for _, right in strong])),
        (hashes(holders), hash_strings(ids.column("creator_id").combine_chunks())),
    )
    return {account for account, one in zip(ACCOUNTS, hashes(ACCOUNTS), strict=True) if one in found}


def part_of(ids, accounts, *, inside):
    chosen = [((row["platform"], row["platform_account_id"]) in accounts) == inside for row in ids.to_pylist()]
    return ids.filter(pa.array(chosen, pa.bool_()))


def by_account(ids):
    return {(row["platform"], row["platform_account_id"]): row for row in ids.to_pylist()}


def later(chance, accounts, edges):
    """Accounts and edges after some came, went or were scored anew."""
    accounts = (accounts | set(chance.sample(ACCOUNTS, 3))) - set(chance.sample(ACCOUNTS, chance.choice([0, 1, 3])))
    edges = {pair: odds for pair, odds in edges.items() if set(pair) <= accounts and chance.random() > 0.15}
    here = sorted(accounts)
    for _ in range(4 if len(here) > 1 else 0):
        edges[tuple(sorted(chance.sample(here, 2)))] = chance.choice([-5.0, 1.0, 5.0, 9.0])
    return accounts, edges


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 6))
def test_a_closed_part_is_decided_as_the_whole(seed, steps):
    chance = random.Random(seed)
    accounts, edges, ids, aliases = set(), {}, IDS, ALIASES
    for _ in range(steps):
        after, scored = later(chance, accounts, edges)
        moved = {end for pair in {*edges, *scored} if edges.get(pair) != scored.get(pair) for end in pair}
        whole = decide(known(after, scored, ids, aliases), STANDS, MODEL)
        scope = scope_of((accounts ^ after) | moved | JUDGED, scored, ids)
        part = decide(known(after & scope, scored, part_of(ids, scope, inside=True), aliases), STANDS, MODEL)
        assert by_account(part.ids) | by_account(part_of(ids, scope, inside=False)) == by_account(whole.ids)
        assert part.aliases.equals(whole.aliases)
        assert (part.merges, part.splits) == (whole.merges, whole.splits)
        accounts, edges, ids, aliases = after, scored, whole.ids, whole.aliases


def test_the_closure_stops_at_edges_that_do_not_merge():
    a, b, c, d = ACCOUNTS[:4]
    edges = {(a, b): 9.0, (b, c): 1.0, (c, d): 9.0}
    assert scope_of({a}, edges, IDS) == {a, b}
    ids = decide(known({a, c}, {(a, c): 9.0}, IDS, ALIASES), [], MODEL).ids
    assert scope_of({a}, edges, ids) == {a, b, c, d}


def test_an_alias_is_as_old_as_the_newest_account_of_its_creator():
    a, b = ACCOUNTS[0], ACCOUNTS[1]
    apart = decide(known({a, b}, {}, IDS, ALIASES), [], MODEL)
    found = decide(known({a, b}, {(a, b): 9.0}, apart.ids, apart.aliases), [], MODEL)
    assert found.aliases.column("last_seen_at").to_pylist() == [max(SEEN[a], SEEN[b])]
    assert max(SEEN[a], SEEN[b]) - min(SEEN[a], SEEN[b]) >= timedelta(days=1)


def test_an_alias_that_a_killed_run_left_of_an_id_that_lives_goes():
    a, b = ACCOUNTS[0], ACCOUNTS[3]
    apart = decide(known({a, b}, {}, IDS, ALIASES), [], MODEL)
    joined = decide(known({a, b}, {(a, b): 9.0}, apart.ids, apart.aliases), [], MODEL)
    assert joined.aliases.num_rows == 1
    after = decide(known({a, b}, {(a, b): 1.0}, apart.ids, joined.aliases), [], MODEL)  # ids were not written
    assert after.aliases.num_rows == 0
    assert by_account(after.ids)[a]["creator_id"] == by_account(apart.ids)[a]["creator_id"]
    assert (after.merges, after.splits) == (0, 0)
