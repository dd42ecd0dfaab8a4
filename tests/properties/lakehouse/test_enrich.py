"""Invariants of the enrichment rules on generated input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.contracts.taxonomy import RISK_LEVELS
from lakehouse.enrich.docs import DOC_CHARS, compose
from lakehouse.enrich.niche import NICHES_KEPT, TOP_FLOOR, decide
from lakehouse.enrich.quality_rules import FEATURES, PROBABILITIES, peer_stats, percentile, score_rows
from lakehouse.enrich.risk_rules import Evidence, assess, find_hits, fold

pytestmark = pytest.mark.properties
TEXT = st.text(max_size=200)
NUMBER = st.one_of(st.just(float("nan")), st.floats(-5, 5, allow_subnormal=False))


@given(TEXT)
def test_folding_keeps_the_length_and_is_idempotent(text):
    folded = fold(text)
    assert len(folded) == len(text)
    assert fold(folded) == folded


@given(
    st.lists(st.sampled_from(["casino", "wine", "news", "fuck", "hello", "cooking", "against", "酒"]), max_size=30),
    st.integers(1, 50),
)
def test_risk_spans_lie_in_the_text_and_levels_are_known(words, scanned):
    text = " ".join(words)
    hits = find_hits(text)
    assert all(0 <= hit.start < hit.end <= len(text) for hit in hits)
    for tag in assess([Evidence(hit, "bio", None) for hit in hits], scanned=scanned):
        assert tag["level"] in RISK_LEVELS
        assert 0 < tag["score"] < 1


@given(name=TEXT, bio=TEXT, tags=st.lists(TEXT, max_size=5), titles=st.lists(TEXT, max_size=9))
def test_documents_are_capped_single_lines(name, bio, tags, titles):
    text = compose(name=name, bio=bio, tags=tags, titles=titles)
    assert len(text) <= DOC_CHARS
    assert "\n" not in text
    assert text == text.strip()


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
    st.lists(st.sampled_from(["Music", "Sports", "Beauty", "Entertainment"]), max_size=4),
)
def test_niches_are_sorted_bounded_and_abstain_below_the_floor(raw, labels):
    scores = np.array(raw) / max(sum(raw), 1e-9)
    tag = decide(scores, labels, ("music", "sports", "beauty"))
    values = [score for _, score in tag.niches]
    assert values == sorted(values, reverse=True)
    assert len(values) <= NICHES_KEPT
    assert all(0 < value <= 1 for value in values)
    if not labels and scores.max() < TOP_FLOOR - 1e-9:
        assert tag.is_abstained


@given(st.lists(st.floats(-100, 100), min_size=21, max_size=60), st.floats(-100, 100), st.floats(-100, 100))
def test_percentiles_are_monotone(values, a, b):
    grid = np.quantile(np.array(values), PROBABILITIES)
    low, high = sorted((a, b))
    assert 0 <= percentile(low, grid) <= percentile(high, grid) <= 1


@settings(max_examples=30)
@given(st.lists(st.tuples(*[NUMBER] * len(FEATURES)), min_size=25, max_size=40))
def test_scores_are_bounded_and_equal_the_sum_of_their_contributions(rows):
    table = np.array(rows, dtype=np.float64)
    features = {name: table[:, i] for i, name in enumerate(FEATURES)}
    features["completeness"] = np.clip(features["completeness"], 0, 1)
    platforms = ["x"] * len(rows)
    for scores in score_rows(platforms, features, peer_stats(platforms, features)):
        for score in scores:
            if score.value is None:
                assert score.reasons == ()
            else:
                assert 0 <= score.value <= 1
                assert sum(r["contribution"] for r in score.reasons) == pytest.approx(score.value, abs=1e-6)
                assert all(r["contribution"] >= 0 for r in score.reasons)
