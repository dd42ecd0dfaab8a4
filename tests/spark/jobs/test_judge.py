"""Judgements from the command line reach the ids of the next run, and leave them when they are taken back."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from jobs import explain, judge
from lakehouse.contracts.tables import ACCOUNTS, CREATOR_ALIASES, CREATOR_IDS, LINKS
from lakehouse.errors import NotFoundError, PermanentError
from lakehouse.identity.creators import build_creator_ids
from lakehouse.identity.edges import build_edges
from lakehouse.ops.steps import StepContext

pytestmark = pytest.mark.spark
SEEN = datetime(2026, 1, 1, tzinfo=UTC)
GIVEN = [
    ("x", "11", "one", 1),
    ("instagram", "22", "another", 2),
    ("tiktok", "@third", "third", 3),
    ("tiktok", "33", "third", 4),
]


@pytest.fixture
def lake_of_strangers(lake, settings, monkeypatch):
    rows = []
    for platform, account_id, handle, day in GIVEN:
        row = dict.fromkeys(ACCOUNTS.columns) | {"platform": platform, "platform_account_id": account_id}
        row |= {
            "handle_key": handle,
            "display_name": handle,
            "first_seen_at": SEEN.replace(day=day),
            "observed_at": SEEN,
        }
        rows.append(row | {"source_codes": ["s"], "observations_count": 1, "batch_seq": 1})
    values = [tuple(row[name] for name in ACCOUNTS.columns) for row in rows]
    lake.replace(ACCOUNTS, lake.spark.createDataFrame(values, lake.spark_schema(ACCOUNTS)))
    lake.replace(LINKS, lake.spark.createDataFrame([], lake.spark_schema(LINKS)))
    for command in (explain, judge):
        monkeypatch.setattr(command, "load_settings", lambda: lake.settings)
    ctx = StepContext(lake, settings, {}, lambda _text: None)
    build_edges(ctx)
    return lambda: (build_creator_ids(ctx), ids(lake))[1]


def ids(lake):
    return {row.platform_account_id: row.creator_id for row in lake.read(CREATOR_IDS).collect()}


def test_a_link_joins_an_undo_parts_and_ids_stay(lake, lake_of_strangers, capsys) -> None:
    before = lake_of_strangers()
    assert before["11"] != before["22"]
    assert before["@third"] == before["33"]
    judge.judge("link", ["x:@one", "instagram:22"], by="ana", note="the same interview")
    joined = lake_of_strangers()
    assert joined["11"] == joined["22"] == before["11"]
    aliases = {row.alias_id: row.creator_id for row in lake.read(CREATOR_ALIASES).collect()}
    assert aliases == {before["22"]: before["11"]}
    judge.judge("undo", ["1"])
    parted = lake_of_strangers()
    assert parted["11"] == before["11"] != parted["22"]
    judge.listed(with_all=True)
    assert "Judgement 1: link x:11, instagram:22 | ana | " in capsys.readouterr().out


def test_a_frozen_creator_stays_as_it_is(lake_of_strangers) -> None:
    before = lake_of_strangers()
    judge.judge("unlink", ["tiktok:@third", "x:11"])  # the handle names the account with an id
    judge.judge("freeze", [before["11"]])
    assert lake_of_strangers() == before
    with pytest.raises(PermanentError, match="judgement 2: freeze"):
        judge.judge("link", ["x:11", "instagram:22"])


def test_subjects_that_name_nobody_are_refused(lake_of_strangers) -> None:
    lake_of_strangers()
    for subjects in (["x:@nobody", "x:11"], ["c_nobody"]):
        with pytest.raises(NotFoundError, match="This lake has no"):
            judge.judge("link", subjects)
    with pytest.raises(PermanentError, match="neither platform:id"):
        judge.judge("link", ["facebook:11", "x:11"])
    with pytest.raises(PermanentError, match="needs the number"):
        judge.judge("undo", ["first"])


def test_why_is_told_in_words_and_as_json(lake_of_strangers, capsys) -> None:
    before = lake_of_strangers()
    explain.tell([before["33"]])
    told = capsys.readouterr().out
    assert "tiktok:33 and tiktok:@third: one creator. Their score of" in told
    assert "one account, known by its handle alone elsewhere (third)" in told
    explain.tell(["x:11", "instagram:22"], is_json=True)
    body = json.loads(capsys.readouterr().out)
    assert (body["left"], body["right"], body["are_one"]) == ("x:11", "instagram:22", False)
    assert "not compared" in body["why"]
    with pytest.raises(PermanentError, match="Name two accounts"):
        explain.tell([before["11"]])
