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
