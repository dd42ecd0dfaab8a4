"""New raw records of all platforms as one frame, and their normalised form. Spark; the rules are in `rows.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from lakehouse.silver.rows import RAW_COLUMNS, parsed_schema
from lakehouse.storage.keys import FEW, frame_of, kept
from lakehouse.storage.picking import MAX_BYTES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.contracts.tables import TableSpec
    from lakehouse.silver.seen import Seen
    from lakehouse.storage.lake import Lake

Parser = Callable[..., Iterator[pa.RecordBatch]]
_FIRST = {"batch_seq": "first_batch", "record_seq": "first_record"}


def new_records(lake: Lake, specs: Mapping[str, TableSpec], seen: Seen) -> DataFrame:
    """Raw records of every platform's table not yet taken in (columns `RAW_COLUMNS`).

    A night's few are read now and once: each reading of a table by Spark asks Delta for its files again.
    """
    written = [spec for spec in specs.values() if lake.version(spec.name) is not None] or list(specs.values())[:1]
    found = None if seen.is_nothing else _few(lake, written, seen)
    if found is not None:
        return frame_of(lake.spark, found)
    frames = [lake.read(spec).where(seen.predicate()).select(*RAW_COLUMNS) for spec in written]
    records = reduce(lambda left, right: left.unionByName(right), frames)
    return records if seen.is_nothing else kept(records)


def _few(lake: Lake, specs: Sequence[TableSpec], seen: Seen) -> pa.Table | None:
    """The new records of several tables; None where they are work for Spark."""
    parts: list[pa.Table] = []
    for spec in specs:
        part = lake.pick(spec, where=seen.predicate(), columns=RAW_COLUMNS)
        if part is None or sum(table.nbytes for table in (*parts, part)) > MAX_BYTES:
            return None
        parts.append(part)
    return pa.concat_tables(parts)


def first_of_each(records: DataFrame) -> DataFrame:
    """One row per record id: the first that landed. The same content twice is one observation.

    Only ids travel: those that occur more than once are few, and are sent to the records.
    """
    place = F.struct("batch_seq", "record_seq")
    seen = records.groupBy("record_id").agg(F.count(F.lit(1)).alias("n"), F.min(place).alias("first"))
    repeated = seen.where("n > 1").select("record_id", "first.*").withColumnsRenamed(_FIRST)
    known = repeated.limit(FEW + 1).toArrow()
    if not known.num_rows:
        return records
    is_few = known.num_rows <= FEW
    right = F.broadcast(frame_of(records.sparkSession, known)) if is_few else repeated
    marked = records.join(right, "record_id", "left")
    is_first = F.struct(*_FIRST.values()) == place
    return marked.where(F.col("first_batch").isNull() | is_first).select(*records.columns)


def parse(
    records: DataFrame,
    parser: Parser,
    *,
    columns: tuple[str, ...],
    pepper: bytes,
    erased: frozenset[str] = frozenset(),
) -> DataFrame:
    """Normalised rows with `rejects` and `is_refused`, one per record; those of `erased` accounts are refused."""
    schema = from_arrow_schema(parsed_schema(columns))
    return records.select(*RAW_COLUMNS).mapInArrow(partial(parser, pepper=pepper, erased=erased), schema)


def counts_in(records: DataFrame) -> tuple[dict[str, int], dict[str, int]]:
    """Rows per source, and the newest batch per platform."""
    grouped = records.groupBy("source_code", "platform")
    rows = grouped.agg(F.count(F.lit(1)).alias("n"), F.max("batch_seq").alias("last")).collect()
    counts: Counter[str] = Counter()
    newest: dict[str, int] = {}
    for row in rows:
        counts[row["source_code"]] += row["n"]
        newest[row["platform"]] = max(newest.get(row["platform"], 0), row["last"])
    return dict(counts), newest
