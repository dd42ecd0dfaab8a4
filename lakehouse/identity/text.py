"""Normal forms of handles and names for comparison, computed on whole Arrow arrays.

What agreement on a form is worth is not here (`nodes.py`).
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ACCENTS = r"[\x{0300}-\x{036F}]"
NOT_WORD = r"[^\p{L}\p{N}\p{M}]+"
OPAQUE_HANDLE = r"^(?:@?UC[A-Za-z0-9_-]{22}|[0-9]+)$"
"""Channel ids and bare numbers name an account but say nothing about its owner."""
TOKENS_MAX = 6
"""Tokens of a name that are compared; longer names are slogans."""


def folded(texts: pa.Array) -> pa.Array:
    """NFKC, lower case, without accents; other scripts keep their marks."""
    bare = pc.replace_substring_regex(pc.utf8_normalize(texts.cast(pa.string()), "NFKD"), ACCENTS, "")
    return pc.utf8_lower(pc.utf8_normalize(bare, "NFKC"))


def compact(texts: pa.Array) -> pa.Array:
    """Letters and digits only; null where nothing is left."""
    return _null_if_empty(pc.replace_substring_regex(folded(texts), NOT_WORD, ""))


def compact_handles(handles: pa.Array) -> pa.Array:
    """Compact form of handles; opaque ids become null."""
    opaque = pc.fill_null(pc.match_substring_regex(handles, OPAQUE_HANDLE), fill_value=False)
    return compact(pc.if_else(opaque, pa.scalar(None, pa.string()), handles))


def strip_affixes(compacts: pa.Array, affixes: tuple[str, ...], *, chars_min: int) -> pa.Array:
    """Without known affixes and outer digits; unchanged where fewer than `chars_min` characters would stay."""
    words = "|".join(re.escape(word) for word in sorted(affixes, key=len, reverse=True))
    bare = pc.replace_substring_regex(compacts, rf"^(?:{words}|[0-9])+", "")
    stems = pc.replace_substring_regex(bare, rf"(?:{words}|[0-9])+$", "")
    short = pc.less(pc.utf8_length(stems), chars_min)
    return pc.if_else(short, compacts, stems)


def outer_digits(compacts: pa.Array) -> pa.Array:
    """The digits at the end; empty where there are none, null for null."""
    return pc.replace_substring_regex(compacts, r"^.*?([0-9]*)$", r"\1")


def tokens(texts: pa.Array) -> pa.ListArray:
    """Distinct words of each text in sorted order, at most `TOKENS_MAX`; an empty list for null."""
    words = pc.split_pattern_regex(pc.fill_null(folded(texts), ""), NOT_WORD)
    parents = pc.list_parent_indices(words).to_numpy(zero_copy_only=False)
    flat = words.flatten()
    keep = pc.not_equal(flat, "").to_numpy(zero_copy_only=False)
    order, starts = _distinct(parents[keep], flat.filter(pa.array(keep)), rows=len(texts))
    return pa.ListArray.from_arrays(pa.array(starts, pa.int32()), flat.filter(pa.array(keep)).take(pa.array(order)))


def _distinct(parents: np.ndarray, values: pa.Array, *, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the kept values in (row, value) order and the offsets of the rows."""
    ranks = pc.rank(values, tiebreaker="dense").to_numpy() if len(values) else np.zeros(0, np.int64)
    order = np.lexsort((ranks, parents))
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (np.diff(parents[order]) != 0) | (np.diff(ranks[order].astype(np.int64)) != 0)
    order = order[is_new]
    position = within(parents[order])
    order = order[position < TOKENS_MAX]
    starts = np.searchsorted(parents[order], np.arange(rows + 1))
    return order, starts


def within(groups: np.ndarray) -> np.ndarray:
    """Ordinal of each element inside its run of equal values."""
    if not len(groups):
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    return np.arange(len(groups)) - np.repeat(starts, np.diff(np.r_[starts, len(groups)]))


def _null_if_empty(texts: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
