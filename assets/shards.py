"""A full build of the index in runs of its own: one asset whose partitions are the shards, one that puts them together. No domain logic.

Which partitions there are follows from the plan that the snapshot step wrote; a sensor asks for their runs (`jobs/sensors.py`).
"""

from dagster import (
    AssetExecutionContext,
    AssetKey,
    DynamicPartitionsDefinition,
    MaterializeResult,
    asset,
)

from assets.failures import mapped_errors
from assets.names import EXPORT, FULL_BUILD, SHARDS, SNAPSHOT
from assets.resources import LakeResource
from assets.snapshot import IndexWork, told_of
from index_build.apart import Pieces, Plan, ShardName
from lakehouse.storage.objects import ObjectStore

GROUP = "index"
PARTITIONS = DynamicPartitionsDefinition(name=SHARDS)
SEPARATOR = "_"
"""Between a build's id and the name of its shard, neither of which has one."""


def partition_keys(plan: Plan) -> list[str]:
    """Partitions of a build."""
    return [f"{plan.build_id}{SEPARATOR}{name}" for name in plan.names()]


def due_partitions(objects: ObjectStore, plan: Plan) -> list[str]:
    """Those that may be built now: one shard of each part, and the others once it has trained what all need."""
    pieces = Pieces(objects, plan.build_id)
    return [
        key
        for key, name in zip(partition_keys(plan), plan.names(), strict=True)
        if not pieces.has_shard(name) and (name.number == 0 or pieces.of_domain(name.domain).is_trained())
    ]


def is_built(objects: ObjectStore, plan: Plan) -> bool:
    """Whether all shards of a build are finished."""
    pieces = Pieces(objects, plan.build_id)
    return all(pieces.has_shard(name) for name in plan.names())


@asset(
    name=SHARDS,
    partitions_def=PARTITIONS,
    deps=[EXPORT],
    group_name=GROUP,
    kinds={"python"},
    description="Shards of a full build of the index, each a run of its own on any machine; only where CREATORLAKE_INDEX_APART is set",
)
def index_shards(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:  # type: ignore[type-arg]
    """Build one shard."""
    build_id, _, name = context.partition_key.rpartition(SEPARATOR)
    with mapped_errors(context.retry_number):
        _work(context, lake).build_shard(build_id, ShardName.parse(name))
    return MaterializeResult(metadata={"build": build_id, "shard": name})


@asset(
    name=FULL_BUILD,
    deps=[AssetKey(SHARDS)],
    group_name=GROUP,
    pool=f"delta_{SNAPSHOT}",
    kinds={"python"},
    description="The shards put together: measured, verified, and the current snapshot with what has changed since",
)
def index_full_build(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:  # type: ignore[type-arg]
    """Publish what the runs have built."""
    with mapped_errors(context.retry_number):
        manifest = _work(context, lake).publish_built()
    return MaterializeResult(metadata={"is_skipped": True} if manifest is None else told_of(manifest))


def _work(context: AssetExecutionContext, lake: LakeResource) -> IndexWork:
    return IndexWork(lake.checked_objects(), lake.settings, context.log.info)
