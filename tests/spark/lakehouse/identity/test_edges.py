"""Identity in the lake: the steps agree with the core, ids survive re-runs and new files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lakehouse.contracts.tables import ACCOUNTS, CREATOR_ALIASES, CREATOR_IDS, EDGES, LINKS
from lakehouse.identity.creators import build_creator_ids
from lakehouse.identity.edges import build_edges, key_accounts, owned_of, raw_accounts, told_by_parts
from lakehouse.identity.engine import count_all, prepare_all
from lakehouse.identity.model import default_model
from lakehouse.identity.mutual import links_of, owned
from lakehouse.identity.pairs import telling_pairs
from lakehouse.ops.steps import StepContext
from tests.identity_accounts import account, raw, resolve, synthetic_people

pytestmark = pytest.mark.spark
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_DIRECT = (
    "platform",
    "platform_account_id",
    "handle_key",
    "display_name",
    "bio",
    "country_code",
    "language_code",
    "followers_count",
)


def write(lake, rows, *, first_seen):
    lake.upsert(
        ACCOUNTS, lake.spark.createDataFrame([_account(row, first_seen) for row in rows], lake.spark_schema(ACCOUNTS))
    )
    links = [_link(row, place, link) for row in rows for place, link in enumerate(row["links"])]
    lake.upsert(LINKS, lake.spark.createDataFrame(links, lake.spark_schema(LINKS)))


def _account(row, first_seen):
    columns = dict.fromkeys(ACCOUNTS.columns) | {name: row[name] for name in _DIRECT}
    columns |= {"website_domain": next(iter(row["domains"]), None), "email_hashes": row["emails"]}
    columns |= {"first_seen_at": first_seen, "observed_at": first_seen}
    return tuple(columns[name] for name in ACCOUNTS.columns)


def _link(row, place, link):
    platform, key = link["target"].split(":", 1)
    columns = dict.fromkeys(LINKS.columns) | {name: row[name] for name in ("platform", "platform_account_id")}
    columns |= {"link_id": f"{row['platform']}{row['platform_account_id']}{place}", "link_type_code": "account"}
    columns |= {"target_platform": platform, "target_key": key, "evidence_code": link["evidence"]}
    return tuple(columns[name] for name in LINKS.columns)


def run(lake, settings):
    ctx = StepContext(lake, settings, {}, lambda _text: None)
    return build_edges(ctx), build_creator_ids(ctx)


def creator_ids(lake):
    return {(row.platform, row.platform_account_id): row.creator_id for row in lake.read(CREATOR_IDS).collect()}


def test_steps_agree_with_the_core_and_a_second_run_changes_nothing(lake, settings):
    rows = [row for row, _ in synthetic_people(60, seed=8)]
    rows += [account("x", "a1", "Anna One", links=["tiktok:b1"], id="1"), account("tiktok", "a1", "Anna One", id="3")]
    rows += [account("tiktok", "b1", "Anna One", links=["x:a1"], id="2")]
    write(lake, rows, first_seen=FIRST)
    edges, ids = run(lake, settings)
    expected = resolve(rows)
    assert edges.rows_out == expected.edges.num_rows
    scores = {
        tuple(sorted(((e.left_platform, e.left_id), (e.right_platform, e.right_id)))): e.log_odds
        for e in lake.read(EDGES).collect()
    }
    for edge in expected.edges.to_pylist():
        assert (
            scores[(edge["left_platform"], edge["left_id"]), (edge["right_platform"], edge["right_id"])]
            == edge["log_odds"]
        )
    groups = {}
    for key, creator_id in creator_ids(lake).items():
        groups.setdefault(creator_id, set()).add(key)
    assert {frozenset(group) for group in groups.values()} == expected.partition
    assert ids.metadata["creators"] == len(groups)

    tells_alike(lake, raw(rows))

    before, version = creator_ids(lake), lake.version(CREATOR_IDS.name)
    again = run(lake, settings)
    assert creator_ids(lake) == before
    assert (again[1].metadata["merges"], again[1].metadata["splits"]) == (0, 0)
    assert lake.version(CREATOR_IDS.name) == version


def tells_alike(lake, table):
    """Links and pairs tell the steps what they tell the core."""
    model = default_model()
    frame, counts = raw_accounts(lake.read(ACCOUNTS), lake.read(LINKS), model), count_all(table, model)
    shared = lake.spark.sparkContext.broadcast((counts.keys, counts.uses, counts.accounts))
    keyed = key_accounts(frame, shared, model, 2, only_shared=True)
    known = owned_of(frame, counts.accounts, 2)
    assert known.tolist() == owned(links_of(table, table.num_rows)).tolist() != []
    told = told_by_parts(keyed.where("part >= 0"), 2, model, known)
    expected = telling_pairs(prepare_all(table, counts, model), model, known)
    assert told.sort_by("digest").to_pylist() == expected.sort_by("digest").to_pylist()
    assert sum(told.column("is_known").to_pylist()) == 1


def test_a_new_file_keeps_old_ids_and_a_merge_leaves_an_alias(lake, settings):
    old, other = account("x", "jane.doe.art"), account("instagram", "completely_else", "Jane Doe Art")
    write(lake, [old, other], first_seen=FIRST)
    run(lake, settings)
    before = creator_ids(lake)
    assert len(set(before.values())) == 2
    link = account("tiktok", "janedoeart", "Jane Doe Art", links=["x:jane.doe.art", "instagram:completely_else"])
    write(lake, [link, account("youtube", "stranger")], first_seen=FIRST + timedelta(days=1))
    run(lake, settings)
    after = creator_ids(lake)
    assert len({after[row["platform"], row["platform_account_id"]] for row in (old, other, link)}) == 1
    assert after["x", "@jane.doe.art"] in before.values()
    aliases = {row.alias_id: row.creator_id for row in lake.read(CREATOR_ALIASES).collect()}
    assert aliases.keys() | {after["x", "@jane.doe.art"]} == set(before.values())
    assert set(aliases.values()) == {after["x", "@jane.doe.art"]}


def test_an_empty_lake_is_fine(lake, settings):
    edges, ids = run(lake, settings)
    assert (edges.rows_out, ids.rows_out) == (0, 0)
