"""Which accounts a backfill asks for: by what its endpoint takes."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs.fetch import _keys
from lakehouse.contracts.tables import ACCOUNTS
from lakehouse.fetch.source import load_sources

pytestmark = pytest.mark.spark
DAY = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
CHANNEL = "UC" + "a" * 22


def test_a_backfill_asks_by_id_where_its_endpoint_takes_ids_and_by_handle_elsewhere(lake) -> None:
    given = [
        ("youtube", CHANNEL, "one"),
        ("youtube", "@two", "two"),
        ("youtube", "~three", None),
        ("instagram", "11", "four"),
        ("instagram", "22", None),
    ]
    rows = []
    for platform, account_id, handle in given:
        row = dict.fromkeys(ACCOUNTS.columns) | {"platform": platform, "platform_account_id": account_id}
        row |= {"handle_key": handle, "first_seen_at": DAY, "observed_at": DAY, "batch_seq": 1}
        rows.append(row | {"source_codes": ["s"], "observations_count": 1})
    values = [tuple(row[name] for name in ACCOUNTS.columns) for row in rows]
    lake.replace(ACCOUNTS, lake.spark.createDataFrame(values, lake.spark_schema(ACCOUNTS)))
    sources = load_sources()
    assert list(_keys(lake, sources["youtube_api"], "playlist_items")) == [CHANNEL]
    assert list(_keys(lake, sources["instagram_graph"], "media")) == ["four"]
