"""The only Spark configuration: Delta and S3A by fixed jars, no resolver, loopback only, one session a process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.contracts.layout import Layout
from lakehouse.errors import SettingsError
from lakehouse.settings import Settings
from lakehouse.storage.scratch import own_folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
EMBEDDED = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    # Delta's own parallelism: the defaults (50 and 10000 tasks) are for clusters; embedded they cost 2.5x the time.
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
}
COMMON = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "5000",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # the default, INT96, loses the time zone
    "spark.sql.caseSensitive": "true",
    "spark.sql.ansi.enabled": "true",
}
FENCE = {"spark.delta.logStore.s3a.impl": "creatorlake.ConditionalLogStore"}
"""Commits on S3 are conditional: two drivers cannot overwrite each other's entry of a Delta log (ADR 0004)."""
S3A = {
    "spark.hadoop.fs.s3a.connection.request.timeout": "60s",
    "spark.hadoop.fs.s3a.attempts.maximum": "5",
    "spark.hadoop.fs.s3a.retry.limit": "7",
    "spark.hadoop.fs.s3a.retry.http.5xx.errors": "true",
    "spark.hadoop.fs.s3a.input.stream.type": "classic",
}


SUBMITTED = "submitted"
"""Master of a driver that spark-submit started: machines, memory and jars are set already."""
COLLECTOR = "-XX:+UseParallelGC"
"""G1, the default, marks the heap again for every large buffer; on 2 cores that took a sixth of a run (docs/figures.md)."""
ZONE = "-Duser.timezone=UTC"
"""In any other zone Delta rebuilds a table's state after each commit to check its file list (`allFilesInCrc`)."""
ARCHIVE = Path(sys.prefix) / "creatorlake-classes.jsa"
"""Classes as the set-up archived them (`deploy/archive.py`); another Java than the set-up's ignores it."""
LOGGING = Path(__file__).with_name("log4j2.properties")


def spark_config(settings: Settings) -> dict[str, str]:
    """Every Spark setting of a run; `settings.spark_extra` wins.

    Raises:
        SettingsError: the jars are missing, or the extra settings take away the fence.
    """
    config = {"spark.ui.showConsoleProgress": "false", **DELTA, **COMMON}
    if settings.spark_master != SUBMITTED:
        config |= _machines(settings)
    if settings.spark_master.startswith("local"):
        config |= EMBEDDED | {
            "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
            "spark.sql.warehouse.dir": str(settings.home / "spark-warehouse"),
            "spark.local.dir": str(own_folder(settings.home / "spark-local")),
        }
    if Layout(settings.lake_root).is_s3:
        config |= FENCE | S3A | _s3_endpoint(settings)
    _refuse_without_fence(settings.spark_extra)
    return config | settings.spark_extra


def _machines(settings: Settings) -> dict[str, str]:
    """Where Spark runs and what it starts with."""
    return {
        "spark.master": settings.spark_master,
        "spark.jars": ",".join(str(path) for path in settings.jars()),
        "spark.driver.memory": settings.spark_driver_memory,
        "spark.pyspark.python": sys.executable,
        "spark.pyspark.driver.python": sys.executable,
        "spark.driver.extraJavaOptions": " ".join(_driver_options()),
        "spark.executor.extraJavaOptions": ZONE,
    }


def _driver_options() -> list[str]:
    archive = [f"-XX:SharedArchiveFile={ARCHIVE}", "-Xlog:cds*=off"] if ARCHIVE.exists() else []
    return [COLLECTOR, ZONE, f"-Dlog4j2.configurationFile={LOGGING.as_uri()}", *archive]


def _refuse_without_fence(extra: dict[str, str]) -> None:
    """Refuse settings that put another log under the tables.

    Raises:
        SettingsError: they do.
    """
    for key, value in extra.items():
        if key.startswith("spark.delta.logStore.") and FENCE.get(key) != value:
            raise SettingsError(f"CREATORLAKE_SPARK_EXTRA sets {key}, which takes away the fence of commits on S3.")


def spark_session(settings: Settings) -> SparkSession:
    """The process's session, started on first use."""
    from pyspark.sql import SparkSession

    if settings.spark_master != SUBMITTED:
        os.environ["PYSPARK_PYTHON"] = sys.executable  # the setting spark.pyspark.python only reaches spark-submit
    if settings.spark_master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.appName("creatorlake")
    for key, value in spark_config(settings).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def _s3_endpoint(settings: Settings) -> dict[str, str]:
    config: dict[str, str] = {"spark.hadoop.fs.s3a.endpoint.region": settings.s3_region}
    if settings.s3_access_key_id and settings.s3_secret_access_key:
        config["spark.hadoop.fs.s3a.access.key"] = settings.s3_access_key_id.get_secret_value()
        config["spark.hadoop.fs.s3a.secret.key"] = settings.s3_secret_access_key.get_secret_value()
    if settings.s3_endpoint:
        config |= {
            "spark.hadoop.fs.s3a.endpoint": settings.s3_endpoint,
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.connection.ssl.enabled": str(settings.s3_endpoint.startswith("https")).lower(),
            "spark.hadoop.fs.s3a.checksum.generation": "false",
        }
    return config
