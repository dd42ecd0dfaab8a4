"""Nights of the benchmark: edges that are followed are those of a whole computation."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from benchmarks.identity_scale import _Followed, _in_order
from benchmarks.identity_world import people
from lakehouse.identity.engine import find_edges


def test_nights_end_at_the_edges_of_a_whole_computation():
    followed = _Followed(people(3_000).raw, np.random.default_rng(5))
    for _ in range(3):
        followed.night()
        whole = pa.concat_tables(find_edges(followed.raw, followed.model, followed.counts))
        assert _in_order(whole).equals(_in_order(followed.edges))
    assert min(followed.scored) > 0
