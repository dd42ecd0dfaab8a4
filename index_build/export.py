"""Reads what a snapshot is built from: docs with vectors in batches, side tables, the export's own description.

A column of vectors with a name such as `short_vector` is a domain, `short`: vectors of one kind of content, of the creators that have
any. It is read as an export of its own, of ids and vectors.

Everything is checked at this edge, so the rest of the build may trust it: column types, unit vectors, ids. Nothing here
knows FAISS or holds more than one batch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from index_build.manifest import DOMAIN_NAME
from index_build.refine import FloatArray
from lakehouse.errors import NotFoundError, SchemaError

BATCH_ROWS = 16_384
"""Rows read at a time: about 25 MB of vectors and as much of documents."""

KEY = "creator_id"
VECTOR = "vector"
DOMAIN_VECTOR = re.compile(f"({DOMAIN_NAME})_vector")
"""Name of a column with the vectors of a domain, and in it the domain's."""

RESERVED = ("row_id", "list_id", "row_check")
"""Columns that the build adds to docs."""

SIDE_TABLES = ("accounts", "history", "aliases", "posts", "evidence")

MIN_NORM = 1e-6
"""A vector shorter than this has no direction; cosine similarity is undefined for it."""


class ExportInfo(BaseModel):
    """`export.json`. Keys beyond these are ignored, so that an export may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    export_id: str = ""
    as_of: str = ""
    model_id: str = ""
    dimensions: int | None = None
    source_tables: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Batch:
    """Some documents without their vectors, `creator_id` first, and their unit vectors, float32 (n, d)."""

    docs: pa.Table
    vectors: FloatArray

    @property
    def creator_ids(self) -> list[str]:
        """Ids of the rows."""
        return list(self.docs[KEY].to_pylist())


class RowSource(Protocol):
    """Documents with vectors that can be read again and again, in the same order."""

    @property
    def schema(self) -> pa.Schema:
        """Columns of the documents."""

    @property
    def rows_count(self) -> int:
        """Documents."""

    @property
    def dimensions(self) -> int:
        """Of the vectors."""

    def batches(self) -> Iterator[Batch]:
        """All rows."""


@dataclass(frozen=True, slots=True)
class DomainVectors:
    """Vectors of one kind of content: how many creators have one, and of how many numbers."""

    name: str
    rows_count: int
    dimensions: int

    @property
    def column(self) -> str:
        """Where they are among the documents."""
        return f"{self.name}_{VECTOR}"


@dataclass(frozen=True, slots=True)
class Export:
    """Input of a build. `vectors_path` is the `.npy` beside docs that have no vector column.

    `written_at` is the ISO time at which a lake got it, empty where it is in none. `of_domain` makes it the part of an export that
    is one of its domains.
    """

    info: ExportInfo
    docs_paths: tuple[Path, ...]
    schema: pa.Schema
    rows_count: int
    dimensions: int
    vectors_path: Path | None = None
    side: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    written_at: str = ""
    domains: tuple[DomainVectors, ...] = ()
    of_domain: DomainVectors | None = None

    def identity(self) -> str:
        """What tells one input from another: name, size and time of every file."""
        paths = [*self.docs_paths, *([self.vectors_path] if self.vectors_path else [])]
        for name in sorted(self.side):
            paths += self.side[name]
        states = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
        told = repr((states, self.info.model_dump(), self.rows_count, self.dimensions))
        return hashlib.sha256(told.encode()).hexdigest()

    def domain(self, domain: DomainVectors) -> Export:
        """One of its `domains` as an export: the creators that have such a vector, without documents."""
        return replace(
            self,
            schema=pa.schema([self.schema.field(KEY)]),
            rows_count=domain.rows_count,
            dimensions=domain.dimensions,
            vectors_path=None,
            side={},
            domains=(),
            of_domain=domain,
        )

    def batches(self) -> Iterator[Batch]:
        """All rows, in file order.

        Raises:
            SchemaError: an id is null, a vector has other dimensions, is not finite or has no length.
        """
        matrix = None if self.vectors_path is None else np.load(self.vectors_path, mmap_mode="r", allow_pickle=False)
        column = self.of_domain.column if self.of_domain else VECTOR
        is_part = self.domains or self.of_domain
        names = [*self.schema.names, *([] if matrix is not None else [column])] if is_part else None
        start = 0
        for path in self.docs_paths:
            with pq.ParquetFile(path) as source:
                for record_batch in source.iter_batches(batch_size=BATCH_ROWS, columns=names):
                    stop = start + record_batch.num_rows
                    given = None if matrix is None else matrix[start:stop]
                    start = stop
                    table = pa.Table.from_batches([record_batch])
                    if self.of_domain:
                        table = table.filter(pc.is_valid(table[column]))
                    if table.num_rows:
                        yield self._batch(table, given, column)

    def _batch(self, table: pa.Table, given: FloatArray | None, column: str) -> Batch:
        keys = table[KEY]
        if keys.null_count or pc.any(pc.equal(keys.cast(pa.string()), "")).as_py():
            raise SchemaError(f"A document has no {KEY}.")
        raw = _vectors(table[column], self.dimensions) if given is None else np.array(given, dtype=np.float32)
        docs = table.select(self.schema.names).cast(self.schema)
        return Batch(docs, _unit(raw, docs[KEY]))


def open_export(folder: Path) -> Export:
    """Open an export folder: `docs/*.parquet`, optional `vectors.npy`, `export.json` and side tables.

    Raises:
        NotFoundError: there are no documents.
        SchemaError: a file is not what it should be.
    """
    vectors = folder / "vectors.npy"
    side = {name: _parquet_files(folder / name) for name in SIDE_TABLES}
    return _open(
        docs=_parquet_files(folder / "docs"),
        vectors=vectors if vectors.exists() else None,
        info=_read_info(folder / "export.json"),
        side={name: paths for name, paths in side.items() if paths},
    )


def open_files(docs: Path, vectors: Path) -> Export:
    """Open one Parquet file or folder of documents and one `.npy` of float32 (n, d) in its row order.

    Raises:
        NotFoundError: one of them does not exist.
        SchemaError: they do not fit together.
    """
    if not vectors.exists():
        raise NotFoundError(f"{vectors} does not exist.")
    paths = _parquet_files(docs) if docs.is_dir() else (docs,)
    return _open(docs=paths, vectors=vectors, info=ExportInfo(), side={})


def _open(
    *, docs: tuple[Path, ...], vectors: Path | None, info: ExportInfo, side: dict[str, tuple[Path, ...]]
) -> Export:
    if not docs or not all(path.exists() for path in docs):
        raise NotFoundError("There are no Parquet documents to build an index of.")
    rows = sum(parquet_rows(path) for path in docs)
    if not rows:
        raise SchemaError("The documents have no rows; an index needs at least one.")
    dimensions = _vectors_dimensions(docs) if vectors is None else _matrix_dimensions(vectors, rows)
    if info.dimensions not in (None, dimensions):
        raise SchemaError(f"The export says {info.dimensions} dimensions, its vectors have {dimensions}.")
    schema = _docs_schema(docs)
    domains = _domains(docs)
    return Export(info, docs, schema, rows, dimensions, vectors_path=vectors, side=side, domains=domains)


def _read_info(path: Path) -> ExportInfo:
    if not path.exists():
        return ExportInfo()
    try:
        return ExportInfo.model_validate(json.loads(path.read_bytes()))
    except (ValueError, ValidationError) as error:
        raise SchemaError(f"{path} is not an export description: {error}") from error


def _parquet_files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in folder.glob("*.parquet") if not path.name.startswith(("_", "."))))


def parquet_rows(path: Path) -> int:
    """Rows of a Parquet file, from its footer.

    Raises:
        SchemaError: it is not one.
    """
    try:
        return int(pq.read_metadata(path).num_rows)
    except pa.ArrowInvalid as error:
        raise SchemaError(f"{path} is not a Parquet file.") from error


def _matrix_dimensions(path: Path, rows: int) -> int:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise SchemaError(f"{path} is not a plain .npy array.") from error
    if matrix.ndim != 2 or matrix.dtype != np.float32 or len(matrix) != rows or not matrix.shape[1]:
        raise SchemaError(
            f"{path} is {matrix.dtype} {matrix.shape}; float32 ({rows}, d) is needed, a row per document."
        )
    return int(matrix.shape[1])


def _vectors_dimensions(paths: tuple[Path, ...]) -> int:
    """Dimensions of the first row; files without rows are common among written partitions."""
    path = next(path for path in paths if parquet_rows(path))
    with pq.ParquetFile(path) as source:
        if VECTOR not in source.schema_arrow.names:
            raise SchemaError(f"{path} has no column {VECTOR!r} and there is no vectors.npy beside it.")
        value = next(source.iter_batches(batch_size=1, columns=[VECTOR])).column(0)[0].as_py()
    if not value:
        raise SchemaError(f"The first row of {path} has no vector.")
    return len(value)


def _docs_schema(paths: tuple[Path, ...]) -> pa.Schema:
    """Output schema of the documents: key first as string, no vector, dictionaries decoded; the same in every file."""
    schemas = [_plain_schema(pq.read_schema(path)) for path in paths]
    different = next((path for path, schema in zip(paths, schemas, strict=True) if not schema.equals(schemas[0])), None)
    if different is not None:
        raise SchemaError(f"{different} has other columns than {paths[0]}.")
    names = schemas[0].names
    reserved = sorted(set(names) & set(RESERVED))
    if KEY not in names or reserved or len(set(names)) != len(names):
        raise SchemaError(f"Documents need one column {KEY!r} and none of {', '.join(RESERVED)}; they have {names}.")
    rest = [column for column in schemas[0] if column.name != KEY]
    return pa.schema([pa.field(KEY, pa.string(), nullable=False), *rest])


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    columns = [column for column in schema if column.name != VECTOR and not _is_domain(column)]
    return pa.schema([pa.field(column.name, _plain_type(column.type)) for column in columns])


def _is_domain(column: pa.Field) -> bool:
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    is_list = any(is_kind(column.type) for is_kind in kinds)
    is_vector = is_list and pa.types.is_floating(column.type.value_type)
    return is_vector and DOMAIN_VECTOR.fullmatch(column.name) is not None


def _domains(paths: Sequence[Path]) -> tuple[DomainVectors, ...]:
    """Domains that any creator has a vector of, by name."""
    found = [sorted(column.name for column in pq.read_schema(path) if _is_domain(column)) for path in paths]
    columns = found[0]
    other = next((path for path, names in zip(paths, found, strict=True) if names != columns), None)
    if other is not None:
        raise SchemaError(f"{other} has vectors of other domains than {paths[0]}.")
    if not columns:
        return ()
    counted = ", ".join(f"count({name}), coalesce(max(len({name})), 0)" for name in columns)
    with closing(duckdb.connect()) as connection:
        files = connection.read_parquet([str(path) for path in paths])
        numbers = iter(files.aggregate(counted).fetchall()[0])
    vectors = [DomainVectors(name.removesuffix(f"_{VECTOR}"), next(numbers), next(numbers)) for name in columns]
    empty = next((domain for domain in vectors if domain.rows_count and not domain.dimensions), None)
    if empty is not None:
        raise SchemaError(f"The vectors of {empty.column!r} have no dimensions.")
    return tuple(domain for domain in vectors if domain.rows_count)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _vectors(column: pa.ChunkedArray, dimensions: int) -> FloatArray:
    lengths = pc.list_value_length(column)
    if column.null_count or not pc.all(pc.equal(lengths, dimensions)).as_py():
        raise SchemaError(f"A document's vector is missing or has not {dimensions} dimensions.")
    values = pc.list_flatten(column).combine_chunks().cast(pa.float32())
    if values.null_count:
        raise SchemaError("A document's vector holds a null.")
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float32).reshape(-1, dimensions)


def _unit(vectors: FloatArray, keys: pa.ChunkedArray) -> FloatArray:
    """Rows scaled to unit length; rows that are already unit to rounding stay as they are."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    bad = np.flatnonzero(~(norms > MIN_NORM) | ~np.isfinite(norms))
    if len(bad):
        raise SchemaError(f"The vector of {keys[int(bad[0])].as_py()!r} is not finite or has no length.")
    is_unit = np.abs(norms - 1.0) < np.finfo(np.float32).eps
    scale = np.where(is_unit, 1.0, norms)
    return np.asarray(vectors / scale[:, None], dtype=np.float32)
