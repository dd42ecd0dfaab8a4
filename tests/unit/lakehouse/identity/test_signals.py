"""Scores of pairs: what each signal says, that reasons add up, that left and right do not matter."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from lakehouse.errors import SettingsError
from lakehouse.identity.model import default_model, parse_model
from tests.identity_accounts import account, resolve

MERGE = default_model().thresholds.merge


def signals(edge):
    return {reason["signal"]: reason["log_odds"] for reason in edge["reasons"]}


def pair(a, b):
    edge = resolve([a, b]).edge(a, b)
    assert edge is not None
    return edge


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (account("x", "rare.handle"), account("tiktok", "RareHandle"), "handle:same_letters"),
        (account("x", "khabylame", "K"), account("tiktok", "khabylame01", "K"), "handle:stripped_exact"),
        (account("x", "khabylame77", "K"), account("tiktok", "khabylame01", "K"), "handle:other_digits"),
        (account("x", None, "Khaby Lame"), account("tiktok", "khaby.lame"), "name_as_handle:exact"),
        (account("x", None, "Khaby Lame"), account("tiktok", "khaby.lame", "Khaby Lame"), "name_as_handle:beside_name"),
        (account("x", None, "Beyoncé Knowles"), account("tiktok", None, "beyonce  knowles"), "name:exact"),
        (account("x", None, "Lame Khaby"), account("tiktok", None, "Khaby Lame"), "name:same_tokens"),
        (account("x", "a1", domains=["a.com"]), account("tiktok", "b1", domains=["a.com"]), "domain:shared"),
        (account("x", "a1", emails=["v1:0"]), account("tiktok", "b1", emails=["v1:0"]), "email:shared"),
        (account("x", "a1", links=["tiktok:b1"]), account("tiktok", "b1"), "link:one_way"),
        (account("x", "a1", links=["tiktok:b1"]), account("tiktok", "b1", links=["x:a1"]), "link:mutual"),
        (account("x", "a1", links=["tiktok:77"]), account("tiktok", "b1", id="77"), "link:one_way"),
        (account("x", "abc", id="9"), account("x", "abc"), "same_handle_same_platform:one_without_id"),
        (
            account("x", "abc", "Rare Name"),
            account("x", None, "Rare Name"),
            "same_name_same_platform:one_without_handle",
        ),
    ],
)
def test_a_signal_speaks_for_a_pair(a, b, expected):
    assert signals(pair(a, b))[expected] > 0


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (({"country_code": "US"}, {"country_code": "BR"}), "country:different"),
        (({"language_code": "en"}, {"language_code": "pt"}), "language:different"),
        (({"followers_count": 10}, {"followers_count": 5_000_000}), "followers:far"),
        (({"display_name": "Jane Doe"}, {"display_name": "Peter Fox"}), "name:different"),
        (({"bio": "Fan page of somebody"}, {"bio": "Singer"}), "fan_page:one_side"),
    ],
)
def test_a_contradiction_speaks_against_a_pair(more, expected):
    a, b = (
        account(platform, "samerarehandle", emails=["v1:0"]) | extra
        for platform, extra in zip(("x", "tiktok"), more, strict=True)
    )
    assert signals(pair(a, b))[expected] < 0


def test_what_is_missing_says_nothing():
    edge = pair(account("x", "samerarehandle"), account("tiktok", "samerarehandle"))
    assert set(signals(edge)) == {"prior", "handle:exact"}


def test_a_name_that_is_the_own_handle_contradicts_nobody():
    found = signals(
        pair(account("x", "rareblueheron", "rareblueheron"), account("tiktok", "rareblueheron", "Jane Doe"))
    )
    assert not {label for label in found if label.startswith("name:")}
    assert "name:different" in signals(
        pair(account("x", "heron", "Peter Fox", links=["tiktok:b1"]), account("tiktok", "b1", "Jane Doe"))
    )


def test_names_in_different_scripts_are_not_compared():
    a, b = account("x", "samerarehandle", "Хабиб"), account("tiktok", "samerarehandle", "Khabib")
    assert not any(signal.startswith("name:") for signal in signals(pair(a, b)))


def test_reasons_sum_to_the_score_exactly_and_sides_do_not_matter():
    a = account("x", "khaby00", "Khaby Lame", domains=["k.com"], followers_count=100, country_code="IT")
    b = account("tiktok", "khaby.lame", "Khabane lame", domains=["k.com"], followers_count=200, country_code="IT")
    edge = pair(a, b)
    assert sum(reason["log_odds"] for reason in edge["reasons"]) == edge["log_odds"]
    assert len(edge["reasons"]) == len(signals(edge))
    swapped = pair(a | {"platform": "tiktok"}, b | {"platform": "x"})
    assert swapped["log_odds"] == edge["log_odds"]


def test_two_accounts_of_one_platform_need_more_than_a_similar_handle():
    a, b = account("x", "jane.doe", "Jane Doe"), account("x", "jane_doe", "Jane Doe")
    edge = pair(a, b)
    assert signals(edge)["same_platform:two_accounts"] < 0


def test_a_common_name_is_worth_less_than_a_rare_one():
    crowd = [account("x", f"user{i}zz", "Kalinda Bruvelle") for i in range(40)]
    a, b = account("tiktok", None, "Kalinda Bruvelle"), account("instagram", None, "Kalinda Bruvelle")
    alone = resolve([a, b]).edge(a, b)
    crowded = resolve([a, b, *crowd]).edge(a, b)
    assert alone is not None
    assert alone["log_odds"] >= MERGE
    assert crowded is None or crowded["log_odds"] < 0


def test_an_agency_domain_is_worth_nothing():
    crowd = [account("x", f"talent{i}", domains=["agency.com"]) for i in range(60)]
    outcome = resolve(crowd)
    assert len(outcome.partition) == len(crowd)


def test_a_fan_page_that_links_to_a_creator_is_not_the_creator():
    star = account("instagram", "khaby.lame", "Khaby Lame")
    fan = account("tiktok", "khabylame.fans", "Khaby Lame Fans", links=["instagram:khaby.lame"])
    assert not resolve([star, fan]).are_one(star, fan)


def test_a_malformed_model_is_refused():
    body = json.loads(resources.files("lakehouse.identity").joinpath("model.json").read_text(encoding="utf-8"))
    del body["thresholds"]["merge"]
    with pytest.raises(SettingsError, match="merge"):
        parse_model(body)


def test_a_name_in_a_handle_is_worth_that_handle_not_the_bearers_own():
    common = {"country_code": "DE", "language_code": "de"}
    gardener = account("instagram", "sunflowergardening", "Anna", followers_count=1_000, **common)
    anna = account("tiktok", "anna", "Anna Kowalska", followers_count=1_200, **common)
    bare = account("instagram", "xy", "Anna", followers_count=1_000, **common)
    assert signals(pair(gardener, anna))["name_as_handle:exact"] == signals(pair(bare, anna))["name_as_handle:exact"]
    assert not resolve([gardener, anna]).are_one(gardener, anna)


def test_a_link_that_hundreds_list_joins_nobody():
    sponsor = ["instagram:gymshark"]
    one = account("x", "ivanka.lifts", "Ivanka Dmitrov", links=sponsor)
    other = account("tiktok", "dmitrovfitness", "Ivanka Dmitrov", links=sponsor)
    fans = [account("youtube", f"somebody{i}", f"Some Body {i}", links=sponsor) for i in range(300)]
    alone, crowd = resolve([one, other]), resolve([one, other, *fans])
    assert signals(alone.edge(one, other))["link_target:shared"] == default_model().shared.link_target
    assert "link_target:shared" not in signals(crowd.edge(one, other))
