"""A cluster by configuration alone: two executors of their own and a lake on S3 give the tables that an embedded run gives."""

from __future__ import annotations

import json

import pytest

from tests.faults.content import differing
from tests.s3_backends import S3Backend
from tests.spark_cluster import standalone
from tests.support import WORLD, Home, step_counts

pytestmark = [pytest.mark.e2e, pytest.mark.s3, pytest.mark.faults, pytest.mark.timeout(2400)]
FEW_TASKS = {
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
}
"""For two cores; a real cluster keeps the defaults."""
SMALL = WORLD | {"CREATORLAKE_SIMULATE_CREATORS": "60"}


def test_a_cluster_gives_the_same_tables_as_an_embedded_run(s3: S3Backend, tmp_path):
    bucket = s3.make_bucket("cluster")
    embedded = Home(tmp_path / "embedded", f"s3://{bucket}/embedded", SMALL | s3.lake_environment)
    done = embedded.run("run", "--no-serve", timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "cluster").mkdir()
    with standalone(tmp_path / "cluster") as master:
        loopback = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"} | FEW_TASKS
        environment = {
            "CREATORLAKE_SPARK_MASTER": master,
            "CREATORLAKE_SPARK_DRIVER_MEMORY": "2g",
            "CREATORLAKE_SPARK_EXTRA": json.dumps(loopback | {"spark.executor.memory": "1500m"}),
        }
        spread = Home(tmp_path / "spread", f"s3://{bucket}/spread", SMALL | s3.lake_environment | environment)
        done = spread.run("run", "--no-serve", timeout=1500)
        assert done.returncode == 0, done.stdout + done.stderr
        executors = [path for path in (tmp_path / "cluster").glob("worker-*/app-*/*") if path.is_dir()]
        assert len({path.parent.parent.name for path in executors}) == 2, "one worker had no executor"
    settings = [s3.settings(home.path, home.lake.removeprefix("s3://")) for home in (embedded, spread)]
    assert differing(*settings) == []
    assert step_counts(spread) == step_counts(embedded)
