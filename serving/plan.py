"""Which way a query takes. One readable choice for a shard, one for the whole request; no work is done here.

Shard branches (count-aware: the number of matches decides, `search_engine.md` section 5):

* `empty`         no row of the shard matches
* `gather`        few matches: score exactly those
* `scan`          flat index, every row is compared, a bitmap keeps the matching ones
* `probe`         the nearest inverted lists with matches: their codes with the filter's bitmap, or where few
                  match their matching rows themselves
* `probe_all`     inverted lists, no filter, so no bitmap

Request plans: `empty`; `sort_only` (nothing to compare with: columns alone decide); `exhaustive` (every match gets its
full score); `streams` (best by similarity, by words and by static score are united until no other row can win).
"""

from __future__ import annotations

from typing import Literal

from index_build.manifest import Calibration

Branch = Literal["empty", "gather", "scan", "probe", "probe_all"]
PlanName = Literal["empty", "sort_only", "exhaustive", "streams"]
Stop = Literal["exhausted", "proven", "settled", "budget"]
"""Why no more rows were looked at: none are left; none can win; more did not change the page; enough was read."""


def branch_of(*, matches: int, rows: int, is_flat: bool, calibration: Calibration) -> Branch:
    """Branch of one shard with `rows` rows of which `matches` pass the filter."""
    if matches == 0:
        return "empty"
    if matches <= calibration.exact_max_matches:
        return "gather"
    if is_flat:
        return "scan"
    return "probe_all" if matches == rows else "probe"


def plan_of(*, matches: int, has_vector: bool, exhaustive_limit: int) -> PlanName:
    """Plan of a request.

    Args:
        matches: rows that pass the filter, over all shards.
        has_vector: there is a query text or a seed to compare with.
        exhaustive_limit: matches up to which all of them get their full score.
    """
    if matches == 0:
        return "empty"
    if not has_vector:
        return "sort_only"
    return "exhaustive" if matches <= exhaustive_limit else "streams"
