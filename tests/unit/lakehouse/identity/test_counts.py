"""Key counts: never too low, exact but for few collisions, the same however the keys are split."""

from __future__ import annotations

import numpy as np

from lakehouse.identity.counts import COUNT_MAX, bucket_count, partial_counts, total


def _keys(accounts: int) -> np.ndarray:
    """30 keys an account, every tenth of them shared by three accounts."""
    rare = np.arange(accounts * 27, dtype=np.uint64) * np.uint64(2_654_435_761)
    shared = np.repeat(np.arange(accounts, dtype=np.uint64) + np.uint64(10**18), 3)
    return np.concatenate([rare, shared])


def test_counts_are_upper_bounds_and_mostly_exact():
    keys = _keys(20_000)
    counts = total([partial_counts(keys, bucket_count(20_000))], bucket_count(20_000))
    distinct, true = np.unique(keys, return_counts=True)
    found = counts.of(distinct)
    assert (found >= true).all()
    assert (found != true).mean() < 0.05


def test_a_small_set_of_accounts_is_counted_exactly_but_for_one_in_a_thousand():
    keys = _keys(500)
    counts = total([partial_counts(keys, bucket_count(500))], bucket_count(500))
    distinct, true = np.unique(keys, return_counts=True)
    assert (counts.of(distinct) != true).mean() < 0.001 * 2


def test_partial_counts_add_up_and_saturate():
    keys, size = np.concatenate([_keys(300), np.full(1_000, 7, dtype=np.uint64)]), bucket_count(300)
    whole = total([partial_counts(keys, size)], size)
    split = total([partial_counts(part, size) for part in np.array_split(keys, 7)], size)
    assert (whole.table == split.table).all()
    assert whole.of(np.array([7], dtype=np.uint64)).tolist() == [COUNT_MAX]
    assert whole.of(np.array([123_456_789], dtype=np.uint64)).tolist() == [1]
