"""The only Delta caller: every read and write of a table, with the schema of its `TableSpec` enforced.

The write mode is visible at the call: `append` (idempotent by batch), `upsert` (by key, writing only what differs),
`delete_where`, `replace_where` (rebuild a slice), `replace` (rebuild all). `changes` says which rows differ since an older
state (ADR 0007).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.contracts.layout import Layout, table_key
from lakehouse.contracts.tables import TABLES, TableSpec
from lakehouse.crash import arm
from lakehouse.errors import NotFoundError, SchemaError
from lakehouse.settings import Settings
from lakehouse.storage import picking
from lakehouse.storage.keys import FEW, FEW_ROWS, Keys, few, frame_of, kept
from lakehouse.storage.objects import ObjectStore
from lakehouse.storage.picking import CHANGED, GONE, KIND, NEW
from lakehouse.storage.session import spark_session

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyarrow import RecordBatchReader
    from pyarrow.dataset import Dataset
    from pyspark.sql import DataFrame, DataFrameWriter, SparkSession
    from pyspark.sql.types import StructType

_COMMIT = re.compile(r"_delta_log/(\d{20})\.json$")
_CHECKPOINT = re.compile(r"_delta_log/(\d{20})\.checkpoint.*\.parquet$")
_IS_UPKEEP = re.compile(rb'"operation":"(?:OPTIMIZE|REORG|VACUUM START|VACUUM END)"')
IN_PLACE = {"delta.enableChangeDataFeed": "true", "delta.enableDeletionVectors": "true"}
"""Properties of tables whose rows change: a changed row is marked and written anew, its file stays; changes can be read."""
IN_PLAN_MAX_MIB = 4
"""Stored size of a table whose rows may stand in a plan; in memory they are a few times as large, once for each reader."""
HERE_MAX_MIB = 1024
"""Stored size of a table of which this process picks few rows: some eight million accounts, half a minute on two cores. Of larger
tables Spark does."""
SMALL_ROWS = 25_000
"""Rows of a small table at the most, however few its bytes are: one that is written whole tells everybody who derives from it that
every row changed, and beyond this, deriving what they hold costs more than a commit."""
SAMPLED = 1_000
"""Rows whose size tells how large many more are."""
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

        Upkeep (OPTIMIZE, REORG, VACUUM) changes no rows and is passed over. Unlike the version alone the state never comes back
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
        """The table at its newest or a given version; an empty frame of its schema before the first write.

        A table of a few MiB is read here and now, by delta-rs, and goes into the plan as rows: where Spark reads it, each
        mention of it in a plan costs Delta one or two jobs to list its files, which is most of a small step's time.
        """
        newest = self.version(spec.name)
        if newest is None:
            return frame_of(self.spark, spec.arrow_schema().empty_table())
        is_newest = version in {None, newest}
        if is_newest and self._is_up_to(spec, min(self.settings.small_table_mib, IN_PLAN_MAX_MIB)):
            return frame_of(self.spark, self._arrow(spec))
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        return reader.load(self.layout.table_uri(spec)).select(*spec.columns)

    def read_of(self, spec: TableSpec, keys: Keys, *, columns: Sequence[str] = ()) -> DataFrame:
        """Rows of the newest version whose values in the columns of the keys occur among them, read now.

        Args:
            spec: the table.
            keys: values of some of the columns to read.
            columns: those to read; all without.
        """
        rows = self.pick(spec, keys=keys, columns=columns)
        if rows is not None:
            return frame_of(self.spark, rows)
        return kept(keys.rows_of(self.read(spec).select(*(columns or spec.columns))))

    def keys_at(self, spec: TableSpec, keys: Keys, columns: Sequence[str]) -> Keys:
        """Distinct values of some columns in the rows that `read_of` gives."""
        named = list(dict.fromkeys((*columns, *keys.columns)))
        rows = self.pick(spec, keys=keys, columns=named)
        if rows is None:
            return Keys.of_frame(keys.rows_of(self.read(spec).select(*named)).select(*columns))
        return Keys.of_table(self.spark, rows.select(list(columns)))

    def pick(
        self, spec: TableSpec, *, where: str = "", keys: Keys | None = None, columns: Sequence[str] = ()
    ) -> pa.Table | None:
        """Few rows of the newest version, without Spark.

        Args:
            spec: the table.
            where: SQL condition that the rows satisfy, in words that DataFusion reads.
            keys: only rows whose values occur among them.
            columns: those to read; all without.

        Returns:
            The rows. None where that is work for Spark: in a large table, by many keys, with more rows than `FEW`.
        """
        schema = _nullable(spec, columns or spec.columns)
        if self.version(spec.name) is None:
            return schema.empty_table()
        if (keys is not None and keys.few is None) or not self._is_up_to(spec, HERE_MAX_MIB):
            return None
        few_keys = keys.few if keys is not None else None
        return picking.pick(self._delta_table(spec), schema, where=where, keys=few_keys, most=FEW)

    def stream(self, spec: TableSpec, columns: Sequence[str], *, where: str = "") -> Iterator[pa.RecordBatch]:
        """Some columns of the newest version, batch by batch, in their declared types; without Spark, whatever the size.

        A column that the table was written without is null. `where` is a condition in words that DataFusion reads.
        """
        schema = _nullable(spec, columns)
        if self.version(spec.name) is None:
            return
        table = self._delta_table(spec)
        written = {field.name for field in table.schema().fields}
        found = table.scan(columns=[name for name in columns if name in written], predicate=where or None)
        for batch in pa.RecordBatchReader.from_stream(found):
            yield _of_schema(batch, schema)

    def count(self, spec: TableSpec, *, where: str = "") -> int:
        """Rows of the newest version, all as its log counts them or those that satisfy a condition; needs no Spark.

        Args:
            spec: the table.
            where: SQL condition in words that DataFusion reads; only the columns that it names are read.
        """
        if self.version(spec.name) is None:
            return 0
        table = self._delta_table(spec)
        if not where:
            return int(table.count()) - self.removed(spec)
        found = pa.RecordBatchReader.from_stream(table.scan(columns=[spec.key[0]], predicate=where))
        return sum(batch.num_rows for batch in found)

    def append(self, spec: TableSpec, df: DataFrame, *, batch_seq: int) -> None:
        """Add rows; the same `batch_seq` again (or an older one) is a no-op.

        Raises:
            SchemaError: columns differ from the declaration, or a required column holds a null.
        """
        writer = self._writer(spec, df).mode("append")
        with _nulls_named():
            writer.option("txnAppId", spec.name).option("txnVersion", batch_seq).save(self.layout.table_uri(spec))

    def upsert(self, spec: TableSpec, df: DataFrame, *, of: Keys | None = None) -> int:
        """Make the table hold the rows of `df`; equal rows are left alone.

        In a large table newcomers are committed first, then rows that differ or go: as one MERGE Delta would shuffle the
        whole table. A kill in between leaves whole rows, and the same call again completes them.

        Args:
            spec: the table.
            df: rows, at most one for each key.
            of: distinct values of some columns; rows of the table that match one and are not in `df` are removed.

        Returns:
            Number of rows of `df`.

        Raises:
            SchemaError: columns differ from the declaration, or a required column holds a null.
        """
        if self.version(spec.name) is None:
            with _nulls_named():
                self._writer(spec, df).mode("append").save(self.layout.table_uri(spec))
            return self.count(spec)
        self._adopt(spec)
        with _nulls_named():
            rows = kept(self.conform(spec, df))
            count = int(rows.count())
            differing, counts = self._differing(spec, rows, count, of)
            if NEW in counts and not self.is_small(spec):
                new = differing.where(f"{KIND} = '{NEW}'").select(*spec.columns)
                self._writer(spec, new).mode("append").save(self.layout.table_uri(spec))
                differing = differing.where(f"{KIND} <> '{NEW}'")
                del counts[NEW]
            if counts:
                self._change(spec, few(differing, sum(counts.values()), most=FEW_ROWS), counts.keys())
        return count

    def changes(self, spec: TableSpec, *, since: str | None) -> DataFrame | None:
        """Rows as they were and as they are wherever a row came, went or changed after a state that `state` gave.

        `since` None means a table without rows. The answer is None where the table cannot tell: it was built anew, keeps
        no feed of changes, or the feed may be vacuumed.
        """
        versions = self._versions_since(spec, since)
        return None if versions is None else self._feed(spec, versions)

    def changed_keys(self, since: Mapping[TableSpec, str | None], columns: Sequence[str]) -> Keys | None:
        """Values of some columns over the changes of several tables, each after a state of its own.

        Returns:
            The keys; None where one of the tables cannot tell (see `changes`).
        """
        versions: dict[TableSpec, range] = {}
        for spec, state in since.items():
            told = self._versions_since(spec, state)
            if told is None:
                return None
            versions[spec] = told
        found = self._changed_few(versions, columns)
        if found is not None:
            return Keys.of_table(self.spark, found)
        feeds = [self._feed(spec, told).select(*columns) for spec, told in versions.items()]
        return Keys.of_frame(reduce(lambda left, right: left.unionByName(right), feeds))

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
        there = self.pick(spec, where=predicate, columns=spec.key)
        writer = self._writer(spec, df)
        if there is not None and not there.num_rows and self.version(spec.name) is not None:
            writer = writer.mode("append")  # nothing to replace: Delta would look for it in every file
        else:
            writer = writer.mode("overwrite").option("replaceWhere", predicate)
        with _nulls_named():
            writer.save(self.layout.table_uri(spec))

    def replace(self, spec: TableSpec, df: DataFrame) -> None:
        """Replace the whole content, and the columns of a table that was written with others.

        Raises:
            SchemaError: columns differ from the declaration, or a required column holds a null.
        """
        self._adopt(spec)
        writer = self._writer(spec, df).mode("overwrite").option("overwriteSchema", "true")
        with _nulls_named():
            writer.save(self.layout.table_uri(spec))

    def compact(self, spec: TableSpec) -> int:
        """Put small files together (OPTIMIZE); the rows stay, readers of older versions too. Returns files replaced."""
        from delta.tables import DeltaTable

        done = DeltaTable.forPath(self.spark, self.layout.table_uri(spec)).optimize().executeCompaction()
        return int(done.select("metrics.numFilesRemoved").collect()[0][0])

    def purge(self, spec: TableSpec) -> None:
        """Write every file that holds removed rows anew without them; the rows stay as they are."""
        self.spark.sql(f"REORG TABLE delta.`{self.layout.table_uri(spec)}` APPLY (PURGE)")

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
        return list(pa.table(self._delta_table(spec).get_add_actions(flatten=True)).to_pylist())

    def is_small(self, spec: TableSpec) -> bool:
        """Whether writing the whole table costs less than another commit or plan: up to `small_table_mib` and `SMALL_ROWS`."""
        return self.version(spec.name) is not None and self._is_up_to(
            spec, self.settings.small_table_mib, rows=SMALL_ROWS
        )

    def _is_up_to(self, spec: TableSpec, mib: int, *, rows: int | None = None) -> bool:
        """Whether the newest version's files hold no more than so much; rows that were removed but stand in a file count."""
        files = self.files(spec)
        stored = sum(int(file["num_records"] or 0) for file in files)
        return sum(int(file["size_bytes"]) for file in files) <= mib * 1024 * 1024 and (rows is None or stored <= rows)

    def _arrow(self, spec: TableSpec) -> pa.Table:
        """All rows of the newest version, in the declared types."""
        found = self.rows(spec)
        table = found.read_all() if isinstance(found, pa.RecordBatchReader) else found.to_table()
        return table.select(spec.columns).cast(spec.arrow_schema())

    def removed(self, spec: TableSpec) -> int:
        """Rows that stand in the files of the newest version but were changed or removed; OPTIMIZE rewrites such files."""
        marks = pa.RecordBatchReader.from_stream(self._delta_table(spec).deletion_vectors())
        return sum(pc.sum(pc.invert(batch["selection_vector"].flatten())).as_py() or 0 for batch in marks)

    def rows(self, spec: TableSpec) -> Dataset | RecordBatchReader:
        """The newest version as Arrow, read by delta-rs without Spark: for tables that one machine can read, once."""
        table = self._delta_table(spec)
        if spec.grows_by:
            return table.to_pyarrow_dataset()
        return pa.RecordBatchReader.from_stream(table.scan())

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
        if not spec.grows_by and self.version(spec.name) is None:
            writer = writer.options(**IN_PLACE)
        return writer.partitionBy(*spec.partition_by) if spec.partition_by else writer

    def _differing(
        self, spec: TableSpec, rows: DataFrame, count: int, of: Keys | None
    ) -> tuple[DataFrame, dict[str, int]]:
        """Rows that the table does not hold as they are, and keys that it is to lose, with their `_kind`; how many of each."""
        here = rows.toArrow().cast(_nullable(spec, spec.columns)) if _fits_here(rows, count) else None
        if of is None:
            of = (
                Keys.of_frame(rows.select(*spec.key))
                if here is None
                else Keys.of_table(self.spark, here.select(spec.key))
            )
        old = self.pick(spec, keys=of) if here is not None else None
        found = picking.differing(here, old, key=spec.key) if here is not None and old is not None else None
        if found is not None:
            kinds = found.group_by(KIND).aggregate([(KIND, "count")]).to_pylist()
            return frame_of(self.spark, found), {kind[KIND]: kind[f"{KIND}_count"] for kind in kinds}
        differing = kept(self._differing_frame(spec, rows, self.read_of(spec, of)))
        return differing, {row[KIND]: row["count"] for row in differing.groupBy(KIND).count().collect()}

    @staticmethod
    def _differing_frame(spec: TableSpec, rows: DataFrame, old: DataFrame) -> DataFrame:
        """The same by Spark, for many rows."""
        from pyspark.sql import functions as F

        others = [name for name in spec.columns if name not in spec.key]
        before = old.select(*spec.key, F.struct(*others).alias("_before"))
        joined = rows.withColumn("_after", F.struct(*others)).join(before, list(spec.key), "full")
        kind = (
            F.when(F.col("_before").isNull(), NEW)
            .when(F.col("_after").isNull(), GONE)
            .when(~F.col("_before").eqNullSafe(F.col("_after")), CHANGED)
        )
        return joined.withColumn(KIND, kind).where(f"{KIND} IS NOT NULL").select(*spec.columns, KIND)

    def _change(self, spec: TableSpec, differing: DataFrame, kinds: Collection[str]) -> None:
        """Write rows that are new or changed and remove those that are gone, in one commit."""
        from delta.tables import DeltaTable

        same_key = " AND ".join(f"t.`{name}` = s.`{name}`" for name in spec.key)
        table = DeltaTable.forPath(self.spark, self.layout.table_uri(spec))
        merge = table.alias("t").merge(differing.alias("s"), same_key)
        if GONE in kinds:
            merge = merge.whenMatchedDelete(condition=f"s.{KIND} = '{GONE}'")
        if CHANGED in kinds:
            merge = merge.whenMatchedUpdate(set={f"`{name}`": f"s.`{name}`" for name in spec.columns})
        if NEW in kinds:
            merge = merge.whenNotMatchedInsert(values={f"`{name}`": f"s.`{name}`" for name in spec.columns})
        merge.execute()

    def _versions_since(self, spec: TableSpec, since: str | None) -> range | None:
        """Versions after a state, None being the state of a table without any; None where the feed cannot tell of them."""
        newest = self.version(spec.name)
        if newest is None:
            return range(0) if since is None else None
        if since is not None and not self.holds(spec.name, since):
            return None
        first = int(since.partition("-")[0]) + 1 if since is not None else 0
        if first > newest:
            return range(0)
        return range(first, newest + 1) if self._is_followed(spec, first) else None

    def _feed(self, spec: TableSpec, versions: range) -> DataFrame:
        """Rows before and after each change of some versions."""
        if not versions:
            return frame_of(self.spark, spec.arrow_schema().empty_table())
        feed = self.spark.read.format("delta").option("readChangeFeed", "true")
        feed = feed.option("startingVersion", versions.start).option("endingVersion", versions.stop - 1)
        return feed.load(self.layout.table_uri(spec)).select(*spec.columns)

    def _changed_few(self, versions: Mapping[TableSpec, range], columns: Sequence[str]) -> pa.Table | None:
        """Values of some columns over the feeds of some tables, without Spark; None if they are more than `FEW`."""
        parts: list[pa.Table] = []
        for spec, told in versions.items():
            schema = _nullable(spec, columns)
            if not told:
                continue
            if not all(self._is_told_by_rows(spec, version) for version in told):
                return None
            part = picking.changed_keys(self._delta_table(spec), schema, versions=told, most=FEW)
            if part is None or sum(found.num_rows for found in (*parts, part)) > FEW:
                return None
            parts.append(part)
        return pa.concat_tables(parts) if parts else _nullable(next(iter(versions)), columns).empty_table()

    def _is_told_by_rows(self, spec: TableSpec, version: int) -> bool:
        """Whether delta-rs reads a commit's changes right: from rows of change, or from files that were added or removed whole.

        Of a file with a deletion vector that comes or goes it gives the marked rows instead of the others.
        """
        try:
            body = self.objects.get(f"{table_key(spec)}/_delta_log/{version:020d}.json")
        except NotFoundError:  # cleaned up
            return False
        return b'"deletionVector"' not in body or b'{"cdc":' in body

    def _is_followed(self, spec: TableSpec, first: int) -> bool:
        """Whether the feed of changes holds everything from a version on, and nobody vacuums it while it is read."""
        try:
            said = json.loads(self._said(spec.name, first))["commitInfo"]
        except NotFoundError:  # cleaned up
            return False
        hours = (time.time() - said["timestamp"] / 1000) / 3600
        return hours < self.settings.vacuum_hours / 2 and self._properties(spec, first).items() >= IN_PLACE.items()

    def _adopt(self, spec: TableSpec) -> None:
        """Have a table that was made without them keep the properties of its kind from now on."""
        version = self.version(spec.name)
        if version is None or spec.grows_by or self._properties(spec, version).items() >= IN_PLACE.items():
            return
        given = ", ".join(f"'{name}' = '{value}'" for name, value in IN_PLACE.items())
        self.spark.sql(f"ALTER TABLE delta.`{self.layout.table_uri(spec)}` SET TBLPROPERTIES ({given})")

    def _properties(self, spec: TableSpec, version: int) -> dict[str, str]:
        """Delta properties of a table."""
        return self._delta_table(spec, version).metadata().configuration

    def _delta_table(self, spec: TableSpec, version: int | None = None) -> DeltaTable:
        """The table as delta-rs sees it, without Spark."""
        from deltalake import DeltaTable

        return DeltaTable(self.layout.uri(table_key(spec)), version=version, storage_options=self._delta_options())


def _of_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in a schema; columns that it lacks are null."""
    names = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type) if field.name in names else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _fits_here(rows: DataFrame, count: int) -> bool:
    """Whether rows are few enough, and by the size of some of them small enough, to be held by this process."""
    if count > FEW:
        return False
    if count <= SAMPLED:
        return True
    some = rows.limit(SAMPLED).toArrow()
    return bool(some.nbytes * count <= picking.MAX_BYTES * max(some.num_rows, 1))


def _nullable(spec: TableSpec, columns: Sequence[str]) -> pa.Schema:
    """Some columns in their declared types."""
    schema = spec.arrow_schema()
    return pa.schema([schema.field(name).with_nullable(True) for name in columns])


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
