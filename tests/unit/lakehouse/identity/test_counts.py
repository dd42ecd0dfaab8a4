"""Key counts: exact up to their maximum, the same however the keys are split, and the same after they were stored."""

from __future__ import annotations

import numpy as np

from lakehouse.identity.counts import COUNT_MAX, Counts, digest_of, partial_counts, total


def _keys(accounts: int) -> np.ndarray:
    """30 keys an account, every tenth of them shared by three accounts, one by a thousand."""
    rare = np.arange(accounts * 27, dtype=np.uint64) * np.uint64(2_654_435_761)
    shared = np.repeat(np.arange(accounts, dtype=np.uint64) + np.uint64(10**18), 3)
    return np.concatenate([rare, shared, np.full(1_000, 7, dtype=np.uint64)])


def test_counts_are_exact_and_saturate():
    keys = _keys(2_000)
    counts = total([partial_counts(keys)], 2_000)
    distinct, true = np.unique(keys, return_counts=True)
    assert counts.of(distinct).tolist() == np.minimum(true, COUNT_MAX).tolist()
    assert counts.of(np.array([123_456_789], dtype=np.uint64)).tolist() == [1]


def test_only_shared_keys_are_listed():
    assert len(total([partial_counts(_keys(300))], 300).keys) == 301


def test_partial_counts_add_up():
    keys = _keys(300)
    whole = total([partial_counts(keys)], 300)
    split = total([partial_counts(part) for part in np.array_split(keys, 7)], 300)
    assert (whole.keys == split.keys).all()
    assert (whole.uses == split.uses).all()


def test_stored_counts_are_the_same_and_keep_what_is_said_of_them():
    counts = total([partial_counts(_keys(300))], 300)
    body = counts.to_bytes({"model": "identity-9"})
    found, said = Counts.from_bytes(body)
    assert (said, found.accounts) == ({"model": "identity-9"}, 300)
    assert (found.keys == counts.keys).all()
    assert (found.uses == counts.uses).all()
    assert digest_of(body) == digest_of(counts.to_bytes(said)) != digest_of(counts.to_bytes({"model": "identity-10"}))


def test_no_accounts_have_no_keys():
    counts = total([], 0)
    assert counts.of(np.array([[1, 2]], dtype=np.uint64)).tolist() == [[1, 1]]
    assert Counts.from_bytes(counts.to_bytes({}))[0].accounts == 0
