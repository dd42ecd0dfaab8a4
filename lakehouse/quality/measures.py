"""What is known of every asset's last success as rows of `ops_quality__metrics`: one truth for plots, alerts and questions.

Nothing is read twice for it: rows and durations come from the steps' records, rules and expectations from the checks',
null rates from the tables' logs. A value is recorded once for each state of its asset.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from lakehouse.contracts.layout import PROGRESS
from lakehouse.contracts.tables import QUALITY_METRICS, TABLES
from lakehouse.ops.steps import Report, StepContext
from lakehouse.quality.expectations import SUITES
from lakehouse.storage.lake import Lake
from lakehouse.storage.objects import ObjectStore

PASS, WARN, FAIL = "pass", "warn", "fail"
CHECK = "check_"
"""How the record of a table's checks begins; all others are of steps."""
COUNTS = ("rows_in", "rows_out", "rows_quarantined", "rows_duplicate")
WATCHED = "rows_out"
"""The count whose jumps are told."""
HISTORY_ROWS, HISTORY_MIN = 30, 7
"""States of an asset that a jump is held against, and the least number of them."""
UNUSUAL_SIGMAS = 6.0
"""Robust standard deviations (1.4826 MAD) from the median beyond which a count is a jump."""
LEAST_SPREAD = 0.05
"""Spread that is taken for normal at the least, as a share of the median: a steady table may grow a little."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One row without its time. `minimum` and `maximum` bound what is expected."""

    asset: str
    run: str
    metric: str
    value: float
    partition: str = ""
    minimum: float | None = None
    maximum: float | None = None
    status_code: str = PASS


def build_metrics(ctx: StepContext) -> Report:
    """Record the measures of every asset whose state changed since the last run.

    Returns:
        Measures written, as both counts; numbers of this run as metadata, which Dagster plots; cursor `runs`.
    """
    recorded: dict[str, str] = ctx.cursor.get("runs", {})
    found = [measure for measure in gather(ctx.lake) if recorded.get(_subject(measure)) != measure.run]
    history = past_counts(ctx.lake)
    measures = [_judged(measure, history.get(measure.asset, [])) for measure in found]
    if measures:
        ctx.lake.upsert(QUALITY_METRICS, _frame(ctx.lake, measures))
    runs = recorded | {_subject(measure): measure.run for measure in measures}
    said = {f"{measure.asset}: {measure.metric}": measure.value for measure in measures if not measure.partition}
    broken = sum(measure.status_code != PASS for measure in measures)
    return Report(
        rows_in=len(measures),
        rows_out=len(measures),
        conserves=True,
        metadata={"broken": broken, **said},
        cursor={"runs": runs},
    )


def gather(lake: Lake) -> Iterator[Measure]:
    """Every measure of the newest state of every asset."""
    for name, record in records(lake.objects):
        if name.removeprefix(CHECK) == QUALITY_METRICS.name:
            continue
        if name.startswith(CHECK):
            yield from _of_check(name.removeprefix(CHECK), record)
        else:
            yield from _of_step(name, record)
    for name in sorted(set(TABLES) - {QUALITY_METRICS.name}):
        yield from _of_columns(lake, name)


def records(objects: ObjectStore) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and contents of the records of steps and checks."""
    for info in sorted(objects.list(PROGRESS), key=lambda info: info.key):
        yield info.key.rpartition("/")[2].removesuffix(".json"), json.loads(objects.get(info.key))


def past_counts(lake: Lake) -> dict[str, list[float]]:
    """The last values of `WATCHED` of each asset, newest first."""
    if lake.version(QUALITY_METRICS.name) is None:
        return {}
    query = "SELECT asset, list(value ORDER BY measured_at DESC) FROM rows WHERE metric = ? AND partition = '' GROUP BY asset"
    with duckdb.connect() as session:
        session.register("rows", lake.rows(QUALITY_METRICS))
        return {asset: values[:HISTORY_ROWS] for asset, values in session.execute(query, [WATCHED]).fetchall()}


def sigmas(value: float, history: list[float]) -> float:
    """Robust standard deviations between a value and its history (newest first); 0 where there is too little of it.

    Median and MAD (Hampel 1974), so that one bad night does not hide the next one.
    """
    if len(history) < HISTORY_MIN:
        return 0.0
    middle = float(np.median(history))
    spread = 1.4826 * float(np.median(np.abs(np.asarray(history) - middle)))
    return (value - middle) / max(spread, LEAST_SPREAD * abs(middle), 1.0)


def _subject(measure: Measure) -> str:
    """What has a state of its own: a step's record, a table's checks and its columns are written at different times."""
    kind = (
        "columns" if measure.metric == "null_ratio" else "step" if measure.metric in (*COUNTS, "seconds") else "check"
    )
    return f"{measure.asset}:{kind}"


def _of_step(name: str, record: Mapping[str, Any]) -> Iterator[Measure]:
    run = hashlib.sha256(json.dumps(record["state"], sort_keys=True).encode()).hexdigest()[:16]
    for metric in (*COUNTS, "seconds"):
        yield Measure(name, run, metric, float(record[metric]))
    for source, counts in sorted(record["by_source"].items()):
        for kind, count in counts.items():
            yield Measure(name, run, f"rows_{kind}", float(count), source)


def _of_check(table: str, record: Mapping[str, Any]) -> Iterator[Measure]:
    run, outcome = record["version"], record["outcome"]
    yield Measure(table, run, "rows", float(outcome["rows_count"]))
    yield Measure(table, run, "broken_rules", float(len(outcome["problems"])), "", None, 0.0, _status(outcome))
    for rule, count in sorted(outcome["problems"].items()):
        yield Measure(table, run, "broken", float(count), rule, None, 0.0, FAIL)
    ranges = {item.metric: item for item in SUITES[table].expectations} if table in SUITES else {}
    for metric, value in sorted(outcome["metrics"].items()):
        if metric in ranges and metric != "rows":
            item = ranges[metric]
            is_within = (item.minimum is None or value >= item.minimum) and (
                item.maximum is None or value <= item.maximum
            )
            yield Measure(table, run, metric, value, "", item.minimum, item.maximum, PASS if is_within else WARN)


def _status(outcome: Mapping[str, Any]) -> str:
    return FAIL if outcome["problems"] else PASS


def _of_columns(lake: Lake, name: str) -> Iterator[Measure]:
    """Share of nulls in each column that may hold some; from the log, whose statistics cover the first 32 columns."""
    spec = TABLES[name]
    state = lake.state(name)
    if state is None:
        return
    files = lake.files(spec)
    rows = sum(int(file["num_records"] or 0) for file in files)
    for column in spec.columns:
        counts = [file.get(f"null_count.{column}") for file in files]
        if column not in spec.not_null and rows and None not in counts:
            yield Measure(name, state, "null_ratio", sum(int(count or 0) for count in counts) / rows, column)


def _judged(measure: Measure, history: list[float]) -> Measure:
    if measure.metric != WATCHED or measure.partition:
        return measure
    is_usual = abs(sigmas(measure.value, history)) <= UNUSUAL_SIGMAS
    return replace(measure, status_code=PASS if is_usual else WARN)


def _frame(lake: Lake, measures: list[Measure]) -> Any:
    now = dt.datetime.now(tz=dt.UTC)
    rows = [asdict(measure) | {"measured_at": now} for measure in measures]
    return lake.spark.createDataFrame(pa.Table.from_pylist(rows, schema=QUALITY_METRICS.arrow_schema()))
