"""Writes an archive of the Java classes that a run loads (class data sharing): every later JVM starts with a quarter less work.

`python deploy/archive.py TARGET`: a short Spark session over a throw-away lake, whose JVM leaves the archive at its exit.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from lakehouse.contracts.tables import CREATOR_IDS
from lakehouse.settings import load_settings
from lakehouse.storage.keys import Keys
from lakehouse.storage.lake import Lake
from lakehouse.storage.session import spark_config

QUICK = "-XX:TieredStopAtLevel=1"
"""The quick compiler alone: the session is over before the other one pays."""


def main(target: Path) -> None:
    """Run the session; the archive is there when this process has ended."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(home=Path(folder), lake=str(Path(folder) / "lake"), email_pepper="none")
        options = spark_config(settings)["spark.driver.extraJavaOptions"]
        extra = {"spark.driver.extraJavaOptions": f"{options} -XX:ArchiveClassesAtExit={target} {QUICK} -Xlog:cds*=off"}
        lake = Lake(settings.model_copy(update={"spark_extra": extra}))
        exercise(lake, Path(folder))
        java = lake.spark.sparkContext._gateway.proc  # noqa: SLF001  (its exit writes the archive)
        lake.spark.stop()
        java.stdin.close()
        java.wait(timeout=300)


def exercise(lake: Lake, folder: Path) -> None:
    """Every way in which a run reads and writes, once."""
    from pyspark.sql import functions as F

    lines = folder / "lines.txt"
    lines.write_text('{"id": 1, "name": "a"}\n{"id": 2, "name": null}\n' * 50, encoding="utf-8")
    read = lake.spark.read.text(str(lines)).select(F.from_json("value", "id bigint, name string").alias("row"))
    parsed = read.select("row.*").mapInArrow(lambda batches: batches, "id bigint, name string")
    rows = parsed.selectExpr(
        "'x' AS platform",
        "CAST(monotonically_increasing_id() AS STRING) AS platform_account_id",
        "coalesce(name, 'b') AS creator_id",
        "0.5D AS confidence_score",
        "id AS cluster_size_count",
        "true AS is_anchor",
        "current_timestamp() AS first_seen_at",
        "'1' AS model_version",
    ).select(*CREATOR_IDS.columns)
    lake.replace(CREATOR_IDS, rows)
    lake.upsert(CREATOR_IDS, rows.withColumn("is_anchor", F.lit(False)), of=Keys.of_frame(rows.select("creator_id")))
    changes = lake.changes(CREATOR_IDS, since=None)
    if changes is not None:
        changes.select(*CREATOR_IDS.key).distinct().count()
    lake.append(CREATOR_IDS, rows, batch_seq=1)
    lake.replace_where(CREATOR_IDS, rows, predicate="platform = 'x'")
    table = lake.read(CREATOR_IDS).persist()
    folded = table.groupBy("creator_id").agg(
        F.max_by("platform_account_id", "cluster_size_count"),
        F.sort_array(F.collect_list("platform")),
        F.median("confidence_score"),
    )
    table.join(F.broadcast(folded), "creator_id").toArrow()
    table.join(folded, "creator_id", "left_semi").write.parquet(str(folder / "plain"))
    table.unpersist()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
