"""Evidence says why accounts are one creator's or not, adds up, hides addresses, and follows what changed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lakehouse.contracts.evidence import Kind
from lakehouse.contracts.tables import ACCOUNTS, CREATOR_IDS, EDGES, GOLD_ACCOUNTS, GOLD_EVIDENCE, LINKS
from lakehouse.gold import evidence as step
from lakehouse.gold.evidence import build_gold_evidence
from lakehouse.identity import edges as edges_step
from lakehouse.identity.creators import build_creator_ids
from lakehouse.identity.edges import build_edges
from lakehouse.identity.judgements import Said, record
from lakehouse.identity.model import default_model
from lakehouse.ops.steps import StepContext
from lakehouse.storage.lake import Lake
from tests.identity_accounts import account, synthetic_people
from tests.spark.lakehouse.identity.test_creators import Nights
from tests.spark.lakehouse.identity.test_edges import FIRST, write

pytestmark = pytest.mark.spark
SECRET = "v1:0123456789abcdef"
ANA = account("x", "ana.marmolejo", "Ana Marmolejo", links=["instagram:marmolejo_cooks"], emails=[SECRET])
COOKS = account("instagram", "marmolejo_cooks", "Cooks", links=["x:ana.marmolejo"], emails=[SECRET])
THIRD = account("tiktok", "marmolejo_cooks", "Ana M.")
NEAR = account("youtube", "ana_marmolejos", "Ana Marmolejos", emails=[])
INPUTS = (EDGES, GOLD_ACCOUNTS, LINKS)


def key(row):
    return row["platform"], row["platform_account_id"]


def context(lake, before=None):
    return StepContext(lake, lake.settings, {}, lambda _text: None, before)


def identify(lake, rows, *, without=(), run=None):
    """Edges, ids and the accounts of gold as the steps before leave them."""
    write(lake, rows, first_seen=FIRST)
    _write_emails(lake, rows)
    (run or (lambda: (build_edges(context(lake)), build_creator_ids(context(lake)))))()
    _write_gold(lake, without)


def _write_emails(lake, rows):
    base = dict.fromkeys(LINKS.columns) | {"link_type_code": "email", "evidence_code": "bio", "target_key": SECRET}
    seen = {"first_seen_at": FIRST, "last_seen_at": FIRST + timedelta(days=9), "target_platform": None}
    found = [base | seen | dict(zip(("platform", "platform_account_id"), key(row), strict=True)) for row in rows]
    found = [row | {"link_id": f"{row['platform']}-mail"} for row, of in zip(found, rows, strict=True) if of["emails"]]
    schema = lake.spark_schema(LINKS)
    lake.upsert(LINKS, lake.spark.createDataFrame([tuple(row[f.name] for f in schema) for row in found], schema))


def _write_gold(lake, without):
    creators = {(row.platform, row.platform_account_id): row.creator_id for row in lake.read(CREATOR_IDS).collect()}
    schema = lake.spark_schema(GOLD_ACCOUNTS)
    rows = []
    for silver in lake.read(ACCOUNTS).collect():
        at = silver.platform, silver.platform_account_id
        known = dict.fromkeys(GOLD_ACCOUNTS.columns) | {name: getattr(silver, name, None) for name in ACCOUNTS.columns}
        known |= {"creator_id": creators[at], "handle": silver.handle_key}
        rows += [] if at in without else [tuple(known[field.name] for field in schema)]
    lake.upsert(GOLD_ACCOUNTS, lake.spark.createDataFrame(rows, schema))
    for platform, account_id in without:
        lake.delete_where(GOLD_ACCOUNTS, f"platform = '{platform}' AND platform_account_id = '{account_id}'")


def told(lake, before=None):
    build_gold_evidence(context(lake, before))
    return sorted(lake.read(GOLD_EVIDENCE).collect(), key=lambda row: [row[name] for name in GOLD_EVIDENCE.key])


def between(rows, one, other):
    ends = sorted((key(one), key(other)))
    return [row for row in rows if [(row.left_platform, row.left_id), (row.right_platform, row.right_id)] == ends]


def test_pairs_within_a_creator_and_near_misses_are_told_with_reasons_that_add_up(lake):
    identify(lake, [ANA, COOKS, THIRD, NEAR])
    rows = told(lake)
    (joined,) = between(rows, ANA, COOKS)
    assert joined.other_creator_id is None
    assert joined.log_odds >= joined.merge_log_odds == default_model().thresholds.merge
    assert (joined.left_handle, joined.right_handle) == ("marmolejo_cooks", "ana.marmolejo")
    near = between(rows, ANA, NEAR)
    assert {row.creator_id for row in near} == {row.other_creator_id for row in near}
    assert len(near) == 2
    for row in rows:
        assert sum(signal.log_odds for signal in row.signals) == row.log_odds
        assert row.signals[0].signal == "prior"


def test_links_say_where_and_when_and_addresses_are_hidden(lake):
    identify(lake, [ANA, COOKS, THIRD, NEAR])
    (joined,) = between(told(lake), ANA, COOKS)
    signals = {signal.signal: signal for signal in joined.signals}
    assert (signals["link:mutual"].left.field, signals["link:mutual"].right.field) == ("declared", "declared")
    mail = signals["email:shared"]
    assert (mail.left.value, mail.right.value, mail.left.url) == (None, None, None)
    assert (mail.left.field, mail.left.last_seen_at.date()) == ("bio", (FIRST + timedelta(days=9)).date())
    assert SECRET not in str(told(lake))


def test_accounts_that_are_shown_nowhere_have_no_row(lake):
    identify(lake, [ANA, COOKS, THIRD, NEAR], without=[key(COOKS)])
    rows = told(lake)
    assert between(rows, ANA, COOKS) == []
    assert between(rows, ANA, NEAR)


def test_what_people_decided_is_told_with_and_without_a_score(lake):
    far = account("youtube", "quite_else", "Nobody Like Her")
    record(lake.objects, Said(Kind.UNLINK, (key(COOKS), key(ANA)), by="who", note="a@b.example"))
    record(lake.objects, Said(Kind.LINK, (key(far), key(ANA))))
    record(lake.objects, Said(Kind.FREEZE, (key(THIRD),)))
    identify(lake, [ANA, COOKS, THIRD, far])
    rows = told(lake)
    apart = between(rows, ANA, COOKS)
    assert [[(j.number, j.kind, j.is_left, j.is_right) for j in row.judgements] for row in apart] == [
        [(1, "unlink", True, True)]
    ] * 2
    assert all(row.other_creator_id for row in apart)
    (linked,) = between(rows, ANA, far)
    assert (linked.log_odds, linked.signals, linked.judgements[0].kind) == (None, [], "link")
    closed = between(rows, COOKS, THIRD)
    assert [(j.kind, j.is_left, j.is_right) for j in closed[0].judgements] == [("freeze", False, True)]
    assert "a@b.example" not in str(rows)


def test_the_strongest_near_misses_are_kept(lake, monkeypatch):
    people = [account("x", f"ana.marmolejo{n}", "Ana Marmolejo") for n in range(4)]
    monkeypatch.setattr(step, "NEAR_MAX", 1)
    identify(lake, [NEAR, *people])
    rows = told(lake)
    of = [row for row in rows if row.other_creator_id]
    assert len({row.creator_id for row in of}) == len(of) > 1
    monkeypatch.setattr(step, "NEAR_MAX", 99)
    every = [row for row in told(lake) if row.other_creator_id]
    for row in of:
        assert row.log_odds == max(other.log_odds for other in every if other.creator_id == row.creator_id)


@pytest.mark.proof
def test_a_night_ends_where_a_full_computation_ends(lake, monkeypatch):
    lake = Lake(lake.settings.model_copy(update={"small_table_mib": 0}))
    monkeypatch.setattr(edges_step, "DRAWN_ANEW", 1)
    nights, rows = Nights(lake), [row for row, _ in synthetic_people(40, seed=9)]
    identify(lake, [*rows[:80], ANA, NEAR], run=nights.run)
    first = told(lake)
    before, version = {spec.name: lake.state(spec.name) for spec in INPUTS}, lake.version(GOLD_EVIDENCE.name)
    assert told(lake, before) == first
    renamed = rows[2] | {"handle_key": "somebody_else_now", "display_name": "Somebody Else"}
    identify(lake, [*rows[80:83], COOKS, renamed], without=[key(rows[5])], run=nights.run)
    keys = step._touched(context(lake, before))
    creators = {row.creator_id for row in lake.read(CREATOR_IDS).collect()}
    assert keys is not None
    assert 0 < keys.count < len(creators)
    night = told(lake, before)
    assert night == told(lake)
    lake.replace(GOLD_EVIDENCE, lake.read(GOLD_EVIDENCE, version=version))
    for module in ("keys", "lake"):
        monkeypatch.setattr(f"lakehouse.storage.{module}.FEW", 1)
    many = step._touched(context(lake, before))
    assert (many.few, many.count) == (None, keys.count)
    assert told(lake, before) == night != first
