"""Raw profiles become observations: every row is out, quarantined or a duplicate, however often and in whatever parts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lakehouse.contracts.tables import OBSERVATIONS, QUARANTINE
from lakehouse.silver.observations import build_observations

pytestmark = pytest.mark.spark
ANA = {"handle": "@Ana", "followers": "1.2M", "bio": "Mail ana@example.com, see https://linktr.ee/ana"}


def test_rows_are_conserved_per_source_and_fields_quarantined(lake, bronze, run, content):
    bronze.profiles(ANA, ANA, {"handle": "bo", "followers": "junk"}, {"followers": "3"}, "{broken", batch=1)
    bronze.profiles({"handle": "cy"}, batch=2, platform="tiktok", source="other")
    report = run(build_observations)
    assert report.by_source == {
        "other": {"in": 1, "out": 1, "quarantined": 0, "duplicate": 0},
        "vendor": {"in": 5, "out": 2, "quarantined": 2, "duplicate": 1},
    }
    assert report.cursor == {"batches": {"instagram": 1, "tiktok": 2, "youtube": 0, "x": 0}}
    assert report.metadata["fields_quarantined"] == 1
    stopped = content(QUARANTINE, "line_number", "field_name", "reason_code", "rows_count", "file_name")
    assert [(row["field_name"], row["reason_code"], row["line_number"], row["rows_count"]) for row in stopped] == [
        ("followers", "not_a_number", 4, 0),
        (None, "no_account_key", 5, 1),
        (None, "bad_payload", 6, 1),
    ]
    assert {row["file_name"] for row in stopped} == {"vendor-1.csv"}


def test_contact_data_leaves_only_as_a_hash(lake, bronze, run, content):
    bronze.profiles(ANA, {"handle": "x", "country": "call ana@example.com"}, batch=1)
    run(build_observations)
    rows = content(OBSERVATIONS)
    assert "ana@example.com" not in repr(rows) + repr(content(QUARANTINE))
    ana = next(row for row in rows if row["handle"] == "@Ana")
    assert ana["bio"] == "Mail [email], see https://linktr.ee/ana"
    assert ana["has_email"]
    assert [text[:3] for text in ana["email_hashes"]] == ["v1:"]
    assert ana["platform_account_id"] == "@ana"
    assert ana["followers_count"] == 1_200_000


def test_a_later_batch_adds_only_what_is_new(lake, bronze, run, content):
    bronze.profiles(ANA, batch=1)
    first = run(build_observations)
    bronze.profiles(ANA, {"handle": "bo"}, batch=2)
    second = run(build_observations, first.cursor)
    assert second.by_source["vendor"] == {"in": 2, "out": 1, "quarantined": 0, "duplicate": 1}
    assert [row["batch_seq"] for row in content(OBSERVATIONS, "batch_seq")] == [1, 2]
    assert run(build_observations, second.cursor).rows_in == 0


def test_a_run_that_died_after_its_write_ends_the_same_when_repeated(lake, bronze, run, content):
    bronze.profiles(ANA, {"handle": "bo", "followers": "-1"}, batch=1)
    cursor = run(build_observations).cursor
    bronze.profiles({"handle": "cy", "views": "inf"}, batch=2)
    once = run(build_observations, cursor)
    before = content(OBSERVATIONS), content(QUARANTINE)
    bronze.profiles({"handle": "dee"}, batch=3)
    again = run(build_observations, cursor)
    assert again.rows_out == once.rows_out + 1
    assert [row for row in content(OBSERVATIONS) if row["batch_seq"] < 3] == before[0]
    assert content(QUARANTINE) == before[1]


def test_a_rebuild_equals_the_incremental_table(lake, bronze, run, content):
    cursor = {}
    for batch in (1, 2, 3):
        bronze.profiles(ANA, {"handle": f"u{batch}", "followers": "x"}, batch=batch)
        cursor = run(build_observations, cursor).cursor
    incremental = content(OBSERVATIONS), content(QUARANTINE)
    run(build_observations)
    assert (content(OBSERVATIONS), content(QUARANTINE)) == incremental


def test_a_platform_that_lags_behind_loses_nothing(bronze, run, content):
    bronze.profiles(ANA, batch=2)
    cursor = run(build_observations).cursor
    bronze.profiles({"handle": "late"}, batch=1, platform="x")
    assert run(build_observations, cursor).rows_out == 1
    assert sorted(row["platform"] for row in content(OBSERVATIONS, "platform")) == ["instagram", "x"]


def test_without_any_record_the_table_exists_and_is_empty(lake, run, content):
    report = run(build_observations)
    assert report.rows_in == 0
    assert lake.version(OBSERVATIONS.name) is not None
    assert content(OBSERVATIONS) == []


def test_the_same_values_on_another_day_are_another_observation(lake, bronze, run):
    bronze.profiles(ANA, batch=1)
    bronze.profiles(ANA, batch=2, observed=bronze.DAY + timedelta(days=90))
    assert run(build_observations).rows_out == 2
