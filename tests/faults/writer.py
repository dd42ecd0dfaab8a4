"""A Spark driver of its own that appends rows to Delta tables on S3, one commit each, and says which it was told are in.

Run as a program: `python -m tests.faults.writer '{"name": ..., "tables": [...], "appends": 5, ...}'`, with the lake's
settings in the environment. One line of JSON per table comes out. A file named `go` in `folder` starts all drivers together.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse.settings import load_settings
from lakehouse.storage.session import spark_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GO = "go"
GO_SECONDS = 120


def main(task: dict[str, Any]) -> None:
    """Append, and print the acknowledged values of each table."""
    spark = spark_session(load_settings())
    if task["creates"]:
        for table in task["tables"]:
            spark.createDataFrame([], "value string").write.format("delta").save(table)
    _wait(Path(task["folder"]), task["name"])
    told: dict[str, dict[str, list[str]]] = {table: {"acked": [], "refused": []} for table in task["tables"]}
    for at in range(task["appends"]):
        for table in task["tables"]:
            _append(spark, table, f"{task['name']}-{at}", told[table])
    for table, outcome in told.items():
        print(json.dumps({"table": table, **outcome}), flush=True)
    spark.stop()


def _append(spark: SparkSession, table: str, value: str, told: dict[str, list[str]]) -> None:
    try:
        spark.createDataFrame([(value,)], "value string").coalesce(1).write.format("delta").mode("append").save(table)
    except Exception as error:
        told["refused"].append(f"{value}: {type(error).__name__}")
    else:
        told["acked"].append(value)


def _wait(folder: Path, name: str) -> None:
    (folder / f"ready-{name}").touch()
    deadline = time.monotonic() + GO_SECONDS
    while not (folder / GO).exists() and time.monotonic() < deadline:
        time.sleep(0.05)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
