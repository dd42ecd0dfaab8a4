"""Handles: each once per platform, within its rules, and as alike across platforms as those of real people."""

import itertools
import re

import numpy as np
import pytest
from rapidfuzz.distance import JaroWinkler

from lakehouse.contracts.taxonomy import PLATFORMS
from lakehouse.simulate.handles import MAX_CHARS, account_ids, find_taken, handle_keys, platform_ids, wished
from lakehouse.simulate.people import creators_of, presence
from lakehouse.simulate.world import World

WORLD = World(creators_count=4_000)
IDS = np.arange(WORLD.creators_count, dtype=np.uint64)
RULES = (r"[a-z0-9._]{2,30}", r"[a-z0-9._]{2,24}", r"[a-z0-9._]{2,30}", r"[a-z0-9_]{2,15}")


@pytest.fixture(scope="module")
def handles():
    """Handle of each creator on each platform, None where there is no account."""
    creators, is_on, taken = creators_of(WORLD, IDS), presence(WORLD, IDS), find_taken(WORLD, len(IDS))
    columns = [handle_keys(WORLD, creators, platform, taken).to_pylist() for platform in range(len(PLATFORMS))]
    return [
        [key if on else None for key, on in zip(column, is_on[:, p], strict=True)] for p, column in enumerate(columns)
    ]


def test_a_platform_gives_a_handle_out_once(handles):
    for column in handles:
        given = [key for key in column if key is not None]
        assert len(set(given)) == len(given)


def test_handles_keep_to_the_rules_of_their_platform(handles):
    for column, rule, limit in zip(handles, RULES, MAX_CHARS, strict=True):
        broken = [key for key in column if key is not None and (not re.fullmatch(rule, key) or key.endswith("."))]
        assert broken == []
        assert max(len(key) for key in column if key) <= limit


def test_pairs_are_as_alike_as_real_ones(handles):
    pairs = [
        (a, b)
        for left, right in itertools.combinations(handles, 2)
        for a, b in zip(left, right, strict=True)
        if a is not None and b is not None
    ]
    equal = sum(a == b for a, b in pairs) / len(pairs)
    unrelated = sum(JaroWinkler.similarity(a, b) < 0.6 for a, b in pairs) / len(pairs)
    assert 0.28 <= equal <= 0.59
    assert 0.15 <= unrelated <= 0.23


def test_who_is_late_does_not_depend_on_chunks_or_newcomers():
    whole = find_taken(WORLD, 4_000)
    small = find_taken(World(creators_count=4_000, chunk_creators=333), 4_000)
    grown = find_taken(WORLD, 4_500)
    assert sum(map(len, whole.late)) > 0
    for platform in range(len(PLATFORMS)):
        assert np.array_equal(whole.late[platform], small.late[platform])
        old = grown.late[platform][grown.late[platform] < 4_000 * len(PLATFORMS)]
        assert np.array_equal(whole.late[platform], old)


def test_the_first_who_wishes_a_handle_gets_it():
    creators, taken = creators_of(WORLD, IDS), find_taken(WORLD, len(IDS))
    is_on = presence(WORLD, IDS)[:, 0]
    wishes = [key for key, on in zip(wished(WORLD, creators, 0).to_pylist(), is_on, strict=True) if on]
    owners = account_ids(IDS, 0)[is_on].tolist()
    first: dict[str, int] = {}
    late = [owner for key, owner in zip(wishes, owners, strict=True) if first.setdefault(key, owner) != owner]
    assert late == taken.late[0].tolist()


@pytest.mark.parametrize(("platform", "pattern"), [(0, r"\d{11}"), (1, r"\d{19}"), (2, r"UC[\w-]{22}"), (3, r"\d{19}")])
def test_platform_ids_are_distinct_and_look_right(platform, pattern):
    ids = platform_ids(WORLD, account_ids(IDS, platform), platform).to_pylist()
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(pattern, one) for one in ids)
