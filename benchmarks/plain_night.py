"""What a night cannot be cheaper than while tables are Delta's: its changes put into copies of the tables, and nothing else.

The copies are of before the night and keep every property of theirs. What came, changed or went in a table is laid out
beforehand; the clock runs while Delta appends what is new and marks and rewrites the rest in one MERGE. No change is looked for,
derived or compared.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.contracts.layout import table_key
from lakehouse.contracts.tables import TABLES, TableSpec
from lakehouse.storage.keys import few, kept
from lakehouse.storage.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

GONE = "_is_gone"


@dataclass(frozen=True, slots=True)
class Copy:
    """A table as it was before the night: where, in which state, and the last value of the column that it grows by."""

    spec: TableSpec
    path: str
    state: str | None
    last: int


def copies(lake: Lake, names: Iterable[str], folder: Path) -> list[Copy]:
    """Copies of those tables that exist, file by file; the lake is a local folder."""
    found = []
    for spec in (TABLES[name] for name in names if lake.version(name) is not None):
        path = folder / spec.name
        shutil.copytree(Path(lake.settings.lake) / table_key(spec), path)
        last = lake.max_value(spec, spec.grows_by) if spec.grows_by else 0
        found.append(Copy(spec, str(path), lake.state(spec.name), last))
    return found


def nights(lake: Lake, taken: Iterable[Copy], folder: Path) -> Iterator[tuple[TableSpec, int, float, float]]:
    """Each table that the night changed: rows that changed, seconds of their commits, seconds of reading the table once."""
    for copy in taken:
        if lake.state(copy.spec.name) != copy.state:
            read = _read(lake, copy)
            yield copy.spec, *(_grown(lake, copy) if copy.spec.grows_by else _changed(lake, copy, folder)), read


def _read(lake: Lake, copy: Copy) -> float:
    started = time.monotonic()
    lake.spark.read.format("delta").load(copy.path).write.format("noop").mode("overwrite").save()
    return time.monotonic() - started


def _laid_out(rows: DataFrame, folder: Path) -> DataFrame:
    """Rows written as Parquet, so that reading them is all they cost."""
    rows.coalesce(1).write.mode("overwrite").parquet(str(folder))
    return rows.sparkSession.read.schema(rows.schema).parquet(str(folder))


def _grown(lake: Lake, copy: Copy) -> tuple[int, float]:
    new = kept(lake.read(copy.spec).where(f"{copy.spec.grows_by} > {copy.last}"))
    rows, started = int(new.count()), time.monotonic()
    new.write.format("delta").mode("append").save(copy.path)
    return rows, time.monotonic() - started


def _changed(lake: Lake, copy: Copy, folder: Path) -> tuple[int, float]:
    """One append and one MERGE; the whole content where the night built the table anew."""
    from delta.tables import DeltaTable
    from pyspark.sql import functions as F

    spec = copy.spec
    keys = lake.changed_keys({spec: copy.state}, spec.key)
    if keys is None:
        started = time.monotonic()
        lake.read(spec).write.format("delta").mode("overwrite").save(copy.path)
        return lake.count(spec), time.monotonic() - started
    before = kept(keys.rows_of(lake.spark.read.format("delta").load(copy.path)).select(*spec.key))
    now = kept(lake.read_of(spec, keys))
    new = _laid_out(now.join(before, list(spec.key), "left_anti"), folder / "new")
    gone = before.join(now, list(spec.key), "left_anti").withColumn(GONE, F.lit(True))
    changed = now.join(before, list(spec.key), "left_semi").withColumn(GONE, F.lit(False))
    changed = _laid_out(changed.unionByName(gone, allowMissingColumns=True), folder / "changed")
    new_rows, changed_rows = int(new.count()), int(changed.count())
    started = time.monotonic()
    if new_rows:
        new.write.format("delta").mode("append").save(copy.path)
    if changed_rows:
        same_key = " AND ".join(f"t.`{name}` = s.`{name}`" for name in spec.key)
        table = DeltaTable.forPath(lake.spark, copy.path)
        merge = table.alias("t").merge(few(changed, changed_rows).alias("s"), same_key)
        merge = merge.whenMatchedDelete(condition=f"s.{GONE}")
        merge.whenMatchedUpdate(set={f"`{name}`": f"s.`{name}`" for name in spec.columns}).execute()
    return new_rows + changed_rows, time.monotonic() - started
