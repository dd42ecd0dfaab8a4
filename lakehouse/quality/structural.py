"""Structural checks derived from a `TableSpec`: key not null and unique, required columns filled, rates within 0-1.

One aggregation a table, as one SQL text: by DuckDB in this process where a table is small, since a Spark job costs two
seconds whatever its size, else by Spark. A table that only grows is checked where it grew. A failed check blocks
everything downstream; nothing here is a matter of taste.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import duckdb

from lakehouse.contracts.tables import TableSpec
from lakehouse.storage.lake import Lake

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset
    from pyspark.sql import DataFrame

UNIT_SUFFIXES = ("_score", "probability")
"""Columns that lie within 0-1 by definition. Rates may exceed 1 (a viral post) and may be negative (growth)."""
COUNT_SUFFIX = "_count"
NO_METRICS: Mapping[str, str] = MappingProxyType({})
SMALL_BYTES = 256 << 20
"""Stored bytes up to which DuckDB checks a table: some seconds on one core."""
MEMORY_LIMIT = "1GB"
SQUARED_NORM = "squared_norm(vector)"
"""Sum of the squares of a vector, in the SQL of metrics."""
MACROS = (
    "array_size(x) AS len(x)",
    "regexp_like(x, y) AS regexp_matches(x, y)",
    "unix_micros(x) AS epoch_us(x)",
    "squared_norm(x) AS list_inner_product(x, x)",
)
"""DuckDB's words for Spark's."""
SPARK_WORDS = {SQUARED_NORM: "aggregate(vector, 0D, (s, x) -> s + x * x)"}
"""Spark's words for ours."""


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """Result of a table's checks: `problems` maps a rule to the number of rows (or the value) that breaks it.

    `newest` is the largest value of the column that the table grows by, 0 without one.
    """

    table: str
    rows_count: int
    problems: dict[str, int]
    metrics: dict[str, float] = field(default_factory=dict)
    newest: int = 0

    @property
    def is_passed(self) -> bool:
        """Whether no rule is broken."""
        return not self.problems


def check_table(
    lake: Lake, spec: TableSpec, metrics: Mapping[str, str] = NO_METRICS, *, since: CheckOutcome | None = None
) -> CheckOutcome:
    """Check the newest version of a table against its declaration.

    Args:
        lake: the lake.
        spec: the table.
        metrics: SQL aggregates to take along, by name.
        since: a passed outcome of an older state of a table that only grows; only what came after it is read.
    """
    where = f"{spec.grows_by} > {since.newest}" if since else "true"
    if sum(int(file["size_bytes"]) for file in lake.files(spec)) <= SMALL_BYTES:
        outcome = check_rows(spec, lake.rows(spec), metrics, where=where)
    else:
        outcome = check_frame(spec, lake.read(spec).where(where), metrics)
    return _joined(since, outcome) if since else outcome


def check_rows(
    spec: TableSpec, rows: Dataset, metrics: Mapping[str, str] = NO_METRICS, *, where: str = "true"
) -> CheckOutcome:
    """Check an Arrow dataset against a declaration in one pass of DuckDB."""
    aggregates = _aggregates(spec, metrics)
    chosen = ", ".join(f'{sql} AS "{name}"' for name, sql in aggregates.items())
    with duckdb.connect(config={"memory_limit": MEMORY_LIMIT}) as session:
        for macro in MACROS:
            session.execute(f"CREATE MACRO {macro}")
        session.register("rows", rows)
        found = session.execute(f"SELECT {chosen} FROM rows WHERE {where}").fetchone()  # noqa: S608  (our own names)
    return _outcome(spec, dict(zip(aggregates, found or (), strict=True)), metrics)


def check_frame(spec: TableSpec, df: DataFrame, metrics: Mapping[str, str] = NO_METRICS) -> CheckOutcome:
    """Check a Spark frame against a declaration in one pass."""
    aggregates = _aggregates(spec, metrics)
    for ours, theirs in SPARK_WORDS.items():
        aggregates = {name: sql.replace(ours, theirs) for name, sql in aggregates.items()}
    found = df.selectExpr(*(f"{sql} AS `{name}`" for name, sql in aggregates.items())).collect()[0]
    return _outcome(spec, found.asDict(), metrics)


def _aggregates(spec: TableSpec, metrics: Mapping[str, str]) -> dict[str, str]:
    """SQL aggregates by name, in words that both engines read."""
    key = ", ".join((*spec.key, "0"))  # the constant makes a row of a single column too
    counts = {"_rows": "count(*)", "_keys": f"count(DISTINCT ({key}))"}
    newest = {"_newest": f"max({spec.grows_by})"} if spec.grows_by else {}
    broken = {name: f"count_if(coalesce({condition}, false))" for name, condition in _rules(spec).items()}
    taken = {f"_metric:{name}": f"CAST({sql} AS DOUBLE)" for name, sql in metrics.items()}
    return counts | newest | broken | taken


def _outcome(spec: TableSpec, found: Mapping[str, Any], metrics: Mapping[str, str]) -> CheckOutcome:
    problems = {name: int(found[name]) for name in _rules(spec) if found[name]}
    if found["_keys"] != found["_rows"]:
        problems["duplicate_key"] = int(found["_rows"] - found["_keys"])
    measured = {name: float(found[f"_metric:{name}"] or 0.0) for name in metrics}
    return CheckOutcome(spec.name, int(found["_rows"]), problems, measured, int(found.get("_newest") or 0))


def _joined(before: CheckOutcome, after: CheckOutcome) -> CheckOutcome:
    """The outcome for all rows from that of the older and of the newer ones."""
    rows = before.rows_count + after.rows_count
    return CheckOutcome(after.table, rows, after.problems, after.metrics, max(before.newest, after.newest))


def _rules(spec: TableSpec) -> dict[str, str]:
    """SQL conditions that no row may satisfy, by rule name."""
    rules = {f"null:{name}": f"{name} IS NULL" for name in spec.columns if name in spec.not_null}
    for name in spec.columns:
        if name.endswith(UNIT_SUFFIXES):
            rules[f"outside_0_1:{name}"] = f"NOT ({name} BETWEEN 0.0 AND 1.0)"
        elif name.endswith(COUNT_SUFFIX):
            rules[f"negative:{name}"] = f"{name} < 0"
    return rules
