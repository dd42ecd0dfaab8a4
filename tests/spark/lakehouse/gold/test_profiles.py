"""Rows of one account fold into one profile, so that followers count once; two ids stay two profiles."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lakehouse.contracts.tables import GOLD_ACCOUNTS, GOLD_PROFILES
from lakehouse.gold.profiles import build_gold_profiles
from lakehouse.ops.steps import StepContext

pytestmark = pytest.mark.spark
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILL = {"string": "x", "int": 1, "bigint": 1, "double": 0.5, "float": 0.5, "boolean": False, "timestamp": NOW}


def _row(lake, creator, account, *, name, followers, handle=None, platform="youtube"):
    schema = lake.spark_schema(GOLD_ACCOUNTS)
    row = {field.name: FILL.get(field.dataType.simpleString(), []) if not field.nullable else None for field in schema}
    given = {"creator_id": creator, "platform": platform, "platform_account_id": account, "display_name": name}
    return row | given | {"handle": handle, "handle_key": handle, "followers_count": followers, "observed_at": NOW}


def _profiles(lake, rows):
    schema = lake.spark_schema(GOLD_ACCOUNTS)
    frame = lake.spark.createDataFrame([tuple(row[field.name] for field in schema) for row in rows], schema)
    lake.replace(GOLD_ACCOUNTS, frame)
    build_gold_profiles(StepContext(lake, lake.settings, {}))
    found = lake.read(GOLD_PROFILES).collect()
    return {
        row.creator_id: (row.followers_total_count, sorted(p.platform_account_id for p in row.profiles))
        for row in found
    }


def test_rows_of_one_account_fold_and_two_ids_do_not(lake):
    rows = [
        _row(lake, "names", "~bad bunny", name="Bad Bunny", followers=43),
        _row(lake, "names", "~badbunny", name="BadBunny", followers=43),
        _row(lake, "id and name", "UC1", name="Dua Lipa", followers=20),
        _row(lake, "id and name", "~dua lipa", name="DUA LIPA", followers=20),
        _row(lake, "handle and name", "@dualipa", handle="dualipa", name="Dua", followers=8),
        _row(lake, "handle and name", "~dua lipa 2", name="Dua.Lipa", followers=8),
        _row(lake, "id and handle", "UC2", name="Some One", followers=5),
        _row(lake, "id and handle", "@someone", handle="someone", name="Some One", followers=5),
        _row(lake, "two ids", "UC3", name="Twin", followers=1),
        _row(lake, "two ids", "UC4", name="Twin", followers=2),
        _row(lake, "two names", "~one", name="One", followers=1),
        _row(lake, "two names", "~two", name="Two", followers=2),
    ]
    assert _profiles(lake, rows) == {
        "names": (43, ["~badbunny"]),
        "id and name": (20, ["UC1"]),
        "handle and name": (8, ["@dualipa"]),
        "id and handle": (5, ["UC2"]),
        "two ids": (3, ["UC3", "UC4"]),
        "two names": (3, ["~one", "~two"]),
    }


def _reason(code, contribution):
    return (code, contribution, 1.0, f"About {code}.")


def _scored(row, quality, anomaly, *reasons):
    return row | {"quality_score": quality, "anomaly_score": anomaly, "score_reasons": list(reasons)}


def test_reasons_add_up_to_the_scores_of_the_creator(lake):
    low = _row(lake, "c", "1", name="A", followers=100)
    high = _row(lake, "c", "2", name="A", handle="a", followers=300, platform="tiktok")
    unknown = _row(lake, "c", "3", name="A", followers=900, platform="x")
    none = _row(lake, "none", "4", name="B", followers=5)
    rows = [
        _scored(low, 0.4, 0.9, _reason("quality:views", 0.4), _reason("anomaly:spike", 0.9)),
        _scored(
            high, 0.8, 0.2, _reason("quality:views", 0.5), _reason("quality:activity", 0.3), _reason("anomaly:x", 0.2)
        ),
        unknown,
        none,
    ]
    _profiles(lake, rows)
    found = {row.creator_id: row for row in lake.read(GOLD_PROFILES).collect()}
    creator = found["c"]
    total = {"quality": 0.0, "anomaly": 0.0}
    for reason in creator.score_reasons:
        total[reason.code.split(":")[0]] += reason.contribution
    assert creator.quality_score == pytest.approx(0.7)
    assert total == {"quality": pytest.approx(creator.quality_score), "anomaly": pytest.approx(creator.anomaly_score)}
    assert creator.score_reasons[0].text == "tiktok: About quality:views."
    assert found["none"].score_reasons == []
    assert found["none"].quality_score is None


def test_a_profile_keeps_the_reasons_of_the_account_whose_scores_it_shows(lake):
    old = _row(lake, "c", "~a", name="A", followers=10) | {"observed_at": datetime(2020, 1, 1, tzinfo=UTC)}
    rows = [
        _scored(old, 0.4, 0.1, _reason("quality:views", 0.4), _reason("anomaly:spike", 0.1)),
        _scored(_row(lake, "c", "UC1", name="A", followers=10), None, 0.3, _reason("anomaly:bare", 0.3)),
    ]
    _profiles(lake, rows)
    creator = lake.read(GOLD_PROFILES).collect()[0]
    assert (creator.quality_score, creator.anomaly_score) == (0.4, 0.1)
    assert [reason.code for reason in creator.score_reasons] == ["quality:views", "anomaly:spike"]
