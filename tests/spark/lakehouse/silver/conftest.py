"""Raw records in an empty lake: `bronze.profiles(...)`, `bronze.posts(...)`; each call is one landed batch."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from lakehouse.contracts.tables import BRONZE_POSTS, BRONZE_PROFILES
from lakehouse.ops.steps import StepContext

LANDED = datetime(2026, 1, 1, tzinfo=UTC)
DAY = datetime(2022, 6, 1, 12, tzinfo=UTC)


class Bronze:
    """Writes raw records the way ingestion does; `batch_seq` orders landing, not observation."""

    DAY = DAY

    def __init__(self, lake):
        self.lake = lake

    def profiles(self, *payloads, batch, platform="instagram", source="vendor", observed=DAY):
        self._append(BRONZE_PROFILES[platform], "profile", payloads, batch, platform, source, observed)

    def posts(self, *payloads, batch, platform="youtube", source="vendor", observed=DAY):
        self._append(BRONZE_POSTS[platform], "post", payloads, batch, platform, source, observed)

    def _append(self, spec, record_type, payloads, batch, platform, source, observed):
        rows = []
        for place, payload in enumerate(payloads):
            text = payload if isinstance(payload, str) else json.dumps(payload, sort_keys=True)
            key = f"{platform}|{record_type}|{source}|{observed}|{text}"
            row = {
                "record_id": hashlib.sha256(key.encode()).hexdigest(),
                "source_code": source,
                "platform": platform,
                "record_type": record_type,
                "payload": text,
                "file_name": f"{source}-{batch}.csv",
                "line_number": place + 2,
                "landing_path": f"landing/{batch}",
                "observed_at": observed,
                "batch_seq": batch,
                "record_seq": place,
                "landed_at": LANDED + timedelta(minutes=batch),
            }
            rows.append(tuple(row[name] for name in spec.columns))
        frame = self.lake.spark.createDataFrame(rows, self.lake.spark_schema(spec))
        self.lake.append(spec, frame, batch_seq=batch)


@pytest.fixture
def bronze(lake):
    return Bronze(lake)


@pytest.fixture
def run(lake, settings):
    """Runs a step's function with a cursor (default: none) and other settings, and checks that its counts conserve."""

    def call(build, cursor=None, before=None, **changed):
        chosen = settings.model_copy(update=changed)
        report = build(StepContext(lake=lake, settings=chosen, cursor=cursor or {}, log=lambda _: None, before=before))
        assert report.imbalances() == {}
        return report

    return call


@pytest.fixture
def content(lake):
    """Content of a table as sorted dictionaries, optionally of some columns."""

    def read(spec, *columns):
        rows = lake.read(spec).select(*(columns or spec.columns)).collect()
        return sorted((row.asDict(recursive=True) for row in rows), key=repr)

    return read
