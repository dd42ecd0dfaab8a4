"""Blocking keys: which accounts are compared at all, bounded per account by construction.

`potential_keys` gives every key that an account could meet another one under. `select_keys` keeps, from the counts of
the whole set, the rarest ones that fit the account's budget of candidates:

* A key of n accounts costs n - 1 candidates, at least `SMALLEST` - 1, which leaves room for accounts that come later; an account
  takes keys, rarest first, while their cost fits. What a key costs is the most others that each of its members meets.
* A key of more than `key_size_max` accounts is refined by the first letters of the account's text. An account takes at most one
  such key, and meets `window` neighbours on either side of it, sorted by that text.

So no account has more than `candidates_max` candidates whatever the others look like: both ends of a pair must have taken the
key, and a key that outgrew its count is met in a window as well (`pairs.py`). What an account takes depends on nothing but itself
and the frozen counts: neither on the order of the accounts nor on who else came since.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.identity.counts import Counts
from lakehouse.identity.fields import field_keys
from lakehouse.identity.hashing import ABSENT, Kind, as_key, combine, gram_hashes, hash_strings, kind_of, mix
from lakehouse.identity.model import Blocking, Model
from lakehouse.identity.nodes import lengths
from lakehouse.identity.text import within

TEXT_CHARS_MAX = 32
"""Characters of a handle or name that give n-grams; longer handles do not exist, longer names are slogans."""
PAIRED_TOKENS = 5
"""Tokens of a name whose pairs are keys: 10 pairs at most."""
LISTED_MAX = 8
"""E-mails and domains of an account that are looked at."""
WEAK_KINDS = (Kind.TOKEN, Kind.GRAM)
"""Kinds whose agreement says little: they get what the others leave of the budget."""
_IS_WEAK = np.array([kind in WEAK_KINDS for kind in Kind])
PREFIX_CHARS = 2
"""Letters of the account's text that refine an oversized key."""
FORMAT = "6"
"""Of keys and of what is learned beside them: another means that both have to be drawn anew."""
SIZE_BITS = 8
"""Of `COUNT_MAX`."""
COLUMN_BITS = np.uint32(16)
"""Of the place of a key in its row, which has fewer than 32,768."""
SMALLEST = 3
"""Accounts that the rarest key has room for."""


class Selected(NamedTuple):
    """Keys taken by each account: matrices (accounts, columns), `ABSENT` where none, rarest first, refined ones last.

    `shares` are the most candidates that a member of the key meets there.
    """

    keys: np.ndarray
    shares: np.ndarray


def potential_keys(made: dict[str, pa.Array], model: Model) -> np.ndarray:
    """All keys of each account: a matrix (accounts, columns), ascending without repeats in a row, `ABSENT` between them."""
    generic = pc.is_in(made["tokens"].flatten(), pa.array(sorted(model.generic_tokens)))
    token_hashes = np.where(generic.to_numpy(zero_copy_only=False), ABSENT, hash_strings(made["tokens"].flatten()))
    tokens = _spread(token_hashes, lengths(made["tokens"]), width=PAIRED_TOKENS)
    chars = model.blocking.gram_chars
    grams = [gram_hashes(made[name], chars=chars, length_max=TEXT_CHARS_MAX) for name in ("stem", "name")]
    columns = [
        *(as_key(hash_strings(made[name]), Kind.LINK)[:, None] for name in ("own_handle", "own_id")),
        _listed(made["links"], Kind.LINK, width=model.links.listed_max),
        _listed(made["emails"], Kind.EMAIL, width=LISTED_MAX),
        _listed(made["domains"], Kind.DOMAIN, width=LISTED_MAX),
        *(as_key(hash_strings(made[name]), Kind.TEXT)[:, None] for name in ("handle", "name")),
        *(as_key(hash_strings(made[name]), Kind.STEM)[:, None] for name in ("stem", "name_stem")),
        *(
            as_key(combine(tokens[:, i], tokens[:, j]), Kind.TOKENS)[:, None]
            for i, j in combinations(range(PAIRED_TOKENS), 2)
        ),
        as_key(tokens, Kind.TOKEN),
        *(as_key(gram, Kind.GRAM) for gram in grams),
        *field_keys(made, model),
    ]
    return _without_repeats(np.hstack(columns))


def select_keys(keys: np.ndarray, counts: Counts, prefixes: np.ndarray, rules: Blocking) -> Selected:
    """Keys that each account takes.

    Args:
        keys: matrix of `potential_keys`.
        counts: frequencies of the keys in the whole set.
        prefixes: hash of each account's first letters, refines oversized keys.
        rules: the caps.
    """
    keys, sizes = _ranked(keys, counts, rules)
    is_large = sizes > rules.key_size_max
    taken = _within_budget(keys, np.where(is_large, 0, sizes - 1), is_large, rules)
    taken |= _first_large(keys, is_large)
    refined = as_key_of_same_kind(combine(keys, np.broadcast_to(prefixes[:, None], keys.shape)), keys)
    keys = np.where(is_large, refined, keys)
    order = _emission_order(keys, sizes, is_large, taken)
    width = max(int(taken.sum(axis=1).max(initial=0)), 1)
    keys, sizes, is_large, taken = (
        np.take_along_axis(m, order, axis=1)[:, :width] for m in (keys, sizes, is_large, taken)
    )
    shares = np.where(is_large, 2 * rules.window, sizes - 1)
    return Selected(np.where(taken, keys, ABSENT), np.where(taken, shares, 0))


def is_lone(keys: np.ndarray, shares: np.ndarray, counts: Counts) -> np.ndarray:
    """Which of some keys that accounts take one account alone had when the counts were drawn."""
    return np.asarray((shares == SMALLEST - 1) & (counts.of(keys.view(np.uint64)) <= 1))


def as_key_of_same_kind(hashes: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """New keys with the kinds of `keys`."""
    return np.where(keys == ABSENT, ABSENT, (mix(hashes) & ~np.uint64(7)) | (keys & np.uint64(7)))


def prefix_hashes(made: dict[str, pa.Array]) -> np.ndarray:
    """Hash of the first letters of each account's sort text; never 0."""
    return hash_strings(pc.utf8_slice_codeunits(made["sort_text"], 0, PREFIX_CHARS)) | np.uint64(1)


def _listed(lists: pa.ListArray, kind: Kind, *, width: int) -> np.ndarray:
    return as_key(_spread(hash_strings(lists.flatten()), lengths(lists), width=width), kind)


def _spread(values: np.ndarray, sizes: np.ndarray, *, width: int) -> np.ndarray:
    """Flat lists as a matrix of `width` columns; of longer lists the smallest hashes stay."""
    parents = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((values, parents))
    parents, values = parents[order], values[order]
    column = within(parents)
    matrix = np.zeros((len(sizes), width), dtype=np.uint64)
    fits = column < width
    matrix[parents[fits], column[fits]] = values[fits]
    return matrix


def _without_repeats(keys: np.ndarray) -> np.ndarray:
    ordered = np.sort(keys, axis=1)
    width = int((ordered != ABSENT).sum(axis=1).max(initial=1))
    ordered = ordered[:, ordered.shape[1] - width :]
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = ABSENT
    return ordered


def _ranked(keys: np.ndarray, counts: Counts, rules: Blocking) -> tuple[np.ndarray, np.ndarray]:
    """The rarest keys of each kind in the order in which they are taken, and their sizes.

    Weak kinds come last, and of them those last that nobody else had when the counts were drawn: they are many, and only serve
    accounts that came since. Of equal ranks the smaller key comes first, as it does in what is given.
    """
    is_there, kinds = keys != ABSENT, kind_of(keys).astype(np.uint8)
    uses = np.ones(keys.shape, dtype=np.uint8)
    uses[is_there] = counts.of(keys[is_there])
    is_lone, sizes = _IS_WEAK[kinds] & (uses <= 1), np.maximum(uses, np.uint8(SMALLEST))
    column, (is_not, kinds, is_lone, sizes) = _by_rank((~is_there, 1), (kinds, 3), (is_lone, 1), (sizes, SIZE_BITS))
    limits = np.array([rules.limits.get(kind.name.lower(), rules.grams_max) for kind in Kind])
    is_not |= _ordinal(np.where(is_not, np.uint8(len(Kind)), kinds)) >= limits[kinds]
    width = max(int((is_not == 0).sum(axis=1).max(initial=0)), 1)
    place, ranks = _by_rank((is_not, 1), (_IS_WEAK[kinds], 1), (is_lone, 1), (sizes, SIZE_BITS), (kinds, 3))
    keys = np.take_along_axis(keys, np.take_along_axis(column, place[:, :width], axis=1), axis=1)
    return np.where(ranks[0][:, :width] == 0, keys, ABSENT), ranks[3][:, :width].astype(np.int64)


def _by_rank(*ranks: tuple[np.ndarray, int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Columns of each row ordered by several ranks, the first weighing most, and the ranks in that order; each comes with its bits.

    Equal ones stay as they are: what is sorted is one number, ranks above the column.
    """
    columns = ranks[0][0].shape[1]
    packed = np.sort((_packed(*ranks).astype(np.uint32) << COLUMN_BITS) | np.arange(columns, dtype=np.uint32), axis=1)
    left, ordered = packed >> COLUMN_BITS, []
    for _, bits in reversed(ranks):
        ordered.append((left & np.uint32((1 << bits) - 1)).astype(np.uint8))
        left >>= np.uint32(bits)
    return (packed & np.uint32((1 << int(COLUMN_BITS)) - 1)).astype(np.int64), ordered[::-1]


def _packed(*ranks: tuple[np.ndarray, int]) -> np.ndarray:
    """Ranks as one number each, the first weighing most; each comes with its bits."""
    packed = np.zeros(ranks[0][0].shape, dtype=np.uint16)
    for values, bits in ranks:
        packed = (packed << np.uint16(bits)) | values.astype(np.uint16)
    return packed


def _ordinal(kinds: np.ndarray) -> np.ndarray:
    """Position of each entry among the entries of its kind in its row; rows are grouped by kind."""
    columns = np.broadcast_to(np.arange(kinds.shape[1], dtype=np.int16), kinds.shape)
    is_first = np.ones(kinds.shape, dtype=bool)
    is_first[:, 1:] = kinds[:, 1:] != kinds[:, :-1]
    return np.asarray(columns - np.maximum.accumulate(np.where(is_first, columns, np.int16(0)), axis=1))


def _within_budget(keys: np.ndarray, costs: np.ndarray, is_large: np.ndarray, rules: Blocking) -> np.ndarray:
    """Which keys fit, taken greedily in order; what one large key costs is set aside."""
    budget = np.full(len(keys), rules.candidates_max - 2 * rules.window, dtype=np.int64)
    taken = np.zeros(keys.shape, dtype=bool)
    for column in range(keys.shape[1]):
        fits = (keys[:, column] != ABSENT) & ~is_large[:, column] & (costs[:, column] <= budget)
        taken[:, column] = fits
        budget -= np.where(fits, costs[:, column], 0)
    return taken


def _first_large(keys: np.ndarray, is_large: np.ndarray) -> np.ndarray:
    candidates = is_large & (keys != ABSENT)
    return np.asarray(candidates & (np.cumsum(candidates, axis=1) == 1))


def _emission_order(keys: np.ndarray, sizes: np.ndarray, is_large: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Order in which a pair looks for its first common key: not taken last, then windowed, then by size and key."""
    return np.lexsort((keys, _packed((~taken, 1), (is_large, 1), (sizes, SIZE_BITS))), axis=1)
