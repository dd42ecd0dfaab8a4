"""Structural checks derived from a `TableSpec`: key not null and unique, required columns filled, rates within 0-1.

One aggregation a table. A failed check blocks everything downstream; nothing here is a matter of taste.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.contracts.tables import TableSpec
from lakehouse.storage.lake import Lake

UNIT_SUFFIXES = ("_score", "probability")
"""Columns that lie within 0-1 by definition. Rates may exceed 1 (a viral post) and may be negative (growth)."""
COUNT_SUFFIX = "_count"
NO_METRICS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """Result of a table's checks: `problems` maps a rule to the number of rows (or the value) that breaks it."""

    table: str
    rows_count: int
    problems: dict[str, int]
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def is_passed(self) -> bool:
        """Whether no rule is broken."""
        return not self.problems


def check_table(lake: Lake, spec: TableSpec, metrics: Mapping[str, str] = NO_METRICS) -> CheckOutcome:
    """Check the newest version of a table against its declaration."""
    return check_frame(spec, lake.read(spec), metrics)


def check_frame(spec: TableSpec, df: DataFrame, metrics: Mapping[str, str] = NO_METRICS) -> CheckOutcome:
    """Check a frame against a declaration in one pass; `metrics` are SQL aggregates to take along, by name."""
    rules = _rules(spec)
    counts = [F.count(F.lit(1)).alias("_rows"), F.count_distinct(F.struct(*spec.key)).alias("_keys")]
    counts += [F.count_if(F.coalesce(condition, F.lit(False))).alias(name) for name, condition in rules.items()]
    counts += [F.expr(sql).cast("double").alias(f"_metric:{name}") for name, sql in metrics.items()]
    row = df.agg(*counts).collect()[0]
    problems = {name: int(row[name]) for name in rules if row[name]}
    if row["_keys"] != row["_rows"]:
        problems["duplicate_key"] = int(row["_rows"] - row["_keys"])
    measured = {name: float(row[f"_metric:{name}"] or 0.0) for name in metrics}
    return CheckOutcome(spec.name, int(row["_rows"]), problems, measured)


def _rules(spec: TableSpec) -> dict[str, Column]:
    """Conditions that no row may satisfy, by rule name."""
    rules = {f"null:{name}": F.col(name).isNull() for name in spec.columns if name in spec.not_null}
    for name in spec.columns:
        if name.endswith(UNIT_SUFFIXES):
            rules[f"outside_0_1:{name}"] = ~F.col(name).between(0.0, 1.0)
        elif name.endswith(COUNT_SUFFIX):
            rules[f"negative:{name}"] = F.col(name) < 0
    return rules
