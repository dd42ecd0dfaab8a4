"""Accounts and their daily metrics: order-free, multiplicity-free, incremental equals full."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from silver_factory import ACCOUNT_COLUMNS, links_oracle, observations, oracle

from lakehouse.contracts.tables import ACCOUNT_METRICS, ACCOUNTS, OBSERVATIONS
from lakehouse.silver.account_metrics import METRICS, build_account_metrics, fold_metrics, stated_days
from lakehouse.silver.accounts import build_accounts, fold_accounts
from lakehouse.silver.observations import build_observations

pytestmark = pytest.mark.spark


def test_four_snapshots_are_one_account_with_four_metric_days(bronze, run, content):
    cursors = {}
    for batch, (days, followers) in enumerate([(150, "300K"), (0, "100K"), (90, "250K"), (30, "200K")], start=1):
        payload = {"handle": "Ana", "followers": followers} | ({"bio": "old words"} if days == 30 else {})
        bronze.profiles(payload, payload, batch=batch, source=f"s{batch}", observed=bronze.DAY + timedelta(days=days))
        if batch % 2 == 0:
            for build in (build_observations, build_accounts, build_account_metrics):
                cursors[build] = run(build, cursors.get(build)).cursor
    (ana,) = content(ACCOUNTS)
    assert (ana["platform_account_id"], ana["followers_count"], ana["bio"]) == ("@ana", 300_000, "old words")
    assert ana["observations_count"] == 4
    assert ana["source_codes"] == ["s1", "s2", "s3", "s4"]
    assert ana["observed_at"].date() == (bronze.DAY + timedelta(days=150)).date()
    history = [
        (row["metric_date"].isoformat(), row["followers_count"])
        for row in content(ACCOUNT_METRICS, "metric_date", "followers_count")
    ]
    assert sorted(history) == [
        ("2022-06-01", 100_000),
        ("2022-07-01", 200_000),
        ("2022-08-30", 250_000),
        ("2022-10-29", 300_000),
    ]
    incremental = content(ACCOUNTS), content(ACCOUNT_METRICS)
    for build in (build_accounts, build_account_metrics):
        run(build)
    assert (content(ACCOUNTS), content(ACCOUNT_METRICS)) == incremental


def targets(links):
    """Target -> evidence; a target stands once."""
    if links is None:
        return None
    found = {(link["platform"], link["target"]): link["evidence"] for link in links}
    assert len(found) == len(links)
    return found


def test_every_source_keeps_its_own_newest_links(bronze, run, content):
    """A website of one source says nothing about what another declares; a bio that was cleaned takes its links back."""
    declared = {"handle": "ana", "links": [{"platform": "x", "target": "ana_x"}]}
    steps = [
        ("holodex", declared, {"ana_x": "declared"}),
        ("vendor", {"handle": "ana", "website": "https://ana.com"}, {"ana.com": "declared", "ana_x": "declared"}),
        ("crawl", {"handle": "ana", "bio": "x.com/ana_x youtube.com/@wrong"}, {"wrong": "bio"}),
        ("crawl", {"handle": "ana", "followers": "5"}, {}),
        ("crawl", {"handle": "ana", "bio": "x.com/ana_x"}, {"wrong": None}),
        ("vendor", {"handle": "ana", "website": "https://linktr.ee/ana"}, {"ana.com": None, "ana": "declared"}),
    ]
    cursors, expected = {}, {}
    for batch, (source, payload, change) in enumerate(steps, start=1):
        bronze.profiles(payload, batch=batch, source=source, observed=bronze.DAY + timedelta(days=batch))
        expected = {key: value for key, value in (expected | change).items() if value}
        if batch % 2:
            continue  # two deliveries a night
        for build in (build_observations, build_accounts):
            cursors[build] = run(build, cursors.get(build)).cursor
        (ana,) = content(ACCOUNTS)
        assert {target: evidence for (_, target), evidence in targets(ana["declared_links"]).items()} == expected
    assert (ana["website_url"], ana["website_domain"]) == ("https://linktr.ee/ana", None)
    run(build_accounts)
    assert content(ACCOUNTS) == [ana]


def test_a_step_without_news_writes_nothing(lake, bronze, run):
    bronze.profiles({"handle": "ana", "followers": "1"}, batch=1)
    run(build_observations)
    report = run(build_accounts)
    assert (report.rows_in, report.rows_out, report.cursor["batches"]["instagram"]) == (1, 1, 1)
    version = lake.version(ACCOUNTS.name)
    assert run(build_accounts, report.cursor).rows_in == 0
    assert lake.version(ACCOUNTS.name) == version


def test_days_without_any_metric_have_no_row(bronze, run, content):
    bronze.profiles({"handle": "ana", "bio": "x"}, {"handle": "bo", "views": "7"}, batch=1)
    run(build_observations)
    run(build_account_metrics)
    assert [row["platform_account_id"] for row in content(ACCOUNT_METRICS)] == ["@bo"]


def test_old_days_expire_alike_in_a_rebuild_and_night_by_night(bronze, run, content):
    seen = cursor = None
    for batch, day in enumerate([0, 5, 9, 2, 12], start=1):
        bronze.profiles(
            {"handle": "ana", "followers": str(batch)}, batch=batch, observed=bronze.DAY + timedelta(days=day)
        )
        if batch in (1, 4):
            continue  # delivered together with the next one
        seen = run(build_observations, seen).cursor
        cursor = run(build_account_metrics, cursor, metrics_days=8).cursor
    nightly = content(ACCOUNT_METRICS)
    assert sorted(row["metric_date"].day for row in nightly) == [6, 10, 13]
    assert run(build_account_metrics, metrics_days=8).metadata["oldest_day"] == "2022-06-06"
    assert content(ACCOUNT_METRICS) == nightly
    run(build_account_metrics)
    assert sorted(row["metric_date"].day for row in content(ACCOUNT_METRICS)) == [1, 3, 6, 10, 13]


def test_folds_equal_a_simple_oracle_in_any_order(lake):
    """Random observations of few accounts; nulls in every column; shuffled and repartitioned."""
    rows = observations(random.Random(11), count=300)
    frames = []
    for seed in (1, 2):
        shuffled = random.Random(seed).sample(rows, len(rows))
        values = [tuple(row[name] for name in OBSERVATIONS.columns) for row in shuffled]
        frames.append(lake.spark.createDataFrame(values, lake.spark_schema(OBSERVATIONS)).repartition(1 + 3 * seed))
    expected = oracle(rows, key=ACCOUNTS.key, columns=ACCOUNT_COLUMNS)
    for frame in frames:
        accounts = [row.asDict(recursive=True) for row in fold_accounts(frame).collect()]
        found = {
            tuple(row[name] for name in ACCOUNTS.key): {name: row[name] for name in ACCOUNT_COLUMNS} for row in accounts
        }
        assert found == expected
        links = {tuple(row[name] for name in ACCOUNTS.key): row["declared_links"] for row in accounts}
        assert {key: targets(entries) for key, entries in links.items()} == links_oracle(rows)
    days = [
        row | {"metric_date": row["observed_at"].date()}
        for row in rows
        if any(row[name] is not None for name in METRICS)
    ]
    expected_days = oracle(days, key=ACCOUNT_METRICS.key, columns=METRICS)
    found_days = {
        tuple(row[name] for name in ACCOUNT_METRICS.key): {name: row[name] for name in METRICS}
        for row in fold_metrics(stated_days(frames[0])).collect()
    }
    assert found_days == expected_days
