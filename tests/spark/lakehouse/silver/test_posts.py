"""Posts: the newest record wins, everything else is a duplicate, nothing vanishes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lakehouse.contracts.tables import POSTS, QUARANTINE
from lakehouse.silver.posts import build_posts

pytestmark = pytest.mark.spark


def video(views, **more):
    return {"post_id": "v1", "account_id": "UCGdrLQbt1PYDTPsampx4t1A", "views": views} | more


def test_one_video_of_several_country_files_is_one_post(bronze, run, content):
    bronze.posts(video("10"), video("10", post_id="v2"), {"title": "no id"}, batch=1, source="us")
    bronze.posts(video("12", likes="x"), video("10", post_id="v2"), batch=2, source="de")
    report = run(build_posts)
    assert report.by_source == {
        "de": {"in": 2, "out": 2, "quarantined": 0, "duplicate": 0},
        "us": {"in": 3, "out": 0, "quarantined": 1, "duplicate": 2},
    }
    rows = content(POSTS, "post_id", "views_count", "source_code", "batch_seq", "first_seen_at", "observed_at")
    assert [(row["post_id"], row["views_count"], row["source_code"], row["batch_seq"]) for row in rows] == [
        ("v1", 12, "de", 2),
        ("v2", 10, "de", 2),
    ]
    assert {row["first_seen_at"].minute for row in rows} == {1}
    assert {row["stage_code"] for row in content(QUARANTINE, "stage_code")} == {"silver_posts"}


def test_late_older_records_change_nothing_but_are_counted(bronze, run, content):
    bronze.posts(video("10"), batch=1)
    cursor = run(build_posts).cursor
    before = content(POSTS)
    bronze.posts(video("5"), batch=2, observed=bronze.DAY - timedelta(days=1))
    late = run(build_posts, cursor)
    assert (late.rows_out, late.rows_duplicate) == (0, 1)
    assert content(POSTS) == before
    bronze.posts(video("20"), batch=3, observed=bronze.DAY + timedelta(days=1))
    assert run(build_posts, late.cursor).rows_out == 1
    incremental = content(POSTS)
    assert [row["views_count"] for row in incremental] == [20]
    assert run(build_posts).rows_duplicate == 2
    assert content(POSTS) == incremental


def test_a_repeated_run_reports_and_writes_the_same(bronze, run, content):
    bronze.posts(video("10"), batch=1)
    cursor = run(build_posts).cursor
    bronze.posts(video("11"), video("11"), {"post_id": "v9"}, batch=2)
    once = run(build_posts, cursor)
    after = content(POSTS), content(QUARANTINE)
    again = run(build_posts, cursor)
    assert again.by_source == once.by_source
    assert (content(POSTS), content(QUARANTINE)) == after
