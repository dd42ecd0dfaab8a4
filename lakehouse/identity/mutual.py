"""On which platforms the account of whoever owns an account is known: two accounts that link each other are one person's.

Whoever has an account on a platform that is known is not behind another one there: of such a pair it is known, without a label, that
it is two people's. Links are met by the names they use, so that no account has to be looked up.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.identity.hashing import account_digests, among, combine, hash_strings
from lakehouse.identity.nodes import lengths, platforms_of
from lakehouse.silver.mentions import BIO, DECLARED

LINKED = pa.schema([("pair", pa.int64()), ("is_first", pa.bool_()), ("owner", pa.int64())])
"""A name that links another: digest of the two, whichever links; which of them does; the account and the platform of the other
(`owners`). Digests are signed, as Spark has them."""
OWN = (DECLARED, BIO)
"""Evidence of links that count: friends mention each other in posts."""
ACCOUNTS_MAX = 20_000_000
"""Of more accounts so many are looked at, by the digests of their links: about 32 bytes for each link, by handle and by id."""


def owners(platforms: pa.Array, ids: pa.Array, others: pa.Array) -> np.ndarray:
    """Digest (uint64) of each account and another platform."""
    return combine(account_digests(platforms, ids), hash_strings(others))


def links_of(raw: pa.Table, accounts: int) -> pa.Table:
    """Rows of `LINKED` of some `RAW` rows, out of so many accounts."""
    links = raw.column("links").combine_chunks()
    parents = np.repeat(np.arange(len(links)), lengths(links))
    flat = links.flatten()
    targets, is_own = pc.struct_field(flat, "target"), pc.is_in(pc.struct_field(flat, "evidence"), pa.array(OWN))
    source = raw.select(["platform", "platform_account_id", "handle_key"]).take(pa.array(parents)).combine_chunks()
    platforms, ids, handles = (column.combine_chunks() for column in source.columns)
    elsewhere = platforms_of(targets)
    counts = pc.fill_null(pc.and_(pc.not_equal(elsewhere, platforms), is_own), fill_value=False)
    counts = np.asarray(counts.to_numpy(zero_copy_only=False))
    owner, aim = owners(platforms, ids, elsewhere), hash_strings(targets)
    found = [LINKED.empty_table()]
    for names in (ids, handles):
        own = hash_strings(pc.binary_join_element_wise(platforms, names, ":"))
        pair = combine(np.minimum(own, aim), np.maximum(own, aim))
        kept = counts & (own > 0) & (pair <= _last(accounts))
        columns = pair.view(np.int64), own < aim, owner.view(np.int64)
        found.append(pa.table([column[kept] for column in columns], schema=LINKED))
    return pa.concat_tables(found)


def owned(linked: pa.Table) -> np.ndarray:
    """Digests, ascending, of accounts and the platforms on which an account links them back.

    Args:
        linked: rows of `LINKED`, all those of a pair or none of them.
    """
    pair, is_first, owner = (linked.column(name).to_numpy() for name in LINKED.names)
    mutual = np.intersect1d(pair[is_first], pair[~is_first])
    return np.unique(owner[among(pair, mutual)].view(np.uint64))


def _last(accounts: int) -> np.uint64:
    """The last digest of a pair that is looked at."""
    share = min(1.0, ACCOUNTS_MAX / max(accounts, 1))
    return np.uint64(2**64 - 1) if share == 1.0 else np.uint64(int(share * 2**64))
