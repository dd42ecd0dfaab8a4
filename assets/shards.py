"""A full build of the index in runs of its own: an asset whose partitions are the shards. No domain logic.

Which partitions there are follows from the plan that the snapshot step wrote; a sensor asks for their runs (`jobs/sensors.py`), and for one
of the snapshot step when all are there.
"""

from dagster import AssetExecutionContext, DynamicPartitionsDefinition, MaterializeResult, asset

from assets.failures import mapped_errors
from assets.names import EXPORT, SHARDS
from assets.resources import LakeResource
from assets.snapshot import build_shard
from index_build.apart import Pieces, Plan, ShardName
from lakehouse.storage.objects import ObjectStore

GROUP = "index"
PARTITIONS = DynamicPartitionsDefinition(name=SHARDS)
SEPARATOR = "_"
"""Between a build's id and the name of its shard, which has none."""


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


@asset(
    name=SHARDS,
    partitions_def=PARTITIONS,
    deps=[EXPORT],
    group_name=GROUP,
    pool=SHARDS,
    kinds={"python"},
    description="Shards of a full build of the index, each a run of its own; only where CREATORLAKE_INDEX_APART is set",
)
def index_shards(context: AssetExecutionContext, lake: LakeResource) -> MaterializeResult:  # type: ignore[type-arg]
    """Build one shard."""
    build_id, _, name = context.partition_key.rpartition(SEPARATOR)
    with mapped_errors(context.retry_number):
        objects = lake.checked_objects()
        is_there = build_shard(objects, lake.settings, build_id, ShardName.parse(name), context.log.info)
    return MaterializeResult(metadata={"build": build_id, "shard": name, "is_skipped": not is_there})
