"""Constants that a build fits: the least that reach the goal, and how they are raised where a report says so."""

from __future__ import annotations

import numpy as np
import pytest

from index_build.calibrate import (
    ALMOST_ALL,
    BAND_EDGES,
    K_FACTORS,
    MARGINS,
    MAX_WORK,
    RAISED_MARGIN,
    WORKS,
    bounds_of,
    calibrate,
    raised,
)
from index_build.manifest import Band, Calibration
from index_build.queries import Truths, make_cells
from index_build.spec import SHARD_MAX_ROWS
from tests.unit.index_build.test_probe import open_shards


def _chosen(manifest, band):
    """Points of the curve that were measured with the constants of a band, at its selectivities."""
    lower = max([0.0, *(edge for edge in BAND_EDGES if edge < band.max_selectivity)])
    return [
        point
        for point in manifest.recall.curve
        if lower < point.selectivity <= band.max_selectivity
        and (point.margin, point.most_work, point.k_factor) == (band.margin, band.most_work, band.k_factor)
    ]


def test_every_band_has_constants_that_were_measured(ivf):
    for band in ivf.manifest.calibration.bands:
        assert (band.margin, band.most_work, band.k_factor) in {
            (margin, work, factor) for margin in MARGINS for work in WORKS for factor in K_FACTORS
        }, "nothing had to be raised"
        assert _chosen(ivf.manifest, band)
        assert band.recall >= ivf.manifest.spec.recall_target


def test_all_rows_are_a_band_of_their_own(ivf):
    almost, whole = ivf.manifest.calibration.bands[-2:]
    assert (almost.max_selectivity, whole.max_selectivity) == (ALMOST_ALL, 1.0)
    assert ivf.manifest.calibration.band(1 - 1 / SHARD_MAX_ROWS) == almost
    assert ivf.manifest.calibration.band(1.0) == whole
    assert {point.filter_kind for point in _chosen(ivf.manifest, whole)} == {"none"}
    measured_by_almost = [
        point
        for point in ivf.manifest.recall.curve
        if point.filter_kind == "none"
        and (point.margin, point.most_work, point.k_factor) == (almost.margin, almost.most_work, almost.k_factor)
    ]
    assert measured_by_almost, "a filter that hides a row or two has to suit the same queries"


def test_bounds_that_allow_everything_are_not_tried(ivf):
    assert {band.most_work for band in ivf.manifest.calibration.bands} == {WORKS[0]}
    assert {point.most_work for point in ivf.manifest.recall.curve} == {WORKS[0]}
    assert bounds_of(1.0) == WORKS[:1]
    assert bounds_of(WORKS[1]) == WORKS[:2]
    assert bounds_of(WORKS[1] + 1.0) == WORKS[:3]
    assert bounds_of(1e9) == WORKS


def test_the_least_bound_that_costs_no_recall_is_chosen(ivf, monkeypatch):
    """Bounds so low, and so few rows looked at first, that they matter in a small world."""
    monkeypatch.setattr("index_build.calibrate.WORKS", (1, 8, 16, 32, 64, 4_096))
    monkeypatch.setattr("index_build.calibrate.FIRST_MATCHES", 16)
    monkeypatch.setattr("index_build.calibrate.K_FACTORS", (4, 8))
    shard = open_shards(ivf)[0]
    sample = ivf.vectors[:4_000]
    cells = make_cells(sample, (0.1, 0.3), count=30, seed=3)
    stored = shard.refine.vectors(np.arange(shard.rows))
    truths = Truths(cells, k=10)
    truths.add(stored)
    spec = ivf.manifest.spec
    fitted = calibrate(shard, cells, truths.answers(), spec=spec)
    works = {band.most_work for band in fitted.calibration.bands}
    assert len(works) > 1, "what suffices for one band finds too little for another"
    for band in fitted.calibration.bands:
        assert band.recall >= spec.recall_target
    assert {point.most_work for point in fitted.curve} >= {64, 4_096}


@pytest.mark.parametrize(("work", "expected"), [(1 << 14, 1 << 15), (MAX_WORK, MAX_WORK), (0, WORKS[0])])
def test_weak_bands_are_raised_and_others_stay(work, expected):
    low = Band(max_selectivity=0.1, matches_target=1_024, margin=-2.0, most_work=work, k_factor=8)
    high = low.model_copy(update={"max_selectivity": 1.0})
    found = raised(Calibration(exact_max_matches=5, bands=(low, high)), [0.05])
    assert found.bands[1] == high
    assert found.bands[0] == low.model_copy(
        update={"matches_target": 2_048, "margin": RAISED_MARGIN, "most_work": expected, "k_factor": 16}
    )
