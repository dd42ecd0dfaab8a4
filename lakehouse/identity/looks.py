"""How alike two accounts look, in steps: what `likeness.py` learns from and tells the worth of.

Nothing that is looked at may say whether the two lie on one platform, since that tells strangers (`calibration.py`): the users of a
name are counted over all platforms, without the two themselves. Equal handles do say it, since a platform gives a handle once; where
strangers are told by their platform, they are taken for handles of the same letters (`likeness.blinded`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cpdist

from lakehouse.identity.hashing import among
from lakehouse.identity.likeness import LEVELS, STEPS
from lakehouse.identity.nodes import lengths

NO_LOOKS = np.zeros((0, len(STEPS)), dtype=np.uint8)
UNKNOWN = -1.0
"""Value of what one side lacks: below every first step."""
_LEVELS = {f"{signal}:{level}": (signal, at) for signal, levels in LEVELS.items() for at, level in enumerate(levels, 1)}
_SHARED = {f"{signal}:shared": signal for signal in ("email", "domain", "link_target")}

Sides = tuple[pa.Array, pa.Array]
Said = tuple[str, np.ndarray, np.ndarray]
"""Label, pairs and bits of something that agrees or does not (`signals.Vote`)."""


def looks_of(left: pa.Table, right: pa.Table, said: Iterable[Said]) -> np.ndarray:
    """Steps of pairs of accounts: pairs x `STEPS`, uint8.

    Args:
        left: rows of `nodes.NODE`.
        right: as many.
        said: what their comparison said.
    """
    values = {name: np.full(left.num_rows, UNKNOWN) for name in STEPS}
    for label, rows, bits in said:
        if label in _LEVELS:
            signal, level = _LEVELS[label]
            values[signal][rows] = level
        elif label in _SHARED:
            values[_SHARED[label]][rows] = bits
    values |= _compared(left, right)
    steps = (
        np.searchsorted(STEPS[name], np.nan_to_num(column, nan=UNKNOWN), "right") for name, column in values.items()
    )
    return np.column_stack([column.astype(np.uint8) for column in steps])


def _compared(left: pa.Table, right: pa.Table) -> dict[str, np.ndarray]:
    """What no vote says."""
    columns = {name: _sides(left, right, name) for name in ("handle", "name", "stem", "name_stem", "tokens")}
    followers = (np.log10(np.maximum(side, 1.0)) for side in _numbers(left, right, "followers_count"))
    name_users = list(_others(left, right, "name_users", columns["name"], columns["handle"]))
    stem_users = list(_others(left, right, "stem_users", columns["stem"], columns["name_stem"]))
    one_script = are_equal(*_sides(left, right, "is_latin"))
    return {
        "handle_similar": _similarity(*columns["handle"]),
        "handle_chars": np.fmin(*(_chars(side) for side in columns["handle"])),
        "name_similar": np.where(one_script, _similarity(*columns["name"]), np.nan),
        "name_chars": np.fmin(*(_chars(side) for side in columns["name"])),
        "tokens": np.where(one_script, _shared(*columns["tokens"]), np.nan),
        "name_users": np.fmax(*name_users),
        "stem_users_least": np.fmin(*stem_users),
        "stem_users_most": np.fmax(*stem_users),
        "followers": np.abs(np.subtract(*followers)),
    }


def _others(left: pa.Table, right: pa.Table, users: str, own: Sides, also: Sides) -> Iterator[np.ndarray]:
    """Accounts besides the two that use the text of each side, which is its own and perhaps the other's in either column."""
    for at, count in enumerate(_numbers(left, right, users)):
        text, other = own[at], 1 - at
        is_other = np.maximum(are_equal(text, own[other]), are_equal(text, also[other]))
        known = text.is_valid().to_numpy(zero_copy_only=False)
        yield np.where(known, np.maximum(count - 1.0 - is_other, 0.0), np.nan)


def _similarity(left: pa.Array, right: pa.Array) -> np.ndarray:
    """Levenshtein similarity of texts, NaN where one lacks."""
    known = np.flatnonzero(both_known(left, right))
    similar = np.full(len(left), np.nan)
    texts = (side.take(pa.array(known)).to_pylist() for side in (left, right))
    similar[known] = cpdist(*texts, scorer=Levenshtein.normalized_similarity, dtype=np.float64)
    return similar


def _shared(left: pa.ListArray, right: pa.ListArray) -> np.ndarray:
    """Tokens that both have; NaN where one has none."""
    sizes = lengths(left), lengths(right)
    parents = np.repeat(np.arange(len(left)), sizes[0])[intersection(left, right)]
    shared = np.bincount(parents, minlength=len(left)).astype(np.float64)
    return np.where(np.minimum(*sizes) > 0, shared, np.nan)


def intersection(left: pa.ListArray, right: pa.ListArray) -> np.ndarray:
    """For each flat value of `left` whether the aligned list of `right` holds it."""
    values = pa.concat_arrays([left.flatten(), right.flatten()]).dictionary_encode()
    codes = values.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    parents = np.concatenate([np.repeat(np.arange(len(side)), lengths(side)) for side in (left, right)])
    entries = parents * (len(values.dictionary) + 1) + codes
    cut = len(left.flatten())
    return among(entries[:cut], np.sort(entries[cut:]))


def _sides(left: pa.Table, right: pa.Table, name: str) -> Sides:
    return left.column(name).combine_chunks(), right.column(name).combine_chunks()


def _numbers(left: pa.Table, right: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    one, other = (pc.cast(side, pa.float64()).to_numpy(zero_copy_only=False) for side in _sides(left, right, name))
    return one, other


def _chars(texts: pa.Array) -> np.ndarray:
    return np.asarray(pc.cast(pc.utf8_length(texts), pa.float64()).to_numpy(zero_copy_only=False))


def both_known(left: pa.Array, right: pa.Array) -> np.ndarray:
    """Which values are known on both sides."""
    return np.asarray(pc.and_(left.is_valid(), right.is_valid()).to_numpy(zero_copy_only=False))


def are_equal(left: pa.Array, right: pa.Array) -> np.ndarray:
    """Which texts are known on both sides and equal."""
    return np.asarray(pc.fill_null(pc.equal(left, right), fill_value=False).to_numpy(zero_copy_only=False))
