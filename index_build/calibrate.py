"""Fits the planner's constants of a snapshot: T and k_factor per selectivity band, B between exact and probing.

The rule: of all (T, k_factor) whose recall reaches the target on every kind of filter tried in the band, take the cheapest,
for queries near the matching rows and for others. Costs are counted in rows, not in seconds, so that equal inputs give equal constants. Measuring what the constants deliver on
other queries is `validate.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from index_build.manifest import SCORE_ALL, Band, Calibration, Effort, RecallPoint
from index_build.probe import FLAT_K_FACTOR, LOOKED_AT_MATCHES, RowFilter, ShardIndex, best_order
from index_build.queries import Cell, Truth, make_cells, right_rows
from index_build.refine import FloatArray, IdArray
from index_build.spec import IndexSpec

BAND_EDGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Upper selectivities of the bands, about a factor of three apart. Each band is fitted at its upper edge, where the
same T is reached with the fewest lists, and at its middle."""

BAND_MIDDLES = (0.0005, 0.0017, 0.0055, 0.017, 0.055, 0.17, 0.55)
"""Geometric middles of the bands."""

FIRST_TARGET = 512
LAST_TARGET = 1 << 18
"""Ladder of T, doubling: below it nothing is saved, above it a full scan of the shard is as good."""

K_FACTORS = (2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Candidates refined per result. Beyond 128 they serve large shards, where many rows are nearly alike."""

MAX_K_FACTOR = 1024
"""Limit of what validation may raise a k_factor to: 10,240 refined rows for ten results cost about 3 ms."""

SAFETY_MARGIN = 0.015
"""Asked above the target while fitting: two standard errors of recall over some 500 answers near 0.95."""

CODE_COST = 1 / 64
LIST_COST = 3.0
COMPARED_COST = 1.6
"""Costs of scanning a 4-bit code, of beginning a list, of comparing the query with a centroid, in refined rows (one core, 384
dimensions: 0.28 microseconds)."""

EXACT_MAX_MATCHES = 20_000
"""Scoring more rows than this exactly takes longer than any probe (4 ms at 20,000 rows on one core)."""

FLAT_EXACT_SHARE = 16
"""A flat scan reads a row about 16 times faster than gathering one does."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Constants and the measurements they were chosen from."""

    calibration: Calibration
    curve: tuple[RecallPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class _Probe:
    """The near or the far queries of a cell with the rows that answer each, and its filter in one shard."""

    cell: Cell
    right: list[IdArray]
    matches: int
    rows: RowFilter | None
    is_far: bool

    @classmethod
    def prepare(cls, cell: Cell, truth: Truth, shard: ShardIndex, *, k: int) -> list[_Probe]:
        rows = None if truth.words is None else shard.filter(truth.words)
        right = [right_rows([best], k=k)[0] for best in truth.best]
        are_far = np.array([rows is not None and _is_far(query, rows, shard) for query in cell.queries])
        return [
            cls(
                replace(cell, queries=cell.queries[chosen]),
                [right[number] for number in np.flatnonzero(chosen)],
                truth.matches,
                rows,
                is_far,
            )
            for is_far, chosen in ((False, ~are_far), (True, are_far))
            if chosen.any()
        ]


def _is_far(query: FloatArray, rows: RowFilter, shard: ShardIndex) -> bool:
    ranked = shard.require_coarse().nearest(query, rows.list_counts, LOOKED_AT_MATCHES)
    return shard.are_far(ranked.lists, rows)


def fitting_cells(sample: FloatArray, spec: IndexSpec) -> list[Cell]:
    """What constants are fitted on; `sample` (n, d) are rows to make queries from."""
    return make_cells(sample, (*BAND_EDGES[:-1], *BAND_MIDDLES), count=spec.queries_per_cell, seed=spec.seed)


def calibrate(shard: ShardIndex, cells: Sequence[Cell], truths: Sequence[Truth], *, spec: IndexSpec) -> Fitted:
    """Fit constants on one shard by the exact answers of `fitting_cells` in it; a flat one needs none."""
    if shard.coarse is None:
        calibration = Calibration(exact_max_matches=shard.rows // FLAT_EXACT_SHARE, bands=(Band.of(1, FLAT_K_FACTOR),))
        return Fitted(calibration)
    curve: list[RecallPoint] = []
    bands: list[Band] = []
    probes = [
        part
        for cell, truth in zip(cells, truths, strict=True)
        if truth.matches
        for part in _Probe.prepare(cell, truth, shard, k=spec.recall_k)
    ]
    for lower, edge in pairwise((0.0, *BAND_EDGES)):
        chosen = [probe for probe in probes if lower < probe.matches / shard.rows <= edge]
        measured = _measure_band(chosen, shard, spec=spec)
        if measured:
            bands.append(_choose(edge, measured, spec=spec))
            curve.extend(measured)
    return Fitted(
        Calibration(exact_max_matches=_exact_threshold(bands, curve, shard.rows, spec=spec), bands=tuple(bands)),
        tuple(curve),
    )


def raised(calibration: Calibration, selectivities: Collection[float]) -> Calibration:
    """Constants with T and k_factor doubled in the bands that hold `selectivities`."""
    weak = {calibration.band(selectivity).max_selectivity for selectivity in selectivities}
    bands = tuple(_raise(band) if band.max_selectivity in weak else band for band in calibration.bands)
    return calibration.model_copy(update={"bands": bands})


def point_cost(point: RecallPoint, *, k: int) -> float:
    """Cost of a measured point in refined rows."""
    ranking = point.lists_compared_mean * COMPARED_COST
    if point.k_factor == SCORE_ALL:
        return ranking + point.matches_target
    scan = point.lists_probed_mean * LIST_COST + point.codes_scanned_mean * CODE_COST
    return ranking + scan + k * point.k_factor


def _measure_band(probes: list[_Probe], shard: ShardIndex, *, spec: IndexSpec) -> list[RecallPoint]:
    """Measure T upwards, all filter kinds together, until one step past the goal or until all matches are probed."""
    points: list[RecallPoint] = []
    matches_target, steps_left = FIRST_TARGET, 2
    while probes and steps_left:
        step = [_measure(probe, shard, matches_target=matches_target, k=spec.recall_k) for probe in probes]
        points.extend(point for group in step for point in group)
        is_reached = min(max(point.recall for point in group) for group in step) >= _goal(spec)
        is_last = matches_target >= min(LAST_TARGET, max(probe.matches for probe in probes))
        steps_left = 0 if is_last else steps_left - int(is_reached)
        matches_target *= 2
    return points


def _measure(probe: _Probe, shard: ShardIndex, *, matches_target: int, k: int) -> list[RecallPoint]:
    """Recall of every k_factor at one T."""
    factors = [factor for factor in K_FACTORS if factor * k <= matches_target] or [K_FACTORS[0]]
    can_score_all = probe.rows is not None and matches_target <= EXACT_MAX_MATCHES
    hits = dict.fromkeys([*factors, *([SCORE_ALL] if can_score_all else [])], 0)
    counts = shard.list_sizes if probe.rows is None else probe.rows.list_counts
    codes = compared = probed = 0
    for query, right in zip(probe.cell.queries, probe.right, strict=True):
        ranked = shard.require_coarse().nearest(query, counts, max(matches_target, factors[-1] * k))
        codes += int(shard.list_sizes[ranked.lists].sum())
        compared += ranked.compared
        probed += len(ranked.lists)
        scanned = shard.scan_lists(query, ranked, k=min(factors[-1] * k, probe.matches), rows=probe.rows)
        stored = shard.refine.similarities(query, scanned)
        found = {factor: scanned[best_order(stored[: factor * k], scanned[: factor * k], k=k)] for factor in factors}
        if probe.rows is not None and can_score_all:
            found[SCORE_ALL] = shard.exact(query, probe.rows.rows_in(ranked.lists), k=k).row_ids
        for factor, row_ids in found.items():
            hits[factor] += int(np.isin(row_ids, right).sum())
    count = len(probe.cell.queries)
    possible = count * min(k, probe.matches)
    return [
        RecallPoint(
            is_far=probe.is_far,
            filter_kind=probe.cell.kind,
            plan="probe",
            selectivity=probe.cell.selectivity,
            matches_target=matches_target,
            k_factor=factor,
            recall=hits[factor] / possible,
            queries_count=count,
            codes_scanned_mean=0.0 if factor == SCORE_ALL else codes / count,
            lists_probed_mean=probed / count,
            lists_compared_mean=compared / count,
        )
        for factor in hits
    ]


def _choose(edge: float, points: list[RecallPoint], *, spec: IndexSpec) -> Band:
    """Constants of a band for near and far queries; where there were none of a kind, those of the other."""
    near, far = ([point for point in points if point.is_far is is_far] for is_far in (False, True))
    return Band(max_selectivity=edge, near=_cheapest(near or far, spec=spec), far=_cheapest(far or near, spec=spec))


def _cheapest(points: list[RecallPoint], *, spec: IndexSpec) -> Effort:
    """Cheapest constants whose worse kind of filter reaches the goal; the best recall where none does.

    Constants that were not measured on every kind are no choice: without a filter there are no matching rows to score.
    """
    kinds = {point.filter_kind for point in points}
    groups: dict[tuple[int, int], list[RecallPoint]] = {}
    for point in points:
        groups.setdefault((point.matches_target, point.k_factor), []).append(point)
    goal = _goal(spec)

    def rank(key: tuple[int, int]) -> tuple[float, float, tuple[int, int]]:
        cost = max(point_cost(point, k=spec.recall_k) for point in groups[key])
        return (max(0.0, goal - _worst(groups[key])), cost, key)

    complete = [key for key in groups if {point.filter_kind for point in groups[key]} == kinds]
    best = min(complete, key=rank)
    return Effort(matches_target=best[0], k_factor=best[1], recall=_worst(groups[best]))


def _worst(points: list[RecallPoint]) -> float:
    """Recall of the worse kind of filter; those of a kind count together, since the worst of a few small samples is noise."""
    kinds = {
        point.filter_kind: [other for other in points if other.filter_kind == point.filter_kind] for point in points
    }
    return min(
        sum(point.recall * point.queries_count for point in alike) / sum(point.queries_count for point in alike)
        for alike in kinds.values()
    )


def _exact_threshold(bands: list[Band], curve: list[RecallPoint], rows: int, *, spec: IndexSpec) -> int:
    """Largest number of matches that costs no more to score exactly than to probe, at most EXACT_MAX_MATCHES.

    A band that misses the target by probing is scored exactly as far as that limit allows.
    """
    threshold, lower = 0, 0.0
    for band in bands:
        inside = [point for point in curve if lower < point.selectivity <= band.max_selectivity]
        costs = [
            point_cost(point, k=spec.recall_k)
            for point in inside
            for effort in ((band.far if point.is_far else band.near),)
            if (point.matches_target, point.k_factor) == (effort.matches_target, effort.k_factor)
        ]
        is_reached = min(band.near.recall, band.far.recall) >= spec.recall_target
        budget = max(costs) if costs and is_reached else float(EXACT_MAX_MATCHES)
        affordable = min(budget, band.max_selectivity * rows)
        threshold = int(affordable) if affordable > lower * rows else threshold
        lower = band.max_selectivity
    return min(threshold, EXACT_MAX_MATCHES)


def _raise(band: Band) -> Band:
    return band.model_copy(update={"near": _doubled(band.near), "far": _doubled(band.far)})


def _doubled(effort: Effort) -> Effort:
    k_factor = min(effort.k_factor * 2, MAX_K_FACTOR)
    return effort.model_copy(update={"matches_target": effort.matches_target * 2, "k_factor": k_factor})


def _goal(spec: IndexSpec) -> float:
    return min(1.0, spec.recall_target + SAFETY_MARGIN)
