"""Quality on generated people, whose accounts are known by construction."""

from __future__ import annotations

from tests.identity_accounts import quality, resolve, synthetic_people


def test_generated_people_are_found_and_never_mixed():
    people = synthetic_people(400, seed=11)
    scores = quality(resolve([row for row, _ in people]), people)
    assert scores.precision >= 0.998
    assert scores.recall >= 0.6
    assert scores.b3_f1 >= 0.85
