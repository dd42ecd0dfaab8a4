"""Facts and scores on real accounts, open world: everybody is pooled with thousands of unrelated top creators."""

from __future__ import annotations

import pytest

from tests.identity_accounts import congress, holodex, resolve, scores_of, top_creators


@pytest.fixture(scope="module")
def crowd(real_data):
    return top_creators(real_data)


@pytest.fixture(scope="module")
def resolved(crowd):
    return resolve(crowd)


def find(rows, platform, account_id):
    return next(row for row in rows if (row["platform"], row["platform_account_id"]) == (platform, account_id))


def test_mrbeast_is_one_creator(crowd, resolved):
    ends = [("instagram", "@mrbeast"), ("tiktok", "@mrbeast"), ("youtube", "@mrbeast6000"), ("youtube", "~mrbeast")]
    assert resolved.are_one(*(find(crowd, *end) for end in ends))


def test_khaby_lame_is_one_creator(crowd, resolved):
    assert resolved.are_one(find(crowd, "instagram", "@khaby00"), find(crowd, "tiktok", "@khaby.lame"))


def test_top_creators_do_not_chain(resolved):
    assert max(len(group) for group in resolved.partition) <= 5


# The bounds are a little under what is measured (docs/identity.md), so that they fail on a loss, not on a rounding.
@pytest.mark.parametrize(
    ("fields", "recall"),
    [
        ({}, 0.999),
        ({"links": False}, 0.98),
        ({"links": False, "websites": False}, 0.70),
        ({"links": False, "websites": False, "names": False}, 0.44),
    ],
)
def test_members_of_congress_never_merge_with_anybody_else(real_data, crowd, fields, recall):
    people = congress(real_data, **fields)
    outcome = resolve([row for row, _ in people] + crowd)
    scores = scores_of(outcome, people)
    assert scores.pairs.precision == scores.b_cubed.precision == 1.0
    assert scores.pairs.recall >= recall
    members = {(row["platform"], row["platform_account_id"]) for row, _ in people}
    assert not any(group & members and group - members for group in outcome.partition)


def test_declared_links_join_virtual_youtubers_with_their_x_accounts(real_data, crowd):
    people = holodex(real_data)
    scores = scores_of(resolve([row for row, _ in people] + crowd), people)
    assert scores.pairs.precision == 1.0
    assert scores.pairs.recall >= 0.99
