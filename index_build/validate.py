"""Measures what a snapshot delivers: recall@k of the calibrated plan over all shards, on queries that calibration never saw.

The report goes into the manifest; publishing refuses one below its target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from index_build.bitmaps import unpack_ids
from index_build.calibrate import Fitted, raised
from index_build.manifest import Calibration, RecallPoint, RecallReport
from index_build.probe import Candidates, RowFilter, ShardIndex
from index_build.queries import Cell, Truth, are_right, make_cells, right_rows
from index_build.refine import FloatArray, IdArray
from index_build.spec import IndexSpec

SELECTIVITIES = (0.0005, 0.002, 0.005, 0.02, 0.05, 0.2, 0.6)
"""Filters of the report: inside the calibrated bands, not at their edges."""

SEED_OFFSET = 1_000_003
"""Added to the spec's seed, so that validation shares no query and no filter with calibration."""


MAX_RAISES = 4
"""Times that weak bands get doubled constants: a band fitted 16 times too low would be a bug, not noise."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The constants that go into the manifest and what they deliver."""

    calibration: Calibration
    report: RecallReport


@dataclass(frozen=True, slots=True)
class OpenShard:
    """A shard as serving sees it, and the exact answers of the report's cells in it."""

    index: ShardIndex
    truths: Sequence[Truth]


@dataclass(frozen=True, slots=True)
class _Part:
    """A cell inside one shard."""

    shard: OpenShard
    truth: Truth
    rows: RowFilter | None
    row_ids: IdArray | None

    def search(self, query: FloatArray, calibration: Calibration, *, k: int) -> Candidates:
        if self.row_ids is not None:
            return self.shard.index.exact(query, self.row_ids, k=k)
        band = calibration.band(self.truth.matches / self.shard.index.rows)
        return self.shard.index.probe(query, k=k, band=band, rows=self.rows)


def report_cells(sample: FloatArray, spec: IndexSpec) -> list[Cell]:
    """What a snapshot is measured by; `sample` (n, d) are rows to make queries from."""
    return make_cells(sample, SELECTIVITIES, count=spec.queries_per_cell, seed=spec.seed + SEED_OFFSET)


def validate(shards: Sequence[OpenShard], cells: Sequence[Cell], fitted: Fitted, *, spec: IndexSpec) -> Evidence:
    """Measure every one of `report_cells` over all shards.

    Where a band misses the target its constants are doubled and all is measured again, a few times at most.
    """
    calibration = fitted.calibration
    for round_number in range(1 + MAX_RAISES):
        measured = [
            _measure(cell, shards, [shard.truths[place] for shard in shards], calibration, k=spec.recall_k)
            for place, cell in enumerate(cells)
        ]
        points = tuple(point for point in measured if point is not None)
        passing = [
            _shares(shards, [shard.truths[place] for shard in shards])
            for place, point in enumerate(measured)
            if point is not None
        ]
        weak = [
            share
            for point, shares in zip(points, passing, strict=True)
            if point.recall < spec.recall_target and point.plan == "probe"
            for share in shares
        ]
        if not weak or round_number == MAX_RAISES:
            break
        calibration = raised(calibration, weak)
    return Evidence(calibration, _report(points, fitted.curve, spec=spec))


def _report(points: tuple[RecallPoint, ...], curve: tuple[RecallPoint, ...], *, spec: IndexSpec) -> RecallReport:
    return RecallReport(
        k=spec.recall_k,
        target=spec.recall_target,
        unfiltered=next(point.recall for point in points if point.filter_kind == "none"),
        minimum=min(point.recall for point in points),
        queries_count=sum(point.queries_count for point in points),
        points=points,
        curve=curve,
    )


def _measure(
    cell: Cell, shards: Sequence[OpenShard], truths: Sequence[Truth], calibration: Calibration, *, k: int
) -> RecallPoint | None:
    """Recall of one cell; None when its filter matches nothing."""
    parts = [_prepare(shard, found, calibration) for shard, found in zip(shards, truths, strict=True) if found.matches]
    if not parts:
        return None
    hits = codes = 0
    for number, query in enumerate(cell.queries):
        found = [part.search(query, calibration, k=k) for part in parts]
        codes += sum(candidates.work.codes_scanned for candidates in found)
        right = right_rows([part.truth.best[number] for part in parts], k=k)
        hits += _hits(query, parts, found, right, k=k)
    band = calibration.band(max(part.truth.matches / part.shard.index.rows for part in parts))
    is_exact = all(part.row_ids is not None for part in parts)
    return RecallPoint(
        filter_kind=cell.kind,
        plan="exact" if is_exact else "probe",
        selectivity=cell.selectivity,
        matches_target=0 if is_exact else band.matches_target,
        margin=0.0 if is_exact else band.margin,
        most_work=0 if is_exact else band.most_work,
        k_factor=0 if is_exact else band.k_factor,
        recall=hits / (len(cell.queries) * min(k, sum(part.truth.matches for part in parts))),
        queries_count=len(cell.queries),
        codes_scanned_mean=codes / len(cell.queries) / len(parts),
    )


def _shares(shards: Sequence[OpenShard], truths: Sequence[Truth]) -> list[float]:
    """Share of the rows of each shard that pass, where any do: by it a band is chosen."""
    return [found.matches / shard.index.rows for shard, found in zip(shards, truths, strict=True) if found.matches]


def _prepare(shard: OpenShard, truth: Truth, calibration: Calibration) -> _Part:
    if truth.words is None:
        return _Part(shard, truth, rows=None, row_ids=None)
    is_exact = truth.matches <= calibration.exact_max_matches
    row_ids = unpack_ids(truth.words) if is_exact else None
    return _Part(shard, truth, rows=shard.index.filter(truth.words), row_ids=row_ids)


def _hits(
    query: FloatArray, parts: Sequence[_Part], found: Sequence[Candidates], right: Sequence[IdArray], *, k: int
) -> int:
    """How many of the `k` rows that merging the shards by stored similarity returns are right."""
    stored = np.concatenate([candidates.similarities for candidates in found])
    flags = np.concatenate(
        [
            are_right(each.row_ids, each.similarities, own, partial(part.shard.index.refine.similarities, query))
            for part, each, own in zip(parts, found, right, strict=True)
        ]
    )
    return int(flags[np.argsort(-stored, kind="stable")[:k]].sum())
