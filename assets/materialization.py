"""One asset per table, all alike: run the step, tell the user, return its numbers. No domain logic."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    FreshnessPolicy,
    MaterializeResult,
    MetadataValue,
    multi_asset,
)

from assets.emr import run_on_emr, runs_on_emr
from assets.failures import mapped_errors
from assets.names import SNAPSHOT
from assets.resources import LakeResource
from lakehouse.contracts.tables import TABLES
from lakehouse.ops.steps import Report, Step, run_step

PROGRESS = logging.getLogger("creatorlake.progress")
"""One line per finished step, for the command line."""
FRESH = FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=26))
"""A nightly run was missed, then two: what is served is no longer of yesterday."""
NOTES = logging.getLogger("creatorlake.progress.notes")
"""What steps say while they work, for the command line; Dagster keeps it in the step's log."""


def asset_for(step: Step) -> AssetsDefinition:
    """The asset (or assets, one per table) that a step materialises; its pool lets one run at a time write them."""

    @multi_asset(
        name=step.name,
        specs=[_spec(step, name) for name in step.outputs or (step.name,)],
        pool=f"delta_{step.name}",
    )
    def materialize(context: AssetExecutionContext, lake: LakeResource) -> Iterator[MaterializeResult]:  # type: ignore[type-arg]
        def note(text: str) -> None:
            context.log.info(text)
            NOTES.info("    " + text)

        with mapped_errors(context.retry_number):
            opened = lake.open()
            if runs_on_emr(step, opened.settings):
                report = run_on_emr(context, step, opened)
            else:
                report = run_step(step, opened, opened.settings, note)
        PROGRESS.info(_line(step, report))
        for name in step.outputs or (step.name,):
            yield MaterializeResult(asset_key=name, metadata=_metadata(name, report, opened.layout.root))

    return materialize


def _spec(step: Step, name: str) -> AssetSpec:
    return AssetSpec(
        key=name,
        deps=[AssetKey(source) for source in step.inputs],
        description=TABLES[name].description if name in TABLES else step.description,
        group_name=step.group,
        kinds={"spark", "deltalake"} if step.outputs else {"python"},
        code_version=step.code_version,
        freshness_policy=FRESH if step.name == SNAPSHOT else None,
    )


def _line(step: Step, report: Report) -> str:
    if report.is_skipped:
        return f"{step.name:<34} unchanged"
    counts = f"{report.rows_in:>9,} in {report.rows_out:>9,} out"
    lost = [(report.rows_quarantined, "quarantined"), (report.rows_duplicate, "duplicate")]
    notes = "".join(f", {count:,} {what}" for count, what in lost if count)
    return f"{step.name:<34}{counts} {report.seconds:6.1f} s{notes}"


def _metadata(name: str, report: Report, root: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "rows_in": report.rows_in,
        "rows_out": report.rows_out,
        "rows_quarantined": report.rows_quarantined,
        "rows_duplicate": report.rows_duplicate,
        "seconds": report.seconds,
        "is_skipped": report.is_skipped,
        **{key: value for key, value in report.metadata.items() if isinstance(value, int | float | str)},
    }
    if name in TABLES:
        metadata["location"] = MetadataValue.path(f"{root}/delta/{name}")
        metadata["columns"] = len(TABLES[name].columns)
    if report.by_source:
        metadata["by_source"] = MetadataValue.md(_by_source(report.by_source))
    return metadata


def _by_source(by_source: dict[str, dict[str, int]]) -> str:
    """Markdown table: one row per source, the counts as columns."""
    names = sorted({name for counts in by_source.values() for name in counts})
    head = ["source", *names]
    rows = [[source, *(f"{counts.get(name, 0):,}" for name in names)] for source, counts in sorted(by_source.items())]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])
