"""What scored pairs would allow: reasons as columns add up to the score, and no scorer finds more than the perfect one."""

from __future__ import annotations

import numpy as np

from benchmarks.identity_limit import limit, reason_columns
from benchmarks.identity_scale import edges_of
from benchmarks.identity_world import people

ACCOUNTS = 3_000


def test_reasons_as_columns_add_up_to_the_score() -> None:
    _, edges = edges_of(people(ACCOUNTS).raw)
    np.testing.assert_allclose(np.nansum(reason_columns(edges), axis=1), edges.column("log_odds").to_numpy(), atol=1e-4)


def test_no_scorer_finds_more_than_the_perfect_one() -> None:
    found = {figure.name.split(", ", 1)[1]: figure.value for figure in limit(ACCOUNTS, people(ACCOUNTS))}
    assert found["perfect over the same edges: pair precision"] == 1
    for name in ("shipped", "fitted on reasons", "fitted on reasons and likeness"):
        assert 0.5 < found[f"{name}: pair recall"] <= found["perfect over the same edges: pair recall"]
        assert found[f"{name}: pair precision"] > 0.9
