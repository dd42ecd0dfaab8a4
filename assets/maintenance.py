"""Upkeep: one asset per table, under the pool of the step that writes it: no writer commits meanwhile; and erasure.

No domain logic.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from dagster import AssetExecutionContext, AssetKey, AssetsDefinition, AssetSpec, MaterializeResult, asset, multi_asset

from assets.failures import mapped_errors
from assets.resources import LakeResource
from lakehouse.contracts.tables import TABLES
from lakehouse.fetch.runtime import sources_of
from lakehouse.ops.erasure import erase
from lakehouse.ops.maintenance import maintain
from lakehouse.ops.retention import expire
from lakehouse.ops.steps import Step

GROUP = "maintenance"


def maintenance_of(step: Step) -> AssetsDefinition:
    """The assets that maintain what a step writes; each is keyed `maintenance/{table}`."""
    specs = [
        AssetSpec(
            key=AssetKey([GROUP, name]),
            deps=[AssetKey(name)],
            description=f"OPTIMIZE and VACUUM of {name}, and its health: rows, files, bytes, log",
            group_name=GROUP,
            kinds={"spark", "deltalake"},
        )
        for name in step.outputs
    ]

    @multi_asset(name=f"maintain_{step.name}", specs=specs, pool=f"delta_{step.name}")
    def materialize(context: AssetExecutionContext, lake: LakeResource) -> Iterator[MaterializeResult]:  # type: ignore[type-arg]
        with mapped_errors(context.retry_number):
            opened = lake.open()
            found = {name: maintain(opened, TABLES[name]) for name in step.outputs}
        for name, health in found.items():
            yield MaterializeResult(asset_key=AssetKey([GROUP, name]), metadata=health)

    return materialize


@asset(
    key=AssetKey([GROUP, "erasure"]),
    group_name=GROUP,
    kinds={"spark", "deltalake"},
    description="What was delivered again of accounts that asked to be forgotten, taken out of landing and bronze",
)
def erasure(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:  # type: ignore[type-arg]
    """Take out what arrived since the last time; the accounts themselves are kept out by silver."""
    with mapped_errors(context.retry_number):
        found = erase(lake.open(), context.log.info)
    return MaterializeResult(metadata={"accounts": found.accounts, "records": found.records})


@asset(
    key=AssetKey([GROUP, "retention"]),
    group_name=GROUP,
    kinds={"spark", "deltalake"},
    description="Fetched rows that are older than their platform allows, deleted in every layer",
)
def retention(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:  # type: ignore[type-arg]
    """Delete what is too old now."""
    with mapped_errors(context.retry_number):
        opened = lake.open()
        found = expire(opened, sources_of(opened.settings), now=datetime.now(tz=UTC), log=context.log.info)
    return MaterializeResult(metadata={"accounts": found.accounts, "records": found.records, "objects": found.objects})
