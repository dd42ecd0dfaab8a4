"""Why two accounts are one creator or two, in one sentence and by links whose reasons add up."""

from __future__ import annotations

from itertools import pairwise, permutations

import networkx as nx
import numpy as np
import pytest

from lakehouse.contracts.evidence import FIELDS, WORDS, Judgement, Kind, Link, bits, explain, strongest_path
from lakehouse.identity.model import default_model
from lakehouse.identity.signals import CALIBRATION

MODEL = default_model()
A, B, C, D = (("x", "a"), ("instagram", "b"), ("youtube", "c"), ("tiktok", "d"))
ONE = {A: "c_1", B: "c_1", C: "c_1", D: "c_2"}
LINKS = [Link(A, B, 9.0), Link(B, C, 6.0), Link(A, C, -2.0), Link(C, D, 7.0), Link(A, D, 1.0)]


def why(left, right, *stands):
    return explain(left, right, ONE, LINKS, stands, MODEL.thresholds.merge)


def test_every_reason_of_the_model_has_words():
    assert {f"{signal}:{level}" for signal, level in MODEL.weights} | {"prior", CALIBRATION} == set(WORDS)


def test_every_reason_names_the_field_that_was_compared():
    told = {"prior", "calibration", "link", "link_target"}
    assert {signal.split(":")[0] for signal in WORDS} - told == set(FIELDS)


def test_a_strong_pair_is_one_by_its_own_score():
    found = why(A, B)
    assert found.are_one
    assert found.why == "Their score of 9.0 bits reaches the 2.5 that join."
    assert found.path == (LINKS[0],)
    assert found.scored.chance == pytest.approx(1 / (1 + 2**-9))


def test_a_pair_that_is_joined_by_others_is_told_the_way():
    found = why(A, C)
    assert found.are_one
    assert found.why == "They are joined through 1 other account(s); the weakest step scores 6.0 bits."
    assert found.path == (LINKS[0], LINKS[1])
    assert found.scored is LINKS[2]


def test_what_parts_two_is_told():
    assert "below the 2.5" in why(A, D).why
    assert "outweighs it" in why(C, D).why
    assert "not compared" in why(B, D).why
    assert not why(B, D).are_one


def test_people_outrank_scores_in_the_sentence():
    link, apart = Judgement(3, Kind.LINK, (A, B)), Judgement(7, Kind.UNLINK, (B, D))
    assert why(A, B, link).why == "People decided that they are one creator: judgement 3."
    assert why(A, D, link, apart).why == "People decided that they are not one creator: judgement 7."
    assert why(A, D, link, apart).judgements == (link, apart)
    assert not why(C, D).judgements
    assert why(C, D, Judgement(9, Kind.FREEZE, (D,))).why == "One of them is closed to others: judgement 9."


def test_a_way_goes_over_what_people_decided():
    stands = [Judgement(3, Kind.LINK, (A, B))]
    found = explain(A, C, ONE, [Link(B, C, 6.0)], stands, MODEL.thresholds.merge)
    assert found.why == "They are joined through 1 other account(s); the weakest step scores 6.0 bits."
    assert [(link.left, link.right, link.judgement) for link in found.path] == [(B, A, 3), (B, C, 0)]


def test_without_a_way_only_history_is_left():
    assert "by their history" in explain(A, C, ONE, [], [], MODEL.thresholds.merge).why


@pytest.mark.parametrize(
    ("log_odds", "said"), [(15.25, "15.3"), (-1.25, "-1.3"), (2.0, "2.0"), (0.0, "0.0"), (2.484375, "2.5")]
)
def test_bits_are_rounded_as_a_browser_does(log_odds, said):
    assert bits(log_odds) == said


@pytest.mark.parametrize("seed", range(15))
def test_the_path_is_the_widest_of_all(seed):
    draw = np.random.default_rng(seed)
    nodes = [("x", str(number)) for number in range(6)]
    links = [
        Link(a, b, float(draw.integers(4, 40))) for a, b in permutations(nodes, 2) if a < b and draw.random() < 0.5
    ]
    graph = nx.Graph()
    graph.add_nodes_from(nodes)
    graph.add_weighted_edges_from((link.left, link.right, link.log_odds) for link in links)
    for end in nodes[1:]:
        found = strongest_path(nodes[0], end, links)
        widths = [
            min(graph.edges[pair]["weight"] for pair in pairwise(way))
            for way in nx.all_simple_paths(graph, nodes[0], end)
        ]
        assert min((link.log_odds for link in found), default=None) == max(widths, default=None)
        at = nodes[0]
        for link in found:
            at = link.right if link.left == at else link.left
        assert at == end or not found
