"""The six enrich steps over a small lake: keys, idempotence, and the formulas on hand-made posts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lakehouse.contracts import tables as t
from lakehouse.enrich.docs import build_account_docs
from lakehouse.enrich.embed import build_embeddings
from lakehouse.enrich.engagement import build_engagement
from lakehouse.enrich.niche import build_niches
from lakehouse.enrich.quality import build_scores
from lakehouse.enrich.risk import build_risks
from lakehouse.ops.steps import StepContext

pytestmark = pytest.mark.spark
NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = (build_account_docs, build_embeddings, build_niches, build_risks, build_engagement, build_scores)


def _write(lake, spec, rows):
    values = [tuple(row.get(name) for name in spec.columns) for row in rows]
    lake.replace(spec, lake.spark.createDataFrame(values, _nullable(lake.spark_schema(spec))))


def _nullable(schema):
    for field in schema.fields:
        field.nullable = True
    return schema


def _account(account, **values):
    return {
        "platform": "youtube",
        "platform_account_id": account,
        "display_name": account.title(),
        "followers_count": 1000,
        "source_codes": ["test"],
        "observations_count": 1,
        "first_seen_at": NOW,
        "observed_at": NOW,
        "batch_seq": 1,
        **values,
    }


def _post(account, number, *, days=10, **values):
    return {
        "platform": "youtube",
        "platform_account_id": account,
        "post_id": f"{account}-{number}",
        "published_at": NOW - timedelta(days=days),
        "observed_at": NOW,
        "source_code": "test",
        "views_count": 1000,
        "likes_count": 90,
        "comments_count": 10,
        **values,
    }


@pytest.fixture
def ctx(lake):
    accounts = [
        _account("ann", bio="makeup tutorials and beauty tips"),
        _account("ben", display_name="Ann", bio="makeup tutorials and beauty tips"),
        _account(
            "cat",
            category_labels=["Sports with a ball"],
            avg_likes_count=40.0,
            avg_comments_count=10.0,
            avg_views_count=500.0,
        ),
        _account("dan", bio="casino bonus every day"),
        _account("eve", followers_count=None),
    ]
    posts = [_post("ann", i, days=10 + i, likes_count=90 + i) for i in range(5)]
    posts += [_post("ann", 90, days=1, likes_count=9_000), _post("ann", 91, days=200, likes_count=9_000)]
    posts += [_post("dan", i, likes_count=None, title="poker night") for i in range(6)]
    posts += [_post("eve", i, views_count=0 if i == 0 else 1000) for i in range(6)]
    days = [(0, 1000), (92, 800), (200, 100)]
    metrics = [
        {
            "platform": "youtube",
            "platform_account_id": "ann",
            "metric_date": (NOW - timedelta(days=d)).date(),
            "followers_count": n,
            "source_code": "t",
            "observed_at": NOW,
        }
        for d, n in days
    ]
    _write(lake, t.ACCOUNTS, accounts)
    _write(lake, t.POSTS, posts)
    _write(lake, t.ACCOUNT_METRICS, metrics)
    return StepContext(lake, lake.settings.model_copy(update={"encoder_device": "cpu"}), {}, lambda _line: None)


def _content(lake, spec):
    return {row["platform_account_id"]: row.asDict(recursive=True) for row in lake.read(spec).collect()}


def test_steps_build_every_table_and_again_change_nothing(ctx):
    for step in STEPS:
        step(ctx)
    lake = ctx.lake
    _check_docs(lake)
    _check_niches(lake)
    _check_risks(lake)
    _check_engagement(lake)
    _check_scores(lake)
    version = lake.version(t.EMBEDDINGS.name)
    assert build_embeddings(ctx).rows_in == 0
    assert lake.version(t.EMBEDDINGS.name) == version
    for step, spec in ((build_risks, t.RISKS), (build_scores, t.SCORES)):
        before = _content(lake, spec)
        step(ctx)
        assert _content(lake, spec) == before


def _check_docs(lake):
    docs = _content(lake, t.DOCS)
    assert sorted(docs) == ["ann", "ben", "cat", "dan", "eve"]
    assert docs["cat"]["doc_text"] == "Cat. sports, football, soccer, basketball player"
    assert docs["ann"]["content_hash"] == docs["ben"]["content_hash"]
    vectors = lake.read(t.EMBEDDINGS).collect()
    assert len(vectors) == 4
    assert sum(x * x for x in vectors[0].vector) == pytest.approx(1, abs=1e-4)


def _check_niches(lake):
    niches = _content(lake, t.NICHES)
    assert niches["ann"]["niche_code"] == niches["ben"]["niche_code"] == "beauty"
    assert niches["cat"]["niche_code"] == "sports"
    assert niches["eve"]["is_abstained"]


def _check_risks(lake):
    risks = _content(lake, t.RISKS)
    assert risks["dan"]["risk_codes"] == ["gambling"]
    assert risks["dan"]["posts_scanned_count"] == 6
    assert {item["field"] for item in risks["dan"]["risks"][0]["evidence"]} == {"bio", "title"}
    assert (risks["cat"]["risk_codes"], risks["cat"]["posts_scanned_count"]) == ([], 0)


def _check_engagement(lake):
    rates = _content(lake, t.ENGAGEMENT)
    ann = rates["ann"]
    assert ann["er_followers_ratio"] == pytest.approx(0.102)
    assert ann["er_views_ratio"] == pytest.approx(0.102)
    assert (ann["posts_count"], ann["window_days"], ann["statistic_code"], ann["null_reason_code"]) == (
        5,
        90,
        "median",
        None,
    )
    assert ann["growth_90d_ratio"] == pytest.approx(0.25)
    assert ann["last_post_at"].replace(tzinfo=UTC) == NOW - timedelta(days=1)
    cat = rates["cat"]
    assert (cat["statistic_code"], cat["posts_count"], cat["window_days"]) == ("stated", None, None)
    assert (cat["er_followers_ratio"], cat["er_views_ratio"]) == (pytest.approx(0.05), pytest.approx(0.1))
    reasons = {name: row["null_reason_code"] for name, row in rates.items()}
    assert reasons == {"ann": None, "ben": "no_posts", "cat": None, "dan": "likes_hidden", "eve": "followers_unknown"}
    assert rates["eve"]["er_views_ratio"] == pytest.approx(0.1)
    assert rates["eve"]["posts_count"] == 5


def _check_scores(lake):
    scores = _content(lake, t.SCORES)
    assert len(scores) == 5
    assert scores["ann"]["quality_score"] is None
    assert scores["ann"]["null_reason_code"] == "too_few_peers"
    assert scores["ben"]["null_reason_code"] == "no_posts"


def test_forms_have_texts_and_vectors_of_their_own(lake):
    lengths = {0: 20.0, 1: 900.0, 2: None, 3: None, 4: 180.0}
    posts = [
        _post(
            "fay",
            number,
            days=1 + number,
            duration_seconds=seconds,
            title="Dance #Shorts" if number == 2 else f"t{number}",
        )
        for number, seconds in lengths.items()
    ]
    old = _post("fay", 9, days=300, duration_seconds=30.0, title="oldest") | {"published_at": None}
    many = [
        _post("fay", 100 + number, days=10 + number, duration_seconds=5_000.0, title=f"film {number}")
        for number in range(20)
    ]
    tiktok = [
        _post("gil", number, duration_seconds=900.0, title=f"clip {number}") | {"platform": "tiktok"}
        for number in range(2)
    ]
    _write(lake, t.ACCOUNTS, [_account("fay"), _account("gil") | {"platform": "tiktok"}, _account("hal")])
    _write(lake, t.POSTS, [old, *posts, *many, *tiktok])
    ctx = StepContext(lake, lake.settings.model_copy(update={"encoder_device": "cpu"}), {}, lambda _line: None)
    build_account_docs(ctx)
    build_embeddings(ctx)
    docs = _content(lake, t.DOCS)
    assert docs["fay"]["doc_text"] == "Fay. t0. t1. Dance Shorts. t3. t4. film 0. film 1. film 2"
    assert docs["fay"]["short_text"] == "Fay. t0. Dance Shorts. t4. oldest"
    assert docs["fay"]["long_text"] == "Fay. t1. t3. " + ". ".join(f"film {number}" for number in range(6))
    assert docs["gil"]["short_hash"] == docs["gil"]["content_hash"]
    assert docs["gil"]["long_hash"] is docs["hal"]["short_hash"] is None
    keys = ("content_hash", "short_hash", "long_hash")
    wanted = {row[key] for row in docs.values() for key in keys if row[key] is not None}
    assert {row.content_hash for row in lake.read(t.EMBEDDINGS).collect()} == wanted
    assert len(wanted) == 5
