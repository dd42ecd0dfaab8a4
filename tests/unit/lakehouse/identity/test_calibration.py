"""What scores are worth, learned from accounts of one platform that look alike: right on generated strangers, rising, harmless."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.errors import SettingsError
from lakehouse.identity import calibration, signals
from lakehouse.identity.calibration import KINDS, Calibration, calibrate, fit, shared_platform
from lakehouse.identity.engine import calibrated, count_all, prepare_all
from lakehouse.identity.looks import NO_LOOKS
from lakehouse.identity.model import default_model, parse_model, probability
from lakehouse.identity.mutual import links_of, owned
from lakehouse.identity.pairs import telling_pairs
from lakehouse.identity.quality import calibration_error
from tests.identity_accounts import account, raw, resolve, synthetic_people

PLATFORMS = 4


def fitted(found, shared):
    """Maps by a control of pairs on one platform."""
    return fit(found, shared, shared)


def tally(scores, is_same, kind=0):
    return calibration.tally(scores, np.broadcast_to(kind, len(scores)), is_same)


def adjustment(found, scores, kind=0):
    return found.adjustment(scores, np.full(len(scores), kind), NO_LOOKS)


def pairs(count, *, shift, seed=3):
    """Scores that are `shift` bits too high, whether each pair is two people's, and whether it lies on one platform."""
    draw = np.random.default_rng(seed)
    scores = draw.uniform(-10, 12, count)
    is_two = draw.random(count) > probability(scores - shift)
    return scores, is_two, is_two & (draw.random(count) < 1 / PLATFORMS)


@pytest.mark.parametrize("shift", [-3.0, 0.0, 4.0])
def test_probabilities_are_right_without_a_label(shift):
    scores, is_two, is_same = pairs(60_000, shift=shift)
    found = fitted(tally(scores, is_same), 1 / PLATFORMS)
    other, is_one = ~is_same, ~is_two
    after = calibration_error((scores + adjustment(found, scores))[other], is_one[other])
    assert after < 0.02
    if shift:
        assert after < calibration_error(scores[other], is_one[other]) / 3


def test_the_map_rises_and_moves_by_whole_steps():
    scores, _, is_same = pairs(20_000, shift=2.0)
    found = fitted(tally(scores, is_same), 1 / PLATFORMS)
    asked = np.linspace(-40, 60, 2_000)
    after = asked + adjustment(found, asked)
    assert (np.diff(after) >= -1 / 64).all()
    assert (adjustment(found, asked) * 64 % 1 == 0).all()
    assert Calibration.from_json(found.to_json()) == found


def test_nothing_is_learned_where_nothing_can_be():
    scores, _, is_same = pairs(20_000, shift=2.0)
    assert fitted(tally(scores[:500], is_same[:500]), 1 / PLATFORMS) is None
    assert fitted(tally(scores, is_same), shared_platform(np.array([20_000]))) is None
    assert fitted(tally(scores, is_same), shared_platform(np.ones(30))) is None


def test_reasons_of_a_calibrated_model_add_up():
    rows = [row for row, _ in synthetic_people(1_500, seed=4)]
    model = calibrated(raw(rows), default_model())
    assert model.calibration.log_odds
    edges = resolve(rows, model).edges.to_pylist()
    assert edges
    assert all(sum(reason["log_odds"] for reason in edge["reasons"]) == edge["log_odds"] for edge in edges)
    assert any(reason["signal"] == "calibration:strangers" for edge in edges for reason in edge["reasons"])


@pytest.mark.parametrize("shared", [0.05, 0.2, 0.5, 0.9])
def test_where_nothing_was_seen_a_score_stays(shared):
    low = np.full(5_000, -11.5)
    found = fitted(tally(low, np.arange(5_000) < 5_000 * shared), shared)
    assert np.abs(adjustment(found, np.array([2.5, 6.5, 10.5, 25.0]))).max() < 0.05


def test_few_sure_pairs_stay_sure_among_many_platforms():
    scores = np.r_[np.full(5_000, -5.5), np.full(20, 10.5)]
    found = fitted(tally(scores, np.arange(5_020) < 250), 0.05)
    assert 10.5 + adjustment(found, np.array([10.5]))[0] > default_model().thresholds.merge


def test_no_score_gains_more_than_eight_bits():
    found = fitted(tally(np.full(9_000, -2.5), np.zeros(9_000, dtype=bool)), 0.25)
    assert 7.0 < adjustment(found, np.linspace(-12, 16, 100)).max() <= 8.0 + 1 / 64


def test_each_kind_of_likeness_is_learned_apart():
    """Of one kind a score says too much, of another too little; what both say together is right for neither."""
    shifts = {3: 4.0, 8: -3.0}
    worlds = {kind: pairs(60_000, shift=shift, seed=kind) for kind, shift in shifts.items()}
    scores, _, is_same = (np.concatenate(columns) for columns in zip(*worlds.values(), strict=True))
    found = fitted(tally(scores, is_same, np.repeat(list(shifts), 60_000)), 1 / PLATFORMS)
    assert found.by_kind.keys() == shifts.keys()
    for kind, (scores, is_two, is_same) in worlds.items():
        other = ~is_same
        after = calibration_error((scores + adjustment(found, scores, kind))[other], ~is_two[other])
        alike = calibration_error((scores + adjustment(found, scores, 0))[other], ~is_two[other])
        assert after < 0.03
        assert after < alike / 3


def test_a_kind_of_few_pairs_leans_on_all():
    scores, _, is_same = pairs(60_000, shift=2.0)
    with_one = tally(np.r_[scores, 0.5], np.r_[is_same, True], np.r_[np.zeros(60_000, dtype=int), 5])
    found = fitted(with_one, 1 / PLATFORMS)
    asked = np.linspace(-3, 12, 50)
    assert np.abs(adjustment(found, asked, 5) - adjustment(found, asked, KINDS - 1)).max() < 1.0
    assert (adjustment(found, asked, 7) == adjustment(found, asked, KINDS - 1)).all()


def test_strangers_among_few_pairs_are_never_sure():
    """As many pairs lie on one platform as of strangers only: that of some hundred pairs is no proof."""
    scores, kinds = np.repeat([-9.5, -2.5], [20_000, 200]), np.repeat([1, 2], [20_000, 200])
    found = fitted(tally(scores, np.r_[np.arange(20_000) < 5_000, np.arange(200) < 60], kinds), 1 / PLATFORMS)
    assert -12 < -2.5 + adjustment(found, np.array([-2.5]), 2)[0] < -6
    assert -9.5 + adjustment(found, np.array([-9.5]), 1)[0] < -12


@pytest.mark.parametrize("given", [[1.0, 2.0], list(range(40)), [3.0] * 5 + [2.0] * 23, ["a"] * 28, {"log_odds": []}])
def test_a_malformed_calibration_of_a_model_file_is_refused(given):
    body = json.loads(resources.files("lakehouse.identity").joinpath("model.json").read_text(encoding="utf-8"))
    with pytest.raises(SettingsError):
        parse_model(body | {"calibration": given})


def test_kinds_of_likeness_are_apart_but_for_equal_handles_and_same_letters():
    labels = [
        [f"{signal}:{level}" for level in levels] + [""]
        for signal, levels in (
            ("handle", signals._HANDLE_LEVELS),
            ("name", signals._NAME_LEVELS),
            ("name_as_handle", signals._CROSSED_LEVELS[:1]),
        )
    ]
    every = list(product(*labels))
    row = {"rows": np.zeros(1, dtype=np.int64), "log_odds": np.zeros(1), "left": None, "right": None}
    kinds = [int(signals.kinds_of([signals.Vote(label, **row) for label in one], 1)[0]) for one in every]
    by_kind = {}
    for one, kind in zip(every, kinds, strict=True):
        by_kind.setdefault(kind, []).append((one[0].replace("handle:exact", "handle:same_letters"), *one[1:]))
    assert sorted(by_kind) == list(range(KINDS))
    assert all(len(set(alike)) == 1 for alike in by_kind.values())


NAMED = {"display_name": "Jane Doe Heron"}
ANY, ONE, NOTHING = "is like others", "tells of one person", "tells nothing"
LINKED = {"links": ["tiktok:bluelark", "x:bluelark"]}
MENTIONED = [{"target": "tiktok:bluelark", "evidence": "post"}]
MENTIONED_BACK = [{"target": "x:bluelark.tv", "evidence": "post"}]


@pytest.mark.parametrize(
    ("left", "right", "role"),
    [
        (account("x", "bluelark.tv", **NAMED), account("tiktok", "bluelark", **NAMED), ANY),
        (account("x", "blue.lark", **NAMED), account("tiktok", "bluelark", **NAMED), ANY),
        (account("x", "bluelark.tv", **NAMED), account("x", "bluelark", **NAMED), ANY),
        (account("x", "bluelark", **NAMED), account("tiktok", "bluelark", **NAMED), ANY),
        (account("x", "bluelark.tv", **NAMED, **LINKED), account("tiktok", "bluelark", **NAMED), ONE),
        (account("x", "bluelark", **NAMED, **LINKED), account("tiktok", "bluelark", **NAMED), ONE),
        (account("x", "bluelark.tv", **NAMED, **LINKED), account("x", "bluelark", **NAMED), NOTHING),
        (account("x", "bluelark.tv", **NAMED) | {"links": MENTIONED}, account("tiktok", "bluelark", **NAMED), NOTHING),
        (
            account("x", "bluelark.tv", **NAMED) | {"links": MENTIONED},
            account("tiktok", "bluelark", **NAMED) | {"links": MENTIONED_BACK},
            NOTHING,
        ),
        (account("x", "bluelark.tv", **NAMED, bio="fan page"), account("tiktok", "bluelark", **NAMED), NOTHING),
        (
            account("x", "bluelark.tv", **NAMED, **LINKED, bio="fan page"),
            account("tiktok", "bluelark", **NAMED),
            NOTHING,
        ),
        (account("x", None, **NAMED, id="~janedoeheron"), account("tiktok", "bluelark", **NAMED), NOTHING),
    ],
)
def test_which_pairs_are_like_others_and_which_tell_of_one_person(left, right, role):
    told = told_of(left, right)
    assert sum(pair["is_tallied"] for pair in told) == (role == ANY)
    assert sum(pair["is_linked"] for pair in told) == (role == ONE)
    for pair in told:
        assert pair["is_same"] == (left["platform"] == right["platform"])
        assert pair["kind"] > 0  # handles and names tell it


def told_of(*rows):
    model, table = default_model(), raw(list(rows))
    prepared, known = prepare_all(table, count_all(table, model), model), owned(links_of(table, table.num_rows))
    return telling_pairs(prepared, model, known).to_pylist()


def test_the_digest_of_a_pair_does_not_depend_on_its_order():
    rows = [row for row, _ in synthetic_people(30, seed=2)]
    model, table = default_model(), raw(rows)
    prepared = prepare_all(table, count_all(table, model), model)
    left, right = (pa.array(side) for side in np.triu_indices(len(rows), 1))
    one, other = (
        signals._digests(signals.Pairs(prepared.take(a), prepared.take(b), model))
        for a, b in ((left, right), (right, left))
    )
    assert (one == other).all()
    assert len(np.unique(one)) == len(one)


@pytest.mark.parametrize("evidence", ["declared", "bio", "post"])
@pytest.mark.parametrize("is_mutual", [True, False])
def test_who_has_an_account_on_a_platform_is_behind_no_other_there(evidence, is_mutual):
    def links(to, *, are_there=True):
        return {"links": [{"target": to, "evidence": evidence}] if are_there else []}

    own = account("x", "bluelark", **NAMED, id="1"), account("tiktok", "gardenofjane", **NAMED, id="2")
    own = own[0] | links("tiktok:gardenofjane"), own[1] | links("x:bluelark", are_there=is_mutual)
    others = account("tiktok", "bluelark", **NAMED, id="3"), account("youtube", "bluelark", **NAMED, id="4")
    told = told_of(*own, *others)
    expected = {"declared": 1, "bio": 1, "post": 0}[evidence] if is_mutual else 0
    assert sum(pair["is_known"] for pair in told) == expected
    assert all(pair["is_tallied"] and not pair["is_same"] for pair in told if pair["is_known"])


def test_an_account_that_is_seen_by_its_handle_too_is_no_stranger():
    own = account("x", "bluelark", **NAMED, id="1"), account("youtube", "larksong", **NAMED, id="UC1")
    own = own[0] | {"links": ["youtube:UC1"]}, own[1] | {"links": ["x:1"]}
    own = [row | {"links": [{"target": row["links"][0], "evidence": "bio"}]} for row in own]
    again = account("youtube", "larksong", **NAMED)
    told = told_of(*own, again)
    assert len(told) == 2
    assert not any(pair["is_known"] for pair in told)


@pytest.mark.parametrize(("least", "most"), [(0.0, 0.02), (0.3, 0.4)])
def test_pairs_on_one_platform_say_how_many_strangers_there_are_at_least(least, most):
    """Where those who link are unlike others, no stranger is known among pairs that hold many."""
    scores = np.repeat([-9.5, 6.5], 20_000)
    found = tally(scores, (np.arange(40_000) < 20_000) & (np.arange(40_000) % 10 == 0))
    found.least[0, np.searchsorted(calibration.CENTRES, 6.5)] = least * 20_000
    fitted_by_links = fit(found, 0.1, 0.0)
    said = probability(6.5 + adjustment(fitted_by_links, np.array([6.5])))[0]
    assert least - 0.01 <= 1 - said <= most


def test_nothing_is_asked_of_links_where_no_pair_is_left():
    told = pa.Table.from_pylist([], schema=calibration.PAIR)
    assert calibrate(told, 0.25) is None


def test_among_the_least_alike_what_is_left_by_chance_is_told_by_the_score():
    """Share of known strangers a little low: of ten thousands that are hardly one person's not some hundreds come out as that."""
    scores, is_two, _ = pairs(200_000, shift=0.0)
    known = is_two & (np.random.default_rng(1).random(len(scores)) < 0.1)
    found = fit(tally(scores, known), 0.103, 0.0)
    asked = np.linspace(-11, -4, 50)
    assert (asked + adjustment(found, asked) < asked + 0.7).all()
    after = calibration_error(scores + adjustment(found, scores), ~is_two)
    assert after < 0.01


def adjusted(log_odds, x, **more):
    """What a calibration adds between an account on X and one on TikTok, None where it adds nothing."""
    rows = [x, account("tiktok", "bluelark", "Jane Doe Heron", **more)]
    edge = resolve(rows, replace(default_model(), calibration=Calibration(log_odds))).edge(*rows)
    return next((one["log_odds"] for one in edge["reasons"] if one["signal"] == "calibration:strangers"), None)


def test_links_and_pages_about_others_come_on_top_of_what_likeness_is_worth():
    raised = tuple((calibration.CENTRES * 0.5 + 2.0).tolist())
    alone = adjusted(raised, account("x", "bluelark.tv", "Jane Doe Heron"))
    assert alone is not None
    assert adjusted(raised, account("x", "bluelark.tv", "Jane Doe Heron", links=["tiktok:bluelark"])) == alone
    about = account("x", "bluelark.tv", "Jane Doe Heron", links=["tiktok:bluelark"])
    assert adjusted(raised, about, bio="fan page") == alone


@pytest.mark.parametrize("links", [[], ["youtube:UC7"]])
def test_a_link_between_accounts_that_cannot_be_compared_loses_nothing(links):
    rows = [account("youtube", None, "Jane Doe", id="UC7", links=["x:bluelark"]), account("x", "bluelark", links=links)]
    doubts = Calibration(tuple((calibration.CENTRES - 9.0).tolist()))
    before, after = (
        resolve(rows, replace(default_model(), calibration=one)).edge(*rows) for one in (Calibration(), doubts)
    )
    assert before["log_odds"] == after["log_odds"]
