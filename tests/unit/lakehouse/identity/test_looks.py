"""Steps of likeness: what each says of chosen accounts, alike from both sides, and blind to whether two lie on one platform."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.identity import signals
from lakehouse.identity.engine import count_all, prepare_all
from lakehouse.identity.likeness import LEVELS, STEPS, blinded
from lakehouse.identity.looks import looks_of
from lakehouse.identity.model import default_model
from tests.identity_accounts import account, raw, synthetic_people

PLACE = {name: at for at, name in enumerate(STEPS)}


def looks_between(rows, left, right):
    """Looks of pairs of rows, by their places, with what is said of them."""
    model, table = default_model(), raw(rows)
    prepared = prepare_all(table, count_all(table, model), model)
    pairs = signals.Pairs(*(prepared.take(pa.array(side)) for side in (left, right)), model)
    votes = [vote for vote in signals._votes(pairs) if len(vote.rows)]
    return looks_of(pairs.left, pairs.right, signals._parts(votes))


def look(rows, name):
    """Step of one thing between the first two of some rows."""
    return looks_between(rows, [0], [1])[0, PLACE[name]]


def step(name, value):
    return int(np.searchsorted(STEPS[name], value, "right"))


@pytest.mark.parametrize(
    ("left", "right", "name", "expected"),
    [
        (account("x", "bluelark"), account("tiktok", "bluelark"), "handle", 1),
        (account("x", "blue.lark"), account("tiktok", "bluelark"), "handle", 2),
        (account("x", "bluelark"), account("tiktok", "redfinch9"), "handle", len(LEVELS["handle"])),
        (account("x", "bluelark"), account("tiktok", "bluelark"), "handle_similar", step("handle_similar", 1.0)),
        (account("x", "bluelark"), account("tiktok", "bluelurk"), "handle_similar", step("handle_similar", 7 / 8)),
        (account("x", "bluelark"), account("youtube", None, "Blue", id="UC1"), "handle_similar", 0),
        (account("x", "bluelark"), account("tiktok", "lark"), "handle_chars", step("handle_chars", 4)),
        (account("x", "a1", "Jane Doe"), account("tiktok", "b2", "Jane Heron"), "tokens", step("tokens", 1)),
        (account("x", "a1", "Jane Doe"), account("tiktok", "b2"), "tokens", 0),
        (account("x", "a1", "Jane Doe"), account("tiktok", "b2", "Ясна Доу"), "tokens", 0),
        (account("x", "a1", "Jane Doe"), account("tiktok", "b2", "Ясна Доу"), "name_similar", 0),
        (account("x", "bluelarkab"), account("tiktok", "bluelarkac"), "handle_similar", step("handle_similar", 0.9)),
        (account("x", "a" * 19 + "b"), account("tiktok", "a" * 20), "handle_similar", step("handle_similar", 0.95)),
        (account("x", "a1", "Jane Doe"), account("tiktok", "b2", "jane doe"), "name", 1),
        (account("x", "a1", country_code="US"), account("tiktok", "b2", country_code="US"), "country", 1),
        (account("x", "a1", country_code="US"), account("tiktok", "b2", country_code="BR"), "country", 2),
        (account("x", "a1", country_code="US"), account("tiktok", "b2"), "country", 0),
        (account("x", "a1", followers_count=100), account("tiktok", "b2", followers_count=100), "followers", 1),
        (
            account("x", "a1", followers_count=100),
            account("tiktok", "b2", followers_count=100_000),
            "followers",
            step("followers", 3.0),
        ),
        (account("x", "a1"), account("tiktok", "b2", followers_count=100), "followers", 0),
        (account("x", "a1", emails=["e"]), account("tiktok", "b2", emails=["e"]), "email", step("email", 11.0)),
        (account("x", "a1", emails=["e"]), account("tiktok", "b2", emails=["f"]), "email", 0),
    ],
)
def test_steps(left, right, name, expected):
    assert look([left, right], name) == look([right, left], name) == expected


@pytest.mark.parametrize("others", [0, 1, 5])
def test_users_are_those_besides_the_two(others):
    """Of names and of handles alike, on whatever platforms they are."""
    pair = [account("x", "bluelark", "Jane Doe"), account("tiktok", "redfinch", "Jane Doe")]
    rest = [account(("x", "youtube")[at % 2], f"other{at}", "Jane Doe") for at in range(others)]
    assert look([*pair, *rest], "name_users") == step("name_users", others)
    handles = [account("x", "bluelark"), account("tiktok", "thebluelark")]
    rest = [account("x", f"bluelark{at}") for at in range(1, others + 1)]
    assert look([*handles, *rest], "stem_users_most") == step("stem_users_most", others)


def test_a_pair_looks_the_same_from_both_sides_and_in_any_batch():
    rows = [row for row, _ in synthetic_people(150, seed=3)]
    draw = np.random.default_rng(0)
    left, right = draw.integers(0, len(rows), 4_000), draw.integers(0, len(rows), 4_000)
    whole = looks_between(rows, left, right)
    assert (whole == looks_between(rows, right, left)).all()
    some = np.arange(0, 4_000, 7)
    assert (whole[some] == looks_between(rows, left[some], right[some])).all()
    assert (whole.max(axis=0) <= [len(steps) for steps in STEPS.values()]).all()


def test_blinded_looks_do_not_say_whether_two_lie_on_one_platform():
    """Else strangers of one platform would tell nothing of strangers of two."""
    draw, people = np.random.default_rng(5), [row for row, _ in synthetic_people(150, seed=8)]
    rows = []
    for at, row in enumerate(people):
        more = {"emails": [f"e{draw.integers(60)}"], "domains": [f"d{draw.integers(60)}.org"]}
        more |= {"country_code": ("US", "BR")[draw.integers(2)], "language_code": ("en", "pt", None)[draw.integers(3)]}
        target = {"target": f"youtube:c{draw.integers(60)}", "evidence": "bio"}
        mark = ("", "", "", "@")[draw.integers(4)]
        rows.append(
            row
            | more
            | {
                "platform_account_id": f"{mark}{at}",
                "links": [target],
                "followers_count": int(10 ** draw.uniform(1, 7)),
            }
        )
    apart = [row | {"platform": "x"} for row in rows]
    moved = [row | {"platform": "tiktok" if at % 2 else "x"} for at, row in enumerate(rows)]
    left, right = np.triu_indices(len(rows), 1)
    looks = looks_between(apart, left, right)
    assert (blinded(looks) == blinded(looks_between(moved, left, right))).all()
    assert (looks.max(axis=0) > 0).all()
