"""The evidence over HTTP: why accounts are one creator's or not, reasons that add up, snapshots without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from serving_factories import (
    ago,
    build,
    document,
    evidence_row,
    judged,
    profile,
    serving_settings,
    signal,
    word_encoder,
)
from starlette.testclient import TestClient

from index_build.publish import publish
from lakehouse.contracts.evidence import NEAR_MAX
from lakehouse.storage.objects import ObjectStore
from serving.app import create_app
from serving.evidence import NO_EVIDENCE, ONLY_STRONGEST

INSTAGRAM, TIKTOK, YOUTUBE, X = ("instagram", "ana"), ("tiktok", "ana.tok"), ("youtube", "annie"), ("x", "ana_fans")
LONE, FROZEN = ("x", "lone"), ("x", "frozen")
PRIOR = signal("prior", -9.5)
LINKED = signal(
    "link:mutual", 14.0, "x:a", "x:b", field="bio", url="https://x.com/a", first_seen_at=ago(9), last_seen_at=ago(1)
)
NAMED = signal("handle:exact", 15.25, "ana", "ana")


def pair(creator: str, left: Any, right: Any, *signals: Any, **more: Any) -> dict[str, Any]:
    return evidence_row(creator, left, right, PRIOR, *signals, **more)


def rows() -> list[dict[str, Any]]:
    weak = signal("name:partial", 8.0, "Ana", "Annie")
    near = [
        pair(one, INSTAGRAM, X, NAMED, other_creator_id=other)
        for one, other in (("c_ana", "c_fans"), ("c_fans", "c_ana"))
    ]
    parted = judged(7, "unlink")
    apart = [
        evidence_row(one, TIKTOK, X, other_creator_id=other, judgements=[parted])
        for one, other in (("c_ana", "c_fans"), ("c_fans", "c_ana"))
    ]
    closed = judged(9, "freeze", is_left=False)
    full = [
        pair(f"c_{name}", (name, name), ("youtube", f"far{number}"), weak, other_creator_id="c_far")
        for name in ("full", "more")
        for number in range(NEAR_MAX)
    ]
    frozen = [
        pair(
            "c_lone",
            FROZEN,
            LONE,
            NAMED,
            other_creator_id="c_frozen",
            judgements=[closed | {"is_left": True, "is_right": False}],
        )
    ]
    inside = [
        pair("c_ana", INSTAGRAM, TIKTOK, LINKED),
        pair("c_ana", INSTAGRAM, YOUTUBE, weak),
        evidence_row("c_ana", TIKTOK, YOUTUBE, judgements=[judged(3, "link")]),
    ]
    return [*inside, *near, *apart, *frozen, *full]


def people() -> list[dict[str, Any]]:
    own = [profile(*key) for key in (INSTAGRAM, TIKTOK, YOUTUBE)]
    others = {"c_fans": X, "c_lone": LONE, "c_frozen": FROZEN, "c_full": ("full", "full"), "c_more": ("more", "more")}
    return [document("c_ana", *own), *(document(creator, profile(*key)) for creator, key in others.items())]


def served(folder: Path, home: Path, **sides: Any) -> FastAPI:
    settings = serving_settings(home)
    publish(ObjectStore.open(settings.lake), build(folder, people(), **sides))
    app = create_app(settings, encoder=word_encoder())
    app.state.service.holder.refresh()
    return app


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app = served(
        tmp_path_factory.mktemp("told"), tmp_path_factory.mktemp("home"), evidence=rows(), aliases={"c_was": "c_ana"}
    )
    with TestClient(app) as opened:
        yield opened


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with TestClient(served(tmp_path_factory.mktemp("bare"), tmp_path_factory.mktemp("home"))) as opened:
        yield opened


def why(client: TestClient, left: Any, right: Any) -> dict[str, Any]:
    answer = client.get("/v1/evidence", params={"left": "/".join(left), "right": "/".join(right)})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_creators_edges_come_with_reasons_that_add_up(client: TestClient) -> None:
    answer = client.get("/v1/creators/c_was/evidence")
    body = answer.json()
    assert answer.headers["Content-Location"] == "/v1/creators/c_ana/evidence"
    assert (body["creator_id"], body["requested_id"], body["is_alias"], body["is_available"]) == (
        "c_ana",
        "c_was",
        True,
        True,
    )
    assert {node["platform"] for node in body["accounts"]} == {"instagram", "tiktok", "youtube"}
    assert [edge["is_joining"] for edge in body["edges"]] == [True, True, False]
    assert all(not edge["is_joining"] for edge in body["near_misses"])
    for edge in [*body["edges"], *body["near_misses"]]:
        assert sum(reason["log_odds"] for reason in edge["reasons"]) == (edge["log_odds"] or 0)


def test_a_reason_names_field_link_and_time_on_both_sides(client: TestClient) -> None:
    edges = client.get("/v1/creators/c_ana/evidence").json()["edges"]
    reasons = {reason["signal"]: reason for edge in edges for reason in edge["reasons"]}
    linked = reasons["link:mutual"]["left"]
    assert (linked["field"], linked["url"], linked["seen_at"]) == ("bio", "https://x.com/a", "2026-02-28T00:00:00Z")
    assert reasons["link:mutual"]["words"] == "they link each other"
    named = reasons["name:partial"]["right"]
    assert (named["value"], named["field"], named["seen_at"]) == ("Annie", "display_name", "2026-03-01T00:00:00Z")
    assert (reasons["prior"]["left"], reasons["prior"]["right"]) == (None, None)


def test_near_misses_say_whose_they_are_and_why_they_are_apart(client: TestClient) -> None:
    near = client.get("/v1/creators/c_ana/evidence").json()["near_misses"]
    decided, scored = near
    assert {end["creator_id"] for end in (decided["left"], decided["right"])} == {"c_ana", "c_fans"}
    assert decided["why"] == "People decided that they are not one creator: judgement 7."
    assert decided["judgements"] == [{"number": 7, "kind": "unlink", "at": "2026-03-01T00:00:00Z"}]
    assert (decided["log_odds"], scored["log_odds"]) == (None, 5.75)
    assert scored["right"]["has_profile"]


def test_two_accounts_are_one_by_score_by_others_or_by_people(client: TestClient) -> None:
    assert why(client, INSTAGRAM, TIKTOK)["why"] == "Their score of 4.5 bits reaches the 2.5 that join."
    decided = why(client, TIKTOK, YOUTUBE)
    assert decided["why"] == "People decided that they are one creator: judgement 3."
    through = why(client, YOUTUBE, INSTAGRAM)
    assert through["are_one"]
    assert through["why"] == "They are joined through 1 other account(s); the weakest step scores 4.5 bits."
    assert [edge["log_odds"] for edge in through["path"]] == [None, 4.5]
    assert through["scored"]["log_odds"] == -1.5


def test_two_accounts_are_apart_by_people_by_score_or_never_met(client: TestClient) -> None:
    # The unlink of one account holds for what is linked to it: youtube is tiktok's by judgement 3.
    assert why(client, YOUTUBE, X)["why"] == "People decided that they are not one creator: judgement 7."
    assert "outweighs it" in why(client, INSTAGRAM, X)["why"]
    assert why(client, LONE, FROZEN)["why"] == "One of them is closed to others: judgement 9."
    never = why(client, INSTAGRAM, LONE)
    assert (never["scored"], never["path"], never["are_one"]) == (None, [], False)
    assert never["why"].startswith("They were not compared")
    assert ONLY_STRONGEST not in never["why"]
    assert why(client, ("full", "full"), ("more", "more"))["why"].endswith(ONLY_STRONGEST)


@pytest.mark.parametrize("left", ["instagram/ANA", "instagram/@ana", "Instagram/instagram-ana"])
def test_an_account_is_named_by_handle_or_id(client: TestClient, left: str) -> None:
    body = client.get("/v1/evidence", params={"left": left, "right": "tiktok/ana.tok"}).json()
    assert body["left"]["platform_account_id"] == "instagram-ana"
    assert body["left"]["creator_id"] == "c_ana"


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("left=instagram/ana", 422, "invalid_value", "query.right"),
        ("left=instagram&right=x/lone", 422, "invalid_value", "left"),
        ("left=instagram/@&right=x/lone", 422, "invalid_value", "left"),
        ("left=instagram/ana&right=instagram/instagram-ana", 422, "invalid_value", "right"),
        ("left=instagram/ana&right=x/nobody", 404, "unknown_account", "right"),
        (f"left=x/{'a' * 400}&right=x/lone", 422, "invalid_value", "query.left"),
    ],
)
def test_what_cannot_be_answered_is_refused(client: TestClient, query: str, status: int, code: str, field: str) -> None:
    answer = client.get(f"/v1/evidence?{query}")
    assert (answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["field"]) == (
        status,
        code,
        field,
    )


def test_an_unknown_creator_has_no_evidence(client: TestClient) -> None:
    answer = client.get("/v1/creators/nobody/evidence")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_creator")


def test_a_snapshot_without_evidence_serves_and_says_so(bare: TestClient) -> None:
    body = bare.get("/v1/creators/c_ana/evidence").json()
    assert (body["is_available"], body["edges"], body["near_misses"], body["merge_log_odds"]) == (False, [], [], None)
    assert len(body["accounts"]) == 3
    found = why(bare, INSTAGRAM, TIKTOK)
    assert (found["is_available"], found["are_one"], found["why"]) == (False, True, NO_EVIDENCE)
