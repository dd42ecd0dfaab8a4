"""On which platforms somebody's account is known: links both ways, by handle or by id, whole or in batches, of all or of a sample."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.identity import mutual
from lakehouse.identity.mutual import links_of, owned, owners
from tests.identity_accounts import account, raw


def owners_of(*pairs):
    """Digests of accounts and platforms."""
    columns = [
        [row["platform"] for row, _ in pairs],
        [row["platform_account_id"] for row, _ in pairs],
        [platform for _, platform in pairs],
    ]
    return np.unique(owners(*(pa.array(column, pa.string()) for column in columns)))


def found(*rows):
    table = raw(list(rows))
    return owned(links_of(table, table.num_rows)).tolist()


X, TIKTOK = account("x", "bluelark", id="1"), account("tiktok", "janedoe", id="2")


def linking(row, *targets, evidence="bio"):
    return row | {"links": [{"target": target, "evidence": evidence} for target in targets]}


@pytest.mark.parametrize("there", ["tiktok:janedoe", "tiktok:2"])
@pytest.mark.parametrize("back", ["x:bluelark", "x:1"])
def test_links_both_ways_are_found_by_handle_and_by_id(there, back):
    rows = linking(X, "youtube:else", there), linking(TIKTOK, back)
    assert found(*rows) == owners_of((X, "tiktok"), (TIKTOK, "x")).tolist()


@pytest.mark.parametrize(
    "rows",
    [
        (linking(X, "tiktok:janedoe"), TIKTOK),
        (linking(X, "tiktok:janedoe"), linking(TIKTOK, "x:else")),
        (linking(X, "tiktok:janedoe"), linking(TIKTOK, "x:bluelark", evidence="post")),
        (linking(X, "x:other"), linking(account("x", "other", id="9"), "x:bluelark")),
        (linking(account("x", None, id="~jane"), "tiktok:janedoe"), linking(TIKTOK, "x:")),
        (linking(X, None), linking(TIKTOK, "x:bluelark")),
        (X, TIKTOK),
    ],
)
def test_else_nothing_is_known(rows):
    assert found(*rows) == []


def world(count, seed=3):
    draw = np.random.default_rng(seed)
    rows = [account(("x", "tiktok", "youtube")[at % 3], f"h{at}", id=f"i{at}") for at in range(count)]
    for number, row in enumerate(rows):
        to = [(number + apart) % count for apart in draw.choice([-2, -1, 1, 2, 3], draw.integers(0, 4), replace=False)]
        named = [f"{rows[at]['platform']}:{rows[at][('handle_key', 'platform_account_id')[at % 2]]}" for at in to]
        row["links"] = [{"target": name, "evidence": ("bio", "declared", "post")[draw.integers(3)]} for name in named]
    return rows


def test_it_is_what_looking_up_every_account_finds_in_any_batches():
    rows = world(60)
    by_name = {f"{row['platform']}:{row[name]}": row for row in rows for name in ("handle_key", "platform_account_id")}
    names = {id(row): {name for name, of in by_name.items() if of is row} for row in rows}
    expected = []
    for row in rows:
        for link in row["links"]:
            other = by_name[link["target"]]
            back = {one["target"] for one in other["links"] if one["evidence"] != "post"}
            if link["evidence"] != "post" and other["platform"] != row["platform"] and back & names[id(row)]:
                expected.append((row, other["platform"]))
    assert expected
    parts = [links_of(raw(rows[at : at + 7]), len(rows)) for at in range(0, len(rows), 7)]
    for linked in (links_of(raw(rows), len(rows)), pa.concat_tables(parts[::-1])):
        assert owned(linked).tolist() == owners_of(*expected).tolist()


def test_of_very_many_accounts_some_pairs_are_looked_at_whole(monkeypatch):
    rows = world(2_000)
    whole = set(owned(links_of(raw(rows), len(rows))).tolist())
    monkeypatch.setattr(mutual, "ACCOUNTS_MAX", len(rows) // 2)
    some = owned(links_of(raw(rows), len(rows))).tolist()
    assert set(some) < whole
    assert 0.3 * len(whole) < len(some) < 0.7 * len(whole)
