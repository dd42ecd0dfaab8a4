"""Fits the planner's constants of a snapshot: margin, bound of work and k_factor per selectivity band, B between exact and probing.

The rule: the least margin at which recall reaches the target on every kind of filter tried in the band, and around every
part of it, then the least bound of work and the least k_factor at which it still does. What probing costs is counted, not measured, so that
equal inputs give equal constants. Measuring what they deliver on other queries is `validate.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from index_build.manifest import Band, Calibration, RecallPoint
from index_build.probe import CODE_COST, FLAT_K_FACTOR, ROW_COST, RowFilter, ShardIndex, scan_cost
from index_build.queries import PARTS, Around, Cell, Truth, are_right, make_cells, right_rows
from index_build.refine import FloatArray, IdArray
from index_build.spec import IndexSpec

FITTED_EDGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Upper selectivities of the bands up to a third, about a factor of three apart. Each band is fitted at its upper edge, where the
same T is reached with the fewest lists, and at its middle."""

BAND_MIDDLES = (0.0005, 0.0017, 0.0055, 0.017, 0.055, 0.17, 0.55)
"""Geometric middles of the bands."""

ALMOST_ALL = 1 - 2.0**-30
"""Upper selectivity of the last band with a filter: less than any that leaves out one row of a shard. All rows are a band of their
own, as no filter can hide what is near a query there; a filter that hides few rows has to suit the same queries."""

BAND_EDGES = (*FITTED_EDGES, ALMOST_ALL, 1.0)

FIRST_MATCHES = 1_024
"""T: matching rows that are looked at first: they cost as much as the search for them."""

MARGINS = (-2.0, 0.1, 0.15, 0.2, 0.225, 0.25, 0.275, 0.3, 0.325, 0.35, 0.4, 0.45)
"""Ladder of margins; the first one probes nothing beyond the first lists."""

WORKS = (1 << 13, 1 << 14, 1 << 15, 1 << 16, 1 << 17)
"""Ladder of bounds of what is done beyond the first lists, in units of work: from 2 to 37 ms of one core."""

WORK_LOSS = 0.005
"""Recall that a lower bound may cost where the goal is not reached anyway: half the standard error of it."""

MAX_WORK = 1 << 18
"""Limit of what validation raises a bound to."""

K_FACTORS = (32, 64, 128)
"""Candidates scored per result: fewer save .03 ms of a query, more are about all first matches."""

RAISED_MARGIN = 0.025
MAX_K_FACTOR = 1024
"""By how much validation raises a margin, and the limit of what it may raise a k_factor to."""

SAFETY_MARGIN = 0.03
"""Asked above the target while fitting: two standard errors of recall over some 600 answers, and what a region that is farther from a
query than any of the sample's loses besides (.02 at a million rows of text)."""

EXACT_MAX_MATCHES = 40_000
"""Comparing a query with more rows than this takes longer than any probe (4 ms on one core)."""

FLAT_EXACT_SHARE = 16
"""A flat scan reads a row about 16 times faster than gathering one does."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Constants and the measurements they were chosen from."""

    calibration: Calibration
    curve: tuple[RecallPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class _Probe:
    """Queries of a cell with the rows that answer each, and its filter in one shard."""

    cell: Cell
    around: Around | None
    queries: FloatArray
    right: list[IdArray]
    matches: int
    rows: RowFilter | None

    @classmethod
    def prepare(cls, cell: Cell, truth: Truth, shard: ShardIndex, *, k: int) -> Iterator[_Probe]:
        """One for each part of its queries."""
        rows = None if truth.words is None else shard.filter(truth.words)
        right = [right_rows([best], k=k)[0] for best in truth.best]
        parts = PARTS[cell.kind]
        for around, places in zip(parts, np.array_split(np.arange(len(right)), len(parts)), strict=True):
            yield cls(cell, around, cell.queries[places], [right[place] for place in places], truth.matches, rows)


def fitting_cells(sample: FloatArray, spec: IndexSpec) -> list[Cell]:
    """What constants are fitted on; `sample` (n, d) are rows to make queries from."""
    return make_cells(sample, (*FITTED_EDGES, *BAND_MIDDLES), count=spec.queries_per_cell, seed=spec.seed)


def calibrate(shard: ShardIndex, cells: Sequence[Cell], truths: Sequence[Truth], *, spec: IndexSpec) -> Fitted:
    """Fit constants on one shard by the exact answers of `fitting_cells` in it; a flat one needs none."""
    if shard.coarse is None:
        calibration = Calibration(exact_max_matches=shard.rows // FLAT_EXACT_SHARE, bands=(Band.of(1, FLAT_K_FACTOR),))
        return Fitted(calibration)
    curve: list[RecallPoint] = []
    bands: list[Band] = []
    costs: list[float] = []
    probes = [
        part
        for cell, truth in zip(cells, truths, strict=True)
        if truth.matches
        for part in _Probe.prepare(cell, truth, shard, k=spec.recall_k)
    ]
    for lower, edge in pairwise((0.0, *BAND_EDGES)):
        chosen = [probe for probe in probes if lower < probe.matches / shard.rows <= edge]
        if edge == ALMOST_ALL:
            chosen += [probe for probe in probes if probe.rows is None]
        if chosen:
            tried = _fit_band(chosen, shard, spec=spec)
            best = tried[-1]
            bands.append(
                Band(
                    max_selectivity=edge,
                    matches_target=FIRST_MATCHES,
                    margin=best[0].margin,
                    most_work=best[0].most_work,
                    k_factor=best[0].k_factor,
                    recall=_worst(best),
                )
            )
            costs.append(max(_cost(point, shard) for point in best))
            curve.extend(point for points in tried for point in points)
    threshold = _exact_threshold(bands, costs, shard.rows, spec=spec)
    return Fitted(Calibration(exact_max_matches=threshold, bands=tuple(bands)), tuple(curve))


def raised(calibration: Calibration, selectivities: Collection[float]) -> Calibration:
    """Constants with a larger margin, and T, k_factor and bound of work doubled, in the bands that hold `selectivities`."""
    weak = {calibration.band(selectivity).max_selectivity for selectivity in selectivities}
    bands = tuple(_raise(band) if band.max_selectivity in weak else band for band in calibration.bands)
    return calibration.model_copy(update={"bands": bands})


def _fit_band(probes: list[_Probe], shard: ShardIndex, *, spec: IndexSpec) -> list[list[RecallPoint]]:
    """Points of everything that was tried, those of the chosen constants last.

    Where no margin reaches the goal, the one with the best recall is chosen.
    """
    goal = min(1.0, spec.recall_target + SAFETY_MARGIN)

    works = bounds_of(scan_cost(len(shard.list_sizes), shard.rows))

    def measured(margin: float, most_work: int = works[-1], k_factor: int = K_FACTORS[-1]) -> list[RecallPoint]:
        band = Band.of(FIRST_MATCHES, k_factor, margin, most_work)
        return [_measure(probe, shard, band, k=spec.recall_k) for probe in probes]

    tried: list[list[RecallPoint]] = []
    for margin in MARGINS:
        tried.append(measured(margin))
        if _worst(tried[-1]) >= goal:
            break
    best = max(tried, key=_worst)
    margin, reached = best[0].margin, _worst(best)
    needed = goal if reached >= goal else reached - WORK_LOSS
    for most_work in reversed(works[:-1]):
        tried.append(measured(margin, most_work))
        if _worst(tried[-1]) < needed:
            break
        best = tried[-1]
    most_work, needed = best[0].most_work, min(goal, _worst(best))
    for k_factor in reversed(K_FACTORS[:-1]):
        tried.append(measured(margin, most_work, k_factor))
        if _worst(tried[-1]) < needed:
            break
        best = tried[-1]
    return [*(points for points in tried if points is not best), best]


def bounds_of(everything: float) -> tuple[int, ...]:
    """Bounds that are worth a trial where `everything` is what scanning a whole shard costs: up to the first that allows it."""
    return tuple(work for place, work in enumerate(WORKS) if place == 0 or WORKS[place - 1] < everything)


def _measure(probe: _Probe, shard: ShardIndex, band: Band, *, k: int) -> RecallPoint:
    found = [shard.probe(query, k=k, band=band, rows=probe.rows) for query in probe.queries]
    hits = sum(
        int(are_right(each.row_ids, each.similarities, right, partial(shard.refine.similarities, query)).sum())
        for query, each, right in zip(probe.queries, found, probe.right, strict=True)
    )
    count = len(found)
    return RecallPoint(
        filter_kind=probe.cell.kind,
        around=probe.around,
        plan="probe",
        selectivity=probe.cell.selectivity,
        matches_target=band.matches_target,
        margin=band.margin,
        most_work=band.most_work,
        k_factor=band.k_factor,
        recall=hits / (count * min(k, probe.matches)),
        queries_count=count,
        lists_probed_mean=sum(each.work.lists_probed for each in found) / count,
        codes_scanned_mean=sum(each.work.codes_scanned for each in found) / count,
        rows_scored_mean=sum(each.refined_count for each in found) / count,
    )


def _cost(point: RecallPoint, shard: ShardIndex) -> float:
    """Cost of a measured point in units of work: ranking all lists, beginning some, scanning codes, scoring rows."""
    ranking = len(shard.list_sizes) * CODE_COST
    scans = scan_cost(point.lists_probed_mean, point.codes_scanned_mean)
    return ranking + scans + point.rows_scored_mean * ROW_COST


def _worst(points: list[RecallPoint]) -> float:
    """Recall of the worst kind of filter and part around it.

    Those of a kind count together, since the worst of a few small samples is noise.
    """
    groups: dict[tuple[str, str | None], list[RecallPoint]] = {}
    for point in points:
        groups.setdefault((point.filter_kind, point.around), []).append(point)
    return min(
        sum(point.recall * point.queries_count for point in alike) / sum(point.queries_count for point in alike)
        for alike in groups.values()
    )


def _exact_threshold(bands: list[Band], costs: list[float], rows: int, *, spec: IndexSpec) -> int:
    """Largest number of matches that costs no more to score exactly than to probe, at most EXACT_MAX_MATCHES.

    A band that misses the target by probing is scored exactly as far as that limit allows.
    """
    threshold, lower = 0, 0.0
    for band, cost in zip(bands, costs, strict=True):
        budget = cost / ROW_COST if band.recall >= spec.recall_target else float(EXACT_MAX_MATCHES)
        affordable = min(budget, band.max_selectivity * rows)
        threshold = int(affordable) if affordable > lower * rows else threshold
        lower = band.max_selectivity
    return min(threshold, EXACT_MAX_MATCHES)


def _raise(band: Band) -> Band:
    return band.model_copy(
        update={
            "matches_target": band.matches_target * 2,
            "margin": max(band.margin, 0.0) + RAISED_MARGIN,
            "most_work": min(max(band.most_work * 2, WORKS[0]), MAX_WORK),
            "k_factor": min(band.k_factor * 2, MAX_K_FACTOR),
        }
    )
