"""Distinct keys whose rows are to be read, derived or removed: few are held by this process, many stay with Spark."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FEW = 250_000
"""Keys that this process holds and sends to every executor, about 25 MB. More stay with Spark and are joined by shuffle."""
FEW_ROWS = 100_000
"""Whole rows that are sent to every executor: accounts or vectors are about 100 MB."""


class Keys:
    """Distinct values of some columns; `few` holds them where they are at most `FEW`."""

    def __init__(self, spark: SparkSession, few: pa.Table | None, many: DataFrame | None, count: int) -> None:
        """Made by `of_table` and `of_frame`."""
        self._spark = spark
        self._many = many
        self.few = few
        self.count = count

    @classmethod
    def of_table(cls, spark: SparkSession, table: pa.Table) -> Keys:
        """The distinct rows of a table of few rows."""
        own = _nullable(table)
        rows = own.group_by(own.column_names).aggregate([])
        if rows.num_rows > FEW:
            return cls(spark, None, frame_of(spark, rows), rows.num_rows)
        return cls(spark, rows, None, rows.num_rows)

    @classmethod
    def of_frame(cls, df: DataFrame) -> Keys:
        """The distinct rows of a frame, computed now."""
        many = kept(df.distinct())
        count = int(many.count())
        return cls(df.sparkSession, _nullable(many.toArrow()) if count <= FEW else None, many, count)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.frame.columns) if self.few is None else list(self.few.column_names)

    @cached_property
    def frame(self) -> DataFrame:
        """The keys for Spark."""
        if self._many is not None:
            return self._many
        return frame_of(self._spark, self.few)

    def rows_of(self, df: DataFrame) -> DataFrame:
        """Rows of a frame whose values in the columns of the keys occur among them."""
        return df.join(few(self.frame, self.count), self.frame.columns, "left_semi").select(*df.columns)

    def others_of(self, df: DataFrame) -> DataFrame:
        """Rows of a frame whose values in the columns of the keys do not occur among them."""
        return df.join(few(self.frame, self.count), self.frame.columns, "left_anti").select(*df.columns)

    def renamed(self, names: Mapping[str, str]) -> Keys:
        """Distinct values of some of the columns, old name to new."""
        if self.few is None:
            return Keys.of_frame(self.frame.select(*names).toDF(*names.values()))
        return Keys.of_table(self._spark, self.few.select(list(names)).rename_columns(list(names.values())))

    def with_keys(self, other: Keys) -> Keys:
        """These keys and others of the same columns."""
        if self.few is None or other.few is None:
            return Keys.of_frame(self.frame.unionByName(other.frame))
        return Keys.of_table(self._spark, pa.concat_tables([self.few, other.few.select(self.few.column_names)]))


def frame_of(spark: SparkSession, table: pa.Table) -> DataFrame:
    """A table of few rows as a frame whose plan holds the rows.

    Its chunks are joined: of one whose first chunks are empty PySpark 4.2 makes a frame without any row.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    return spark.createDataFrame(table.combine_chunks() if table.num_rows else [], from_arrow_schema(table.schema))


def kept(df: DataFrame) -> DataFrame:
    """The rows, computed now and once, without the plan that made them: for a night's few rows, which are used often.

    The plans that read them stay small; with `persist` each would carry the whole plan along, seconds of planning a use.
    They live with the executors: losing one fails the step, which is then run again.
    """
    return df.localCheckpoint()


def few(df: DataFrame, rows: int, *, most: int = FEW) -> DataFrame:
    """The frame, with the hint to send it to every executor if it has no more rows than that is good for."""
    from pyspark.sql import functions as F

    return F.broadcast(df) if rows <= most else df


def _nullable(table: pa.Table) -> pa.Table:
    """The table with columns that may be null: keys of several origins are put together."""
    return pa.table(table.columns, schema=pa.schema([field.with_nullable(True) for field in table.schema]))
