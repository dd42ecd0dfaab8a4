"""Asset checks, one operation per step: structure (blocking), conservation of counts (blocking), expectations (warning)."""

from collections.abc import Iterator

from dagster import (
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    multi_asset_check,
)

from assets.failures import mapped_errors
from assets.resources import LakeResource
from lakehouse.contracts.tables import TABLES
from lakehouse.ops.steps import Step, last_report
from lakehouse.quality.expectations import SUITES, validate
from lakehouse.quality.memory import checked
from lakehouse.quality.structural import CheckOutcome
from lakehouse.storage.lake import Lake

STRUCTURE = "structure"
CONSERVATION = "conservation"
EXPECTED = "expectations"
TEXTS = {
    STRUCTURE: "Key not null and unique, required columns filled, counts not negative, scores within 0-1",
    CONSERVATION: "Rows in = rows out + quarantined + duplicates, in all and for each source",
    EXPECTED: "Great Expectations over the table's metrics",
}


def checks_for(step: Step) -> AssetChecksDefinition:
    """All checks of a step's tables; those that block stop everything downstream in the same run."""

    @multi_asset_check(name=f"{step.name}_checks", specs=_specs(step))
    def check(lake: LakeResource) -> Iterator[AssetCheckResult]:
        opened = lake.open()
        with mapped_errors():
            yield _conserves(step, opened)
            for name in step.outputs:
                outcome = checked(opened, TABLES[name])
                yield _result(name, STRUCTURE, outcome, AssetCheckSeverity.ERROR)
                if name in SUITES:
                    expected = validate(name, outcome.metrics) if outcome.metrics else outcome
                    yield _result(name, EXPECTED, expected, AssetCheckSeverity.WARN)

    return check


def _specs(step: Step) -> list[AssetCheckSpec]:
    named = [(step.name, CONSERVATION)]
    named += [(table, STRUCTURE) for table in step.outputs]
    named += [(table, EXPECTED) for table in step.outputs if table in SUITES]
    return [
        AssetCheckSpec(name, asset=AssetKey(table), description=TEXTS[name], blocking=name != EXPECTED)
        for table, name in named
    ]


def _conserves(step: Step, lake: Lake) -> AssetCheckResult:
    report = last_report(step, lake)
    problems = report.imbalances() if report else {}
    return AssetCheckResult(
        asset_key=AssetKey(step.name),
        check_name=CONSERVATION,
        passed=not problems,
        metadata={"is_conserving_step": report is not None and report.conserves, "imbalances": str(problems)},
    )


def _result(table: str, name: str, outcome: CheckOutcome, severity: AssetCheckSeverity) -> AssetCheckResult:
    return AssetCheckResult(
        asset_key=AssetKey(table),
        check_name=name,
        passed=outcome.is_passed,
        severity=severity,
        metadata={"rows": outcome.rows_count, "problems": str(outcome.problems)},
    )
