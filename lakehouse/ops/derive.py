"""How a table is derived from others key by key: only keys that changed in an input are read, derived and written.

Without a history that tells them (first run, new code or settings, an input built anew), in a small table, and where most keys
changed, everything is derived and the table replaced. Both ways end at the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lakehouse.contracts.tables import TableSpec
from lakehouse.ops.steps import StepContext
from lakehouse.storage.keys import FEW_ROWS, Keys

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ACCOUNT_KEY = ("platform", "platform_account_id")
Read = Callable[[TableSpec], "DataFrame"]


def derive(
    ctx: StepContext,
    spec: TableSpec,
    fold: Callable[[Read], DataFrame],
    *,
    inputs: Sequence[TableSpec],
    key: Sequence[str] = ACCOUNT_KEY,
) -> int | None:
    """Bring `spec` up to date with its inputs.

    Returns:
        Number of keys that were derived anew; None for all.

    Args:
        ctx: the step's context.
        spec: table to write; `key` is among its columns.
        fold: makes rows of `spec` from inputs; it reads each by the function it is given, which leaves out keys that did
            not change. All rows of a key come or none, so rows may be joined and grouped by columns that include `key`.
        inputs: tables that hold `key` and decide which keys changed.
        key: what rows are derived by.
    """
    keys = touched(ctx, spec, inputs, key)
    return write(ctx, spec, lambda chosen: fold(_reader(ctx, chosen)), keys=keys)


def write(
    ctx: StepContext, spec: TableSpec, fold: Callable[[Keys | None], DataFrame], *, keys: Keys | None
) -> int | None:
    """Derive the rows of some keys and write them; with `keys` None all rows, which replace the table.

    Args:
        ctx: the step's context.
        spec: table to write.
        fold: makes the rows of `spec` that belong to some keys, or with None all.
        keys: whose rows are to be derived anew.

    Returns:
        Number of `keys`; None where all rows were derived.
    """
    if keys is None or _are_most(keys.count, ctx, spec):
        ctx.lake.replace(spec, fold(None))
        return None
    if keys.count:
        ctx.lake.upsert(spec, fold(keys), of=keys)
    return keys.count


def touched(
    ctx: StepContext, spec: TableSpec, inputs: Sequence[TableSpec], key: Sequence[str] = ACCOUNT_KEY
) -> Keys | None:
    """Keys of `spec` whose rows came, went or changed in an input since the step's last success.

    None means all: where nobody can tell, and where the table is so small that finding out costs more.
    """
    if ctx.before is None or ctx.lake.is_small(spec):
        return None
    return ctx.lake.changed_keys({table: ctx.before[table.name] for table in inputs}, key)


def _reader(ctx: StepContext, keys: Keys | None) -> Read:
    """Reads a table, of some keys or whole."""
    if keys is None:
        return ctx.lake.read
    return lambda table: ctx.lake.read_of(table, keys)


def _are_most(count: int, ctx: StepContext, spec: TableSpec) -> bool:
    """Whether so many keys changed that deriving everything costs less: an input that was built anew changes all of them."""
    return count > FEW_ROWS and 2 * count > ctx.lake.count(spec)
