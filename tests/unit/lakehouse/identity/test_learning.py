"""A model that learned from accounts which link each other: what it finds, what it must not touch, and when it stays as it was."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.identity import calibration, likeness
from lakehouse.identity.calibration import calibrate
from lakehouse.identity.engine import calibrated, count_all, find_edges, prepare_all
from lakehouse.identity.model import default_model
from lakehouse.identity.mutual import links_of, owned
from lakehouse.identity.pairs import telling_pairs
from lakehouse.identity.quality import calibration_error
from tests.identity_accounts import LETTERS, PLATFORMS, account, crowded_people, raw, resolve

CHANCE = 0.25


def linked_people(count, *, linking, seed):
    """Accounts and the person of each: names are everywhere, countries tell people apart, and some link their accounts."""
    draw, rows = np.random.default_rng(seed), []
    for person in range(count):
        first, last = ("Ana", "Ben", "Eva", "Leo")[draw.integers(4)], f"{draw.integers(2_000):04}".translate(LETTERS)
        country = ("US", "BR", "DE", "JP")[draw.integers(4)]
        own = [
            account(f"{platform}", f"{first}{last}{draw.integers(1_000)}", f"{first} {last.title()}", id=f"{person}")
            for platform in draw.choice(PLATFORMS, 2, replace=False)
        ]
        own = [row | {"country_code": country} for row in own]
        if draw.random() < linking:
            own[0]["links"] = [{"target": f"{own[1]['platform']}:{own[1]['handle_key']}", "evidence": "bio"}]
        rows += [(row, person) for row in own]
    return rows


def told_of(rows):
    model, table = default_model(), raw(rows)
    known = owned(links_of(table, table.num_rows))
    return telling_pairs(prepare_all(table, count_all(table, model), model), model, known)


@pytest.fixture(scope="module")
def people():
    return linked_people(3_000, linking=0.5, seed=1)


@pytest.fixture(scope="module")
def learned(people):
    model = calibrated(raw([row for row, _ in people]), default_model())
    assert model.calibration.likeness is not None
    return model


def found(people, model):
    """Precision and recall of the edges that merge, where nobody links anybody."""
    rows = [row | {"links": []} for row, _ in people]
    person = {(row["platform"], row["platform_account_id"]): who for row, who in people}
    edges = resolve(rows, model).edges.to_pylist()
    merged = [edge for edge in edges if edge["log_odds"] >= model.thresholds.merge]
    ends = [[person[edge[f"{side}_platform"], edge[f"{side}_id"]] for edge in merged] for side in ("left", "right")]
    is_one = np.array([left == right for left, right in zip(*ends, strict=True)], dtype=bool)
    return is_one.mean(), is_one.sum() / (len(people) / 2)


def test_links_teach_what_likeness_is_worth_among_those_who_do_not_link(people, learned):
    unlearned = calibrated(raw([row | {"links": []} for row, _ in people]), default_model())
    assert unlearned.calibration.likeness is None
    before, after = found(people, unlearned), found(people, learned)
    assert before[0] < 0.9
    assert after[0] > 0.96
    assert after[1] > 0.6


def test_an_account_seen_twice_stays_one(learned):
    by_handle = account("x", "quagmirefrost"), account("x", "quagmirefrost", "Quagmire Frost", id="888")
    by_name = account("x", None, "Zebedee Thistlewick"), account("x", "zt", "Zebedee Thistlewick", id="777")
    outcome = resolve([*by_handle, *by_name], learned)
    assert outcome.are_one(*by_handle)
    assert outcome.are_one(*by_name)


@pytest.mark.parametrize("evidence", ["bio", "post"])
def test_accounts_that_cannot_be_compared_keep_their_score(learned, evidence):
    link = [{"target": "x:bluelark", "evidence": evidence}]
    rows = [account("youtube", None, "Jane Doe", id="UC7") | {"links": link}, account("x", "bluelark")]
    before, after = (resolve(rows, model).edge(*rows) for model in (default_model(), learned))
    assert before == after


def test_strangers_who_mention_each_other_do_not_merge(learned):
    rows = [
        account("x", "bluelark", "Jane Doe", country_code="US", followers_count=100),
        account("tiktok", "zephyr88", "Otto Quint", country_code="BR", followers_count=10**7),
    ]
    rows[0]["links"] = [{"target": "tiktok:zephyr88", "evidence": "post"}]
    rows[1]["links"] = [{"target": "x:bluelark", "evidence": "post"}]
    for model in (default_model(), learned):
        assert not resolve(rows, model).are_one(*rows)


def test_reasons_add_up(people, learned):
    edges = resolve([row for row, _ in people[:1_000]], learned).edges.to_pylist()
    assert edges
    assert all(sum(reason["log_odds"] for reason in edge["reasons"]) == edge["log_odds"] for edge in edges)


def test_what_is_learned_does_not_depend_on_the_order_of_the_pairs(people):
    told = told_of([row for row, _ in people])
    shuffled = told.take(np.random.default_rng(3).permutation(told.num_rows))
    assert calibrate(shuffled, CHANCE) == calibrate(told, CHANCE)


def test_where_one_half_teaches_nothing_the_packaged_scores_are_mapped(people):
    told = told_of([row for row, _ in people])
    strangers = np.flatnonzero(told.column("is_same").to_numpy() & told.column("is_tallied").to_numpy())
    few = strangers[: 2 * likeness.PAIRS_MIN - 50]
    others = np.setdiff1d(np.arange(told.num_rows), strangers)
    some = told.take(np.r_[few, others])
    fitted = calibrate(some, CHANCE)
    assert fitted.likeness is None
    linkless = some.set_column(some.schema.get_field_index("is_linked"), "is_linked", pa.array([False] * some.num_rows))
    assert fitted == calibrate(linkless, CHANCE)


def test_known_strangers_tell_what_equal_handles_are_worth_in_a_crowd():
    people = crowded_people(9_000, seed=7)
    person = {(row["platform"], row["platform_account_id"]): who for row, who in people}
    rows = raw([row for row, _ in people])
    model = calibrated(rows, default_model())
    assert told_of([row for row, _ in people]).column("is_known").to_numpy().sum() > calibration.KNOWN_MIN
    edges = pa.concat_tables(find_edges(rows, model)).to_pylist()
    equal = [edge for edge in edges if any(reason["signal"] == "handle:exact" for reason in edge["reasons"])]
    bare = [edge for edge in equal if not any(reason["signal"].startswith("link:") for reason in edge["reasons"])]
    ends = [[person[edge[f"{side}_platform"], edge[f"{side}_id"]] for edge in bare] for side in ("left", "right")]
    is_one = np.array([left == right for left, right in zip(*ends, strict=True)])
    said = np.array([edge["probability"] for edge in bare])
    assert 0.2 < is_one.mean() < 0.8
    assert abs(said.mean() - is_one.mean()) < 0.05
    assert calibration_error(np.array([edge["log_odds"] for edge in bare]), is_one) < 0.08
