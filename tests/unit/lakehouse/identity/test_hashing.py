"""Which values are in a list: the same by a table of some bits as one by one, whatever is more."""

from __future__ import annotations

import numpy as np
import pytest

from lakehouse.identity.hashing import among


@pytest.mark.parametrize("dtype", [np.uint64, np.int64])
@pytest.mark.parametrize(
    ("values", "listed"), [(0, 3), (5, 0), (40, 5), (39, 5), (10_000, 1), (20_000, 700), (500, 700)]
)
def test_values_are_found_by_either_way(values: int, listed: int, dtype: type):
    draw = np.random.default_rng(values + listed)
    names = np.sort(draw.integers(0, 2**64, listed, dtype=np.uint64).view(dtype))
    asked = draw.integers(0, 2**64, values, dtype=np.uint64).view(dtype)
    near = asked[::3]
    near[:] = (
        names[draw.integers(0, listed, len(near))] + draw.integers(0, 3, len(near)).astype(dtype) if listed else near
    )
    assert (among(asked, names) == np.isin(asked, names)).all()
