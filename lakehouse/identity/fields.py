"""Further fields of a row, as a model declares them: normal forms, keys, how surprising a value is, and how near two values are.

A field has one of four kinds, and that is all that code knows of it. What agreement is worth is in the model, as of every other
signal (`signals.py` votes). Accounts have no such fields, and pay nothing for them.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rapidfuzz.distance import OSA, JaroWinkler
from rapidfuzz.process import cpdist

from lakehouse.identity import text
from lakehouse.identity.counts import COUNT_MAX, Counts
from lakehouse.identity.hashing import Kind, as_key, combine, hash_strings
from lakehouse.identity.model import DIFFERENT, EQUAL, PARTIAL, SIMILAR, Field, FieldKind, KeyPart, Model

NOT_DIGIT = r"[^0-9]"
DATE_CHARS, YEAR_CHARS = 8, 4
"""Of a date in digits, `YYYYMMDD`: what is shorter is none, what follows is its time."""
ALIKE, RATHER_ALIKE = 0.9, 0.8
"""Jaro-Winkler similarity of names."""
ONE_SLIP = 1
"""A character of a date or code that is wrong, missing, too many, or changed places with the next."""
LEVEL_TYPE = "<U9"


def field_forms(raw: pa.Table, model: Model) -> dict[str, pa.Array]:
    """Normal forms of the declared fields of a batch of rows, by column; null where nothing is left."""
    return {field.column: _form(raw.column(field.column).combine_chunks(), field.kind) for field in model.fields}


def field_keys(made: dict[str, pa.Array], model: Model) -> list[np.ndarray]:
    """A column of keys for each rule of the model; absent where one of its parts is missing."""
    hashes = ([_hashes(made, part) for part in rule] for rule in model.field_keys)
    return [as_key(reduce(combine, parts), Kind.TOKENS)[:, None] for parts in hashes]


def value_keys(made: dict[str, pa.Array], model: Model) -> np.ndarray:
    """Keys of all values, field by field, which are counted but never block."""
    nothing = np.zeros(0, dtype=np.uint64)
    return np.concatenate([nothing, *(_value_keys(made, field) for field in model.fields)])


def field_bits(made: dict[str, pa.Array], counts: Counts, model: Model) -> dict[str, pa.Array]:
    """How surprising each value is, by column: bits of its share of all rows, few where it has more rows than counts tell."""
    bits = {}
    for field in model.fields:
        uses = counts.of(_value_keys(made, field))
        rare = np.log2(np.maximum(counts.accounts / uses, 1.0))
        bits[field.bits_column] = pa.array(
            np.where(uses < COUNT_MAX, rare, np.minimum(rare, field.common_bits)), pa.float32()
        )
    return bits


def field_levels(field: Field, left: pa.Array, right: pa.Array) -> np.ndarray:
    """Level of each pair of values, empty where one is missing."""
    equal = pc.equal(left, right)
    rows = np.flatnonzero(pc.fill_null(pc.invert(equal), fill_value=False).to_numpy(zero_copy_only=False))
    levels = np.where(pc.fill_null(equal, fill_value=False).to_numpy(zero_copy_only=False), EQUAL, "").astype(
        LEVEL_TYPE
    )
    if len(rows):
        levels[rows] = _unequal(field.kind, *(side.take(pa.array(rows)) for side in (left, right)))
    return levels


def _form(values: pa.Array, kind: FieldKind) -> pa.Array:
    if kind is not FieldKind.DATE:
        return text.compact(values)
    digits = pc.replace_substring_regex(values, NOT_DIGIT, "")
    is_date = pc.greater_equal(pc.utf8_length(digits), DATE_CHARS)
    return pc.if_else(is_date, pc.utf8_slice_codeunits(digits, 0, DATE_CHARS), pa.scalar(None, pa.string()))


def _hashes(made: dict[str, pa.Array], part: KeyPart) -> np.ndarray:
    values = made[part.field.column]
    return _own(pc.utf8_slice_codeunits(values, 0, part.chars) if part.chars else values, part.field)


def _value_keys(made: dict[str, pa.Array], field: Field) -> np.ndarray:
    return as_key(_own(made[field.column], field), Kind.TOKEN)


def _own(values: pa.Array, field: Field) -> np.ndarray:
    """Hashes of a field's values, others than those of the same values of another field."""
    hashes = hash_strings(values)
    return combine(hashes, np.broadcast_to(hash_strings(pa.array([field.column])), hashes.shape))


def _unequal(kind: FieldKind, left: pa.Array, right: pa.Array) -> np.ndarray:
    """Level of values that are not equal."""
    if kind is FieldKind.EXACT:
        return np.full(len(left), DIFFERENT, dtype=LEVEL_TYPE)
    sides = left.to_pylist(), right.to_pylist()
    if kind is FieldKind.NAME:
        alike = cpdist(*sides, scorer=JaroWinkler.similarity)
        return np.select([alike >= ALIKE, alike >= RATHER_ALIKE], [SIMILAR, PARTIAL], default=DIFFERENT)
    slipped = cpdist(*sides, scorer=OSA.distance) <= ONE_SLIP
    shared = _shares_half(left, right) if kind is FieldKind.CODE else _shares_year_or_day(left, right)
    return np.select([slipped, shared], [SIMILAR, PARTIAL], default=DIFFERENT)


def _shares_year_or_day(left: pa.Array, right: pa.Array) -> np.ndarray:
    parts = (0, YEAR_CHARS), (YEAR_CHARS, DATE_CHARS)
    year, day = (pc.equal(*(pc.utf8_slice_codeunits(side, *part) for side in (left, right))) for part in parts)
    return np.asarray(pc.or_(year, day).to_numpy(zero_copy_only=False))


def _shares_half(left: pa.Array, right: pa.Array) -> np.ndarray:
    """Whether codes, such as postcodes, begin with the same half."""
    halves = [[code[: len(code) // 2] for code in side.to_pylist()] for side in (left, right)]
    return np.asarray([bool(a) and a == b for a, b in zip(*halves, strict=True)], dtype=bool)
