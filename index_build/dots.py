"""Inner products of a query with chosen rows of bytes: the one loop of a search that NumPy has no function for.

NumPy copies the rows, then widens the copy, then multiplies; here each row is read once and the ones after it are already
on their way from memory, without the interpreter's lock. Compiled once in a process, when first needed (about a second).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

ByteRows = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]


def dots(stored: ByteRows, weights: Floats, row_ids: RowIds) -> Floats:
    """Inner products of `weights` (d,) with rows of `stored` (n, d), float32 (m,): the same for a row whatever it is asked with.

    Raises:
        IndexError: one of `row_ids` (m,) is no row.
        ValueError: rows are longer or shorter than `weights`.
    """
    require_rows(row_ids, len(stored))
    if stored.shape[1:] != weights.shape:
        raise ValueError(f"rows of {stored.shape[1:]} numbers, weights of {weights.shape}")
    out = np.empty(len(row_ids), np.float32)
    _compiled()(stored.reshape(-1), np.ascontiguousarray(weights), np.ascontiguousarray(row_ids), out)
    return out


def require_rows(row_ids: RowIds, count: int) -> None:
    """Refuse row ids that are not among `count` rows.

    Raises:
        IndexError: naming the least and the greatest.
    """
    if len(row_ids) and (row_ids.min() < 0 or row_ids.max() >= count):
        raise IndexError(f"rows {row_ids.min()} to {row_ids.max()} of {count}")


@cache
def _compiled() -> Callable[..., None]:
    from index_build.kernel import compiled  # here: it takes half a second, and few who import this score rows

    return compiled()
