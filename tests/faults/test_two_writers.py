"""F5: two Spark drivers on one table. With the commit fence nothing acknowledged is lost; without it something is."""

from __future__ import annotations

import pytest

from tests.faults.drivers import append_together, outcome
from tests.faults.proxy import meetings, proxied
from tests.s3_backends import S3Backend
from tests.support import Home

pytestmark = [pytest.mark.integration, pytest.mark.spark, pytest.mark.s3, pytest.mark.faults]
UNFENCED = {"spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem"}
"""Tables under `s3://` have no fence, those under `s3a://` have: one pair of drivers tries both."""
APPENDS = 2


def test_f5_the_fence_keeps_every_acknowledged_append_and_its_absence_loses_some(s3: S3Backend, tmp_path):
    bucket = s3.make_bucket("f5-writers")
    tables = [f"s3a://{bucket}/fenced", f"s3://{bucket}/unfenced"]
    with proxied(s3.port) as proxy:
        proxy.rules = meetings("fenced", "unfenced")
        home = Home(tmp_path, "s3://f5-writers/lake", s3.lake_environment | {"CREATORLAKE_S3_ENDPOINT": proxy.endpoint})
        told = append_together(home, tables, appends=APPENDS, **UNFENCED)
    fenced, unfenced = (outcome(s3, table, told[table]) for table in tables)
    assert (len(fenced.acked), fenced.refused, fenced.lost) == (2 * APPENDS, [], 0)
    assert sorted(fenced.rows) == sorted(fenced.acked)
    assert fenced.version == 2 * APPENDS
    assert unfenced.lost > 0, "the test cannot see a lost commit: it proves nothing about the fence"
