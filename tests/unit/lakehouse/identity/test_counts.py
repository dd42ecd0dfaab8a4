"""Key counts: exact up to their maximum, the same however the keys are split, and the same after they were stored."""

from __future__ import annotations

import numpy as np

from lakehouse.identity.counts import COUNT_MAX, Counts, digest_of, listed, partial_counts, range_begins, summed, total


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


def test_counts_are_found_in_any_order_and_shape():
    counts = total([partial_counts(_keys(300))], 300)
    distinct, true = np.unique(_keys(300), return_counts=True)
    order = np.random.default_rng(1).permutation(len(distinct) // 2 * 2).reshape(2, -1)
    assert (counts.of(distinct[order]) == np.minimum(true, COUNT_MAX)[order]).all()


def test_ranges_of_keys_add_up_to_the_whole():
    keys = np.random.default_rng(2).integers(0, 2**64, 5_000, dtype=np.uint64) // np.uint64(7) * np.uint64(7)
    keys = np.concatenate([keys, keys[:500], np.array([0, 0, 2**64 - 1, 2**64 - 1], dtype=np.uint64)])
    whole = total([partial_counts(keys)], 1)
    for parts in (1, 2, 17):
        halves = [partial_counts(half) for half in np.array_split(keys, 2)]
        found = []
        for part in range(parts):
            pieces = [
                (some[begin:end], uses[begin:end])
                for some, uses in halves
                for begin, end in [_bounds(some, parts, part)]
            ]
            found.append(listed(*summed(pieces), 1))
        assert (np.concatenate([some.keys for some in found]) == whole.keys).all()
        assert (np.concatenate([some.uses for some in found]) == whole.uses).all()


def _bounds(keys: np.ndarray, parts: int, part: int) -> tuple[int, int]:
    begins = [*np.searchsorted(keys, range_begins(parts)), len(keys)]
    return int(begins[part]), int(begins[part + 1])


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
