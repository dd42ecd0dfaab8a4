"""Text columns as Arrow arrays, built without a Python loop over rows: joining, choosing, spelling numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.simulate.draws import Floats, Ints, Mask

MILLION, THOUSAND = 1_000_000, 1_000

Columns = TypeVar("Columns")
Words: TypeAlias = pa.Array
"""An Arrow array of strings."""
Part: TypeAlias = pa.Array | str


def words(values: Sequence[str | None]) -> Words:
    """A string column from Python strings."""
    return pa.array(values, pa.string())


def take(values: Words, positions: npt.NDArray[np.int64]) -> Words:
    """`values` at those positions."""
    return values.take(pa.array(positions))


def take_rows(columns: Columns, positions: npt.NDArray[np.int64]) -> Columns:
    """A dataclass of columns (arrays, or such dataclasses) at those rows; single values stay."""
    return cast("Columns", _taken(columns, positions))


def _taken(value: Any, positions: npt.NDArray[np.int64]) -> Any:
    if isinstance(value, np.ndarray):
        return value[positions]
    if isinstance(value, pa.Array):
        return take(value, positions)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{column.name: _taken(getattr(value, column.name), positions) for column in fields(value)})
    return value


def join(*parts: Part, between: str = "") -> Words:
    """Columns and constants put together row by row; null where a part is null."""
    return pc.binary_join_element_wise(*parts, between)


def join_filled(*parts: Words, between: Part) -> Words:
    """Columns put together row by row without those that are null or empty there; empty where all are.

    Arrow's own `null_handling="skip"` drops the rows in which every part is null.
    """
    gap = _operand(between)
    whole, *rest = (pc.coalesce(part, "") for part in parts)
    for part in rest:
        is_both = pc.and_(pc.not_equal(whole, ""), pc.not_equal(part, ""))
        whole = join(whole, pc.if_else(is_both, gap, pa.scalar("", pa.string())), part)
    return whole


def where(mask: Mask, yes: Part, no: Part | None) -> Words:
    """`yes` where the mask holds, else `no` (None: null)."""
    return pc.if_else(pa.array(mask), _operand(yes), _operand(no))


def _operand(part: Part | None) -> pa.Array | pa.Scalar:
    return part if isinstance(part, pa.Array) else pa.scalar(part, pa.string())


def numbers(values: Ints) -> Words:
    """Integers in decimal."""
    return pa.array(values).cast(pa.string())


def padded(values: Ints, width: int) -> Words:
    """Integers in decimal with leading zeros."""
    return pc.ascii_lpad(numbers(values), width=width, padding="0")


def decimals(values: Floats, places: int) -> Words:
    """Non-negative numbers with a fixed number of decimal places."""
    scaled = np.rint(values * 10**places).astype(np.int64)
    return join(numbers(scaled // 10**places), ".", padded(scaled % 10**places, places))


def compact(values: Ints) -> Words:
    """Counts as people write them: `409.8K`, `1.2M`, `517`."""
    size = np.select([values >= MILLION, values >= THOUSAND], [MILLION, THOUSAND], 1)
    tenths = values * 10 // size
    short = join(numbers(tenths // 10), ".", numbers(tenths % 10), where(size == MILLION, "M", "K"))
    return where(size == 1, numbers(values), short)


def utf8_bytes(values: Words) -> memoryview:
    """All texts of a column one after the other, without a copy where it can be."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if not len(array):
        return memoryview(b"")
    kind = np.int64 if pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type) else np.int32
    _, offsets, data = array.buffers()
    edges = np.frombuffer(offsets, kind)[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[int(edges[0]) : int(edges[-1])] if data is not None else memoryview(b"")


@dataclass(frozen=True, slots=True)
class Phrases:
    """Lists of phrases by group, flat, so that a group and a random fraction choose a phrase without a loop.

    `texts` holds the groups one after the other; `starts` and `counts` say where each group lies. A group is not empty.
    """

    texts: Words
    starts: Ints
    counts: Ints

    @classmethod
    def of(cls, groups: Sequence[Sequence[str]]) -> Phrases:
        """Flatten the groups; an empty group becomes one empty phrase."""
        filled = [list(group) or [""] for group in groups]
        counts = np.array([len(group) for group in filled], np.int64)
        return cls(words([text for group in filled for text in group]), np.cumsum(counts) - counts, counts)

    def at(self, group: Ints, fraction: Floats) -> Ints:
        """Positions in `texts`: `fraction` in [0, 1) of the way through each row's group."""
        return self.starts[group] + (fraction * self.counts[group]).astype(np.int64)

    def pick(self, group: Ints, fraction: Floats) -> Words:
        """Phrases at those positions."""
        return take(self.texts, self.at(group, fraction))
