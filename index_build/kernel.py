"""The loop behind `dots.py`, for Numba to compile. Importing this takes half a second: only `dots.py` does, when it has rows to score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

AHEAD = 8
"""Rows between the one that is multiplied and the one that is asked for: reading memory takes as long as some eight rows of 384 bytes."""

CACHE_LINE = 64
"""Bytes that a processor reads at once."""

ByteRows = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]

_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_WEIGHTS = types.Array(types.float32, 1, "C", readonly=True)
_ROWS = types.Array(types.int64, 1, "C", readonly=True)
_SIGNATURE = types.void(_BYTES, _WEIGHTS, _ROWS, types.float32[::1])


def compiled() -> Callable[..., None]:
    """The loop, compiled: writes the inner products of `weights` (d,) with rows of `stored` (n * d,) to `out` (m,).

    It trusts its arguments: a row id (m,) outside is memory of somebody else.
    """
    # sums may be reordered, as they must be to use a processor's wide registers; nothing else is relaxed
    loop: Callable[..., None] = numba.njit(_SIGNATURE, nogil=True, fastmath={"reassoc", "contract", "nsz"})(_dots)
    return loop


def _dots(stored: ByteRows, weights: Floats, row_ids: RowIds, out: Floats) -> None:
    dimensions, count = len(weights), len(row_ids)
    for place in range(count):
        if place + AHEAD < count:
            start = row_ids[place + AHEAD] * dimensions
            for offset in range(0, dimensions, CACHE_LINE):
                _prefetch(stored, start + offset)  # type: ignore[call-arg]
        start = row_ids[place] * dimensions
        row = stored[start : start + dimensions]
        total = np.float32(0)
        for dimension in range(dimensions):
            total += np.float32(row[dimension]) * weights[dimension]
        out[place] = total


@intrinsic  # type: ignore[untyped-decorator]
def _prefetch(_context: Any, stored: types.Array, place: types.Integer) -> tuple[Any, Any]:
    """LLVM's instruction that asks for the cache line of a place, for reading and to be kept."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: tuple[ir.Value, ir.Value]) -> ir.Value:
        array = context.make_array(signature.args[0])(context, builder, values[0])
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [array.data.type, flag, flag, flag])
        ask = builder.module.declare_intrinsic("llvm.prefetch", [array.data.type], kind)
        builder.call(ask, [builder.gep(array.data, [values[1]]), flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(stored, place), generate
