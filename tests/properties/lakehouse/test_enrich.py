"""Invariants of the enrichment rules on generated input; what works on whole columns equals a plain rule, row by row."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.contracts.taxonomy import RISK_LEVELS
from lakehouse.enrich.docs import DOC_CHARS, clean, compose
from lakehouse.enrich.niche import NICHES_KEPT, TOP_FLOOR, decide
from lakehouse.enrich.quality import score_batch
from lakehouse.enrich.quality_rules import (
    ANOMALY,
    FEATURES,
    IQR_TO_SIGMA,
    MASS_FOLLOWING,
    MIN_SIGMA,
    PROBABILITIES,
    QUALITY,
    find_peers,
    peer_stats,
    percentile,
    rounded,
    tier_of,
)
from lakehouse.enrich.risk import FIELDS, assess_batch, scan_batches
from lakehouse.enrich.risk_rules import Evidence, assess, find_hits, fold
from lakehouse.silver.emails import mask_emails

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
    below_low, below_high = percentile(np.array([low, high]), grid)
    assert 0 <= below_low <= below_high <= 1


@given(st.lists(st.one_of(st.floats(), st.integers(-(10**7), 10**7).map(lambda n: n / 2e6))))
def test_numbers_are_rounded_as_python_does(values):
    expected = np.array([round(value, 6) for value in values], dtype=np.float64)
    assert rounded(np.array(values, dtype=np.float64)).tobytes() == expected.tobytes()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.05, 0.5, 0.95]), st.sampled_from([1, 2, 60, 300]))
def test_scores_of_a_batch_equal_those_of_each_account_alone(seed, unknown, count):
    platforms, features = _accounts(np.random.default_rng(seed), unknown, count + 40)
    stats = peer_stats(platforms, features)
    keys = {
        "platform": platforms,
        "platform_account_id": platforms,
        "engagement_reason": pa.nulls(len(platforms), pa.string()),
    }
    columns = {name: pa.array(column, pa.float64(), from_pandas=True) for name, column in features.items()}
    batch = pa.RecordBatch.from_pydict(keys | columns).slice(0, count)
    for row, scored in enumerate(score_batch(batch, stats).to_pylist()):
        values = {name: float(column[row]) for name, column in features.items()}
        quality, anomaly = _scores_alone(values, stats, platforms[row], int(tier_of(features["followers"])[row]))
        assert (scored["quality_score"], scored["anomaly_score"]) == (quality[0], anomaly[0])
        assert scored["score_reasons"] == [*quality[1], *anomaly[1]]
        for score, reasons in (quality, anomaly):
            shares = [reason["contribution"] for reason in reasons]
            assert all(share >= 0 for share in shares)
            assert 0 <= (score or 0) <= 1
            assert sum(shares) == pytest.approx(score or 0, abs=1e-6)


def _accounts(rng, unknown, count):
    scales = dict.fromkeys(FEATURES, 1.0) | {
        "followers": 1e5,
        "following": 4e3,
        "spike_sigmas": 20,
        "days_since_post": 200,
    }
    features = {name: np.abs(rng.normal(0, scale, count)).round(rng.integers(1, 9)) for name, scale in scales.items()}
    for name, column in features.items():
        column[rng.random(count) < 0.1] = 0
        column[rng.random(count) < 0.02] = np.inf if name in {"spike_sigmas", "days_since_post", "following"} else 0
        column[rng.random(count) < unknown] = np.nan
    return rng.choice(["x", "tiktok", "youtube"], count, p=[0.8, 0.15, 0.05]).tolist(), features


def _scores_alone(values, stats, platform, tier):
    """(score, reasons) of quality and anomaly of one account: the formula of `quality_rules`, one number at a time."""

    def compare(metric, how):
        grid = find_peers(stats, metric, platform, tier)
        return np.nan if grid is None or np.isnan(values[metric]) else float(how(values[metric], grid))

    followers, following = values["followers"], values["following"]
    ratio = following / max(followers, 1.0) if following > MASS_FOLLOWING else 0.0
    inputs = values | {
        "er_followers_percentile": compare("er_followers", _percentile_alone),
        "er_views_percentile": compare("er_views", _percentile_alone),
        "log_likes_per_comment_sigmas": abs(compare("log_likes_per_comment", _sigmas_alone)),
        "views_excess": compare("log_views_per_follower", _sigmas_alone),
        "mass_following": np.nan if np.isnan(followers) or np.isnan(following) else ratio,
    }
    anomaly = _anomaly_alone(inputs)
    return _quality_alone(inputs | {"regularity": np.nan if anomaly[0] is None else 1 - anomaly[0]}), anomaly


def _percentile_alone(value, grid):
    ties = np.flatnonzero(grid == value)
    if len(ties) > 1:
        return np.mean([PROBABILITIES[ties[0]], PROBABILITIES[ties[-1]]])
    return np.interp(value, grid, PROBABILITIES)


def _sigmas_alone(value, grid):
    low, middle, high = (grid[PROBABILITIES.index(p)] for p in (0.25, 0.5, 0.75))
    return (value - middle) / max((high - low) / IQR_TO_SIGMA, MIN_SIGMA)


def _known(inputs, parts):
    return [(part, inputs[part.reads]) for part in parts if not np.isnan(inputs[part.reads])]


def _curve_alone(part, value):
    return float(np.interp(value, [x for x, _ in part.curve], [y for _, y in part.curve]))


def _quality_alone(inputs):
    if np.isnan(inputs["er_followers_percentile"]):
        return None, []
    known = _known(inputs, QUALITY)
    total = 0.0
    for part, _ in known:
        total += part.weight
    return _summed_alone("quality", [(p, value, p.weight / total * _curve_alone(p, value)) for p, value in known])


def _anomaly_alone(inputs):
    known = _known(inputs, ANOMALY)
    if all(part.code == "bare_profile" for part, _ in known):
        return None, []
    logs = [float(-np.log1p(-part.weight * _curve_alone(part, value))) for part, value in known]
    total = 0.0
    for log in logs:
        total += log
    shares = [-np.expm1(-total) * log / total if total > 0 else 0.0 for log in logs]
    return _summed_alone("anomaly", [(*item, float(s)) for item, s in zip(known, shares, strict=True) if s > 0])


def _summed_alone(score, parts):
    shares = sorted(((p, value, round(share, 6)) for p, value, share in parts), key=lambda x: (-x[2], x[0].code))
    reasons = [
        {
            "code": f"{score}:{part.code}",
            "contribution": share,
            "value": round(value, 6),
            "text": part.text.format(value),
        }
        for part, value, share in shares
    ]
    return round(min(1.0, sum(share for *_, share in shares)), 6), reasons


NOISE = re.compile(r"https?://\S+|www\.\S+|\[(?:email|phone)\]|[\x00-\x1f\x7f]", re.IGNORECASE)
SIGNS = (
    "http://a.b",
    "HTTP\u017f://",
    "www.",
    "WWW.x",
    "w.",
    "[email]",
    "[Phone]",
    "[",
    "]",
    "@",
    "#",
    "a@b.com",
    "@ b.co",
)
SPACES = ("\0", "\x1f", "\n", "\u2028", "\u3000", "\u200d", "e\u0301", "word", ". ", " ", "ok.")
PIECES = st.lists(st.sampled_from(SIGNS + SPACES) | st.text(max_size=3), max_size=30).map("".join)


@given(PIECES)
def test_cleaning_equals_one_pass_over_all_noise(text):
    plain = re.sub(r"\s+", " ", re.sub(r"[#@](?=\w)", " ", NOISE.sub(" ", mask_emails(text)))).strip()
    assert clean(text) == plain


WORDS = st.lists(
    st.sampled_from(
        ["casino", "CASIN\u00d2", "wine", "news", "against", "g\u00fcn", "gun", "18+", "酒", "\ufb01t", "hi", "#"]
    ),
    max_size=6,
).map(" ".join)
TEXT_ROWS = st.lists(
    st.fixed_dictionaries(
        {"platform_account_id": st.sampled_from("abc"), "post_id": st.sampled_from([None, "1", "2"])}
        | {field: st.none() | WORDS for field in FIELDS}
    ),
    max_size=12,
)


@given(TEXT_ROWS)
def test_risks_of_a_batch_equal_those_of_each_account_alone(rows):
    names = ("platform", "platform_account_id", "post_id", *FIELDS)
    batch = pa.RecordBatch.from_pylist(
        [{"platform": "x", **r} for r in rows], schema=pa.schema(dict.fromkeys(names, pa.string()))
    )
    (partial,) = scan_batches(iter([batch]))
    assert partial.column("platform_account_id").to_pylist() == list(
        dict.fromkeys(r["platform_account_id"] for r in rows)
    )
    for scanned, found in zip(partial.to_pylist(), assess_batch(partial).to_pylist(), strict=True):
        own = [row for row in rows if row["platform_account_id"] == found["platform_account_id"]]
        posts = sum(row["post_id"] is not None for row in own)
        evidence = [
            Evidence(hit, field, row["post_id"])
            for field in FIELDS
            for row in own
            for hit in find_hits(row[field] or "")
        ]
        assert scanned["is_account"] == (posts < len(own))
        assert (found["posts_scanned_count"], found["risks"]) == (posts, assess(evidence, scanned=posts + 1))
        assert found["risk_codes"] == [risk["code"] for risk in found["risks"]]
