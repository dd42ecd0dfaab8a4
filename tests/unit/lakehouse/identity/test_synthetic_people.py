"""Quality on generated people, whose accounts are known by construction."""

from __future__ import annotations

from tests.identity_accounts import resolve, scores_of, synthetic_people


def test_generated_people_are_found_and_never_mixed():
    people = synthetic_people(400, seed=11)
    scores = scores_of(resolve([row for row, _ in people]), people)
    assert scores.pairs.precision >= 0.998
    assert scores.pairs.recall >= 0.6
    assert scores.b_cubed.f1 >= 0.85
