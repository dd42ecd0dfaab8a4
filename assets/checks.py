"""Asset checks: the structure of every table (blocking), expectations on silver and gold, conservation of counts."""

from dagster import AssetCheckResult, AssetChecksDefinition, AssetCheckSeverity, AssetKey, asset_check

from assets.failures import mapped_errors
from assets.resources import LakeResource
from lakehouse.contracts.tables import TABLES, TableSpec
from lakehouse.ops.steps import Step, last_report
from lakehouse.quality.expectations import EXPECTATIONS, Suite, validate
from lakehouse.quality.memory import remembered
from lakehouse.quality.structural import check_table


def structure_check(spec: TableSpec) -> AssetChecksDefinition:
    """Key, required columns and ranges as declared; a failure blocks everything downstream."""

    @asset_check(
        asset=AssetKey(spec.name),
        name="structure",
        blocking=True,
        description="Key not null and unique, required columns filled, counts not negative, scores within 0-1",
    )
    def check(lake: LakeResource) -> AssetCheckResult:
        opened = lake.open()
        with mapped_errors():
            outcome = remembered(opened, spec, "structure", lambda: check_table(opened, spec))
        return AssetCheckResult(
            passed=outcome.is_passed, metadata={"rows": outcome.rows_count, "problems": str(outcome.problems)}
        )

    return check


def conservation_check(step: Step) -> AssetChecksDefinition:
    """Rows in = rows out + quarantined + duplicates, in all and for each source; it is attached to the step's table."""

    @asset_check(
        asset=AssetKey(step.name),
        name="conservation",
        blocking=True,
        description="Rows in = rows out + quarantined + duplicates, in all and for each source",
    )
    def check(lake: LakeResource) -> AssetCheckResult:
        report = last_report(step, lake.open())
        problems = report.imbalances() if report else {}
        return AssetCheckResult(passed=not problems, metadata={"imbalances": str(problems)})

    return check


def expectations_check(suite: Suite) -> AssetChecksDefinition:
    """A Great Expectations suite over the metrics of a table; it warns, it does not block."""
    spec = TABLES[suite.table]

    @asset_check(asset=AssetKey(suite.table), name="expectations", description=suite.description)
    def check(lake: LakeResource) -> AssetCheckResult:
        opened = lake.open()
        with mapped_errors():
            outcome = remembered(opened, spec, "expectations", lambda: validate(opened, suite))
        return AssetCheckResult(
            passed=outcome.is_passed,
            severity=AssetCheckSeverity.WARN,
            metadata={"rows": outcome.rows_count, "problems": str(outcome.problems)},
        )

    return check


def all_checks(steps: tuple[Step, ...]) -> list[AssetChecksDefinition]:
    """Every check of the pipeline."""
    tables = [TABLES[name] for step in steps for name in step.outputs]
    return [
        *(structure_check(spec) for spec in tables),
        *(conservation_check(step) for step in steps),
        *(expectations_check(suite) for suite in EXPECTATIONS),
    ]
