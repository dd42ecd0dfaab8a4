"""The only Delta caller: every read and write of a table, with the schema of its `TableSpec` enforced.

The write mode is visible at the call: `append` (idempotent by batch), `merge` (upsert by key), `sync` (make the table
equal to a frame, touching only what differs), `delete` (by key), `delete_where`, `replace_where` (rebuild a slice), `replace` (rebuild all).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lakehouse.contracts.layout import Layout, table_key
from lakehouse.contracts.tables import TABLES, TableSpec
from lakehouse.crash import arm
from lakehouse.errors import NotFoundError, SchemaError
from lakehouse.settings import Settings
from lakehouse.storage.objects import ObjectStore
from lakehouse.storage.session import spark_session

if TYPE_CHECKING:
    from delta.tables import DeltaMergeBuilder
    from pyarrow.dataset import Dataset
    from pyspark.sql import DataFrame, DataFrameWriter, SparkSession
    from pyspark.sql.types import StructType

_COMMIT = re.compile(r"_delta_log/(\d{20})\.json$")
_CHECKPOINT = re.compile(r"_delta_log/(\d{20})\.checkpoint.*\.parquet$")
_IS_UPKEEP = re.compile(rb'"operation":"(?:OPTIMIZE|VACUUM START|VACUUM END)"')
STILL_THREADS = 16
"""Tables asked for at once: each waits for the store, twice."""
_RAISED = re.compile(r"\[USER_RAISED_EXCEPTION\] (\S+ is null)")


class Lake:
    """Tables and objects under one root. Spark starts at the first table access, not before."""

    def __init__(self, settings: Settings) -> None:
        """Open the lake named by the settings; a local folder is created."""
        arm(settings.crash_at)
        self.settings = settings
        self.layout = Layout(settings.lake_root)
        self.objects = ObjectStore.open(settings)
        self._still: dict[str, tuple[int | None, str | None]] | None = None

    @contextmanager
    def still(self) -> Iterator[None]:
        """While nobody writes: versions and states of all tables, asked for at once and only once."""
        with ThreadPoolExecutor(STILL_THREADS) as pool:
            states = list(pool.map(self._state, TABLES))
        self._still = dict(zip(TABLES, states, strict=True))
        try:
            yield
        finally:
            self._still = None

    @cached_property
    def spark(self) -> SparkSession:
        """The process's Spark session."""
        return spark_session(self.settings)

    def version(self, name: str) -> int | None:
        """Newest committed version of a table, None before its first write. Lists the log; needs no Spark."""
        if self._still is not None:
            return self._still[name][0]
        keys = [info.key for info in self.objects.list(f"{table_key(TABLES[name])}/_delta_log")]
        found = [match for key in keys if (match := _COMMIT.search(key) or _CHECKPOINT.search(key))]
        return max((int(match.group(1)) for match in found), default=None)

    def state(self, name: str) -> str | None:
        """Newest commit that changed a table's rows: its version and a digest of what it says of itself, None before any.

        Upkeep (OPTIMIZE, VACUUM) changes no rows and is passed over. Unlike the version alone the state never comes back
        when a table is deleted and built again. Needs no Spark.
        """
        return self._still[name][1] if self._still is not None else self._state(name)[1]

    def _state(self, name: str) -> tuple[int | None, str | None]:
        """Newest version and newest state."""
        newest = version = self.version(name)
        if version is None:
            return None, None
        said = self._said(name, version)
        while version and _IS_UPKEEP.search(said):
            try:
                said = self._said(name, version - 1)
            except NotFoundError:  # the log is cleaned up to here: the oldest commit that is left stands for all before
                break
            version -= 1
        return newest, self._digest(version, said)

    @staticmethod
    def _digest(version: int, said: bytes) -> str:
        return f"{version}-{hashlib.sha256(said).hexdigest()[:12]}"

    def _said(self, name: str, version: int) -> bytes:
        """A commit's first line: `commitInfo`, which holds its operation and its unique id."""
        return self.objects.get(f"{table_key(TABLES[name])}/_delta_log/{version:020d}.json").partition(b"\n")[0]

    def read(self, spec: TableSpec, *, version: int | None = None) -> DataFrame:
        """The table at its newest or a given version; an empty frame of its schema before the first write."""
        if self.version(spec.name) is None:
            return self.spark.createDataFrame([], self.spark_schema(spec))
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        return reader.load(self.layout.table_uri(spec)).select(*spec.columns)

    def append(self, spec: TableSpec, df: DataFrame, *, batch_seq: int) -> None:
        """Add rows; the same `batch_seq` again (or an older one) is a no-op.

        Raises:
            SchemaError: columns differ from the declaration, or a required column holds a null.
        """
        writer = self._writer(spec, df).mode("append")
        with _nulls_named():
            writer.option("txnAppId", spec.name).option("txnVersion", batch_seq).save(self.layout.table_uri(spec))

    def merge(self, spec: TableSpec, df: DataFrame) -> None:
        """Upsert by key: new keys are inserted, rows that differ are updated, equal rows are left alone.

        Raises:
            SchemaError: columns differ from the declaration, or a required column holds a null.
        """
        self._upsert(spec, df, delete_absent=False)

    def sync(self, spec: TableSpec, df: DataFrame) -> None:
        """Make the table equal to `df`: upsert by key and delete keys that `df` lacks.

        Raises:
            SchemaError: columns differ from the declaration, or a required column holds a null.
        """
        self._upsert(spec, df, delete_absent=True)

    def delete(self, spec: TableSpec, keys: DataFrame) -> None:
        """Remove the rows whose key is in `keys` (the key columns); absent keys are fine."""
        from delta.tables import DeltaTable

        if self.version(spec.name) is None:
            return
        same_key = " AND ".join(f"t.`{name}` = s.`{name}`" for name in spec.key)
        table = DeltaTable.forPath(self.spark, self.layout.table_uri(spec))
        table.alias("t").merge(keys.select(*spec.key).distinct().alias("s"), same_key).whenMatchedDelete().execute()

    def delete_where(self, spec: TableSpec, predicate: str) -> None:
        """Remove the rows that satisfy an SQL predicate; without any, nothing is committed."""
        from delta.tables import DeltaTable

        if self.version(spec.name) is not None and self.read(spec).where(predicate).limit(1).count():
            DeltaTable.forPath(self.spark, self.layout.table_uri(spec)).delete(predicate)

    def replace_where(self, spec: TableSpec, df: DataFrame, *, predicate: str) -> None:
        """Replace the rows that satisfy an SQL predicate; `df` may hold only such rows.

        Raises:
            SchemaError: columns differ from the declaration, or a required column holds a null.
        """
        writer = self._writer(spec, df).mode("overwrite").option("replaceWhere", predicate)
        with _nulls_named():
            writer.save(self.layout.table_uri(spec))

    def replace(self, spec: TableSpec, df: DataFrame) -> None:
        """Replace the whole content.

        Raises:
            SchemaError: columns differ from the declaration, or a required column holds a null.
        """
        writer = self._writer(spec, df).mode("overwrite")
        with _nulls_named():
            writer.save(self.layout.table_uri(spec))

    def compact(self, spec: TableSpec) -> int:
        """Put small files together (OPTIMIZE); the rows stay, readers of older versions too. Returns files replaced."""
        from delta.tables import DeltaTable

        done = DeltaTable.forPath(self.spark, self.layout.table_uri(spec)).optimize().executeCompaction()
        return int(done.select("metrics.numFilesRemoved").collect()[0][0])

    def vacuum(self, spec: TableSpec, *, hours: float) -> int:
        """Remove files that no version of the last `hours` names; returns how many were found.

        Raises:
            PermanentError: fewer hours than Delta thinks safe, and the session does not allow it.
        """
        from delta.tables import DeltaTable

        listed = DeltaTable.forPath(self.spark, self.layout.table_uri(spec))
        before = sum(1 for _ in self._data_objects(spec))
        listed.vacuum(hours)
        return before - sum(1 for _ in self._data_objects(spec))

    def files(self, spec: TableSpec) -> list[dict[str, Any]]:
        """Path, `size_bytes` and `num_records` of each data file of the newest version; needs no Spark."""
        from deltalake import DeltaTable

        table = DeltaTable(self.layout.uri(table_key(spec)), storage_options=self._delta_options())
        return list(pa.table(table.get_add_actions(flatten=True)).to_pylist())

    def rows(self, spec: TableSpec) -> Dataset:
        """The newest version as an Arrow dataset, read by delta-rs without Spark: for tables that one machine can read."""
        from deltalake import DeltaTable

        table = DeltaTable(self.layout.uri(table_key(spec)), storage_options=self._delta_options())
        return table.to_pyarrow_dataset()

    def holds(self, name: str, state: str) -> bool:
        """Whether a table's history still contains a state that `state` gave: it was not built anew since."""
        version = int(state.partition("-")[0])
        try:
            return self._digest(version, self._said(name, version)) == state
        except NotFoundError:  # built anew, or cleaned up
            return False

    def max_value(self, spec: TableSpec, column: str) -> int:
        """Largest value of an integer column, 0 for an empty table; answered from file statistics where possible."""
        if self.version(spec.name) is None:
            return 0
        row = self.read(spec).agg({column: "max"}).first()
        return int(row[0]) if row is not None and row[0] is not None else 0

    def spark_schema(self, spec: TableSpec) -> StructType:
        """Spark schema derived from the declaration."""
        from pyspark.sql.pandas.types import from_arrow_schema

        return from_arrow_schema(spec.arrow_schema())

    def conform(self, spec: TableSpec, df: DataFrame) -> DataFrame:
        """The frame in declared column order; a null in a required column fails the write and names the column.

        Raises:
            SchemaError: a column is missing, undeclared or of another type.
        """
        from pyspark.sql import functions as F

        self._check_schema(spec, df)
        columns = []
        for name in spec.columns:
            column = F.col(name)
            if name in spec.not_null:
                message = F.lit(f"{spec.name}.{name} is null")
                column = F.when(column.isNull(), F.raise_error(message)).otherwise(column).alias(name)
            columns.append(column)
        return df.select(*columns)

    def _data_objects(self, spec: TableSpec) -> Iterator[str]:
        key = table_key(spec)
        found = (info.key for info in self.objects.list(key) if "/_delta_log/" not in info.key)
        return (name for name in found if name.endswith(".parquet"))

    def _delta_options(self) -> dict[str, str]:
        """How delta-rs reaches the store; it reads only, and keeps conditional writes."""
        if not self.layout.is_s3:
            return {}
        settings = self.settings
        options = {"AWS_REGION": settings.s3_region}
        if settings.s3_access_key_id and settings.s3_secret_access_key:
            options["AWS_ACCESS_KEY_ID"] = settings.s3_access_key_id.get_secret_value()
            options["AWS_SECRET_ACCESS_KEY"] = settings.s3_secret_access_key.get_secret_value()
        if settings.s3_endpoint:
            options["AWS_ENDPOINT_URL"] = settings.s3_endpoint
            options["AWS_ALLOW_HTTP"] = str(settings.s3_endpoint.startswith("http://")).lower()
            options["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"] = "false"
        return options

    def _check_schema(self, spec: TableSpec, df: DataFrame) -> None:
        declared = {f.name: f.dataType.simpleString() for f in self.spark_schema(spec).fields}
        given = {f.name: f.dataType.simpleString() for f in df.schema.fields}
        problems = [f"missing {name}" for name in declared if name not in given]
        problems += [f"undeclared {name}" for name in given if name not in declared]
        problems += [
            f"{name} is {given[name]}, not {kind}"
            for name, kind in declared.items()
            if name in given and given[name] != kind
        ]
        if problems:
            raise SchemaError(f"{spec.name}: {'; '.join(problems)}.")

    def _writer(self, spec: TableSpec, df: DataFrame) -> DataFrameWriter:
        writer = self.conform(spec, df).write.format("delta")
        return writer.partitionBy(*spec.partition_by) if spec.partition_by else writer

    def _upsert(self, spec: TableSpec, df: DataFrame, *, delete_absent: bool) -> None:
        with _nulls_named():
            if self.version(spec.name) is None:
                self._writer(spec, df).mode("append").save(self.layout.table_uri(spec))
                return
            merge = self._merge_builder(spec, df)
            if delete_absent:
                merge = merge.whenNotMatchedBySourceDelete()
            merge.execute()

    def _merge_builder(self, spec: TableSpec, df: DataFrame) -> DeltaMergeBuilder:
        from delta.tables import DeltaTable

        same_key = " AND ".join(f"t.`{name}` = s.`{name}`" for name in spec.key)
        differs = " OR ".join(f"NOT (t.`{name}` <=> s.`{name}`)" for name in spec.columns if name not in spec.key)
        table = DeltaTable.forPath(self.spark, self.layout.table_uri(spec))
        merge = table.alias("t").merge(self.conform(spec, df).alias("s"), same_key)
        return merge.whenMatchedUpdateAll(condition=differs).whenNotMatchedInsertAll()


@contextmanager
def _nulls_named() -> Iterator[None]:
    """Turn Spark's failure over a null in a required column into one sentence.

    Spark gives it as its own error type or as a bare Java one, depending on how the plan was run.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        if raised := _RAISED.search(str(error)):
            raise SchemaError(f"{raised.group(1)}.") from error
        raise
