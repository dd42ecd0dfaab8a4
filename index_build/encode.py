"""Writes a shard: assign lists, order rows by (list, creator_id), write docs, codes and refine rows in that order.

Two passes with bounded memory. Pass 1 streams the export once and spills the rows of the shard into buckets of neighbouring
lists; pass 2 sorts one bucket at a time in memory and appends it everywhere. Buckets ascend by list, so the shard comes
out in full order without ever being in memory. Nothing is shared with other shards but what was trained, so that each may be built
alone, again, or elsewhere; that costs a pass over the export for each of them. The exact answers of the queries that a build is measured by are gathered
on the way, as nobody sees all exact rows again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index_build.buckets import Buckets
from index_build.codes import add_coded, packed
from index_build.export import KEY, VECTOR, Batch, RowSource
from index_build.hashing import creator_hashes
from index_build.queries import Cell, Truth, Truths
from index_build.refine import FloatArray, IdArray, RefineRows
from index_build.spec import IndexSpec
from index_build.train import Trained, has_gpu
from lakehouse.errors import SchemaError

BUCKET_ROWS = 131_072
"""Rows of a spill bucket: 200 MB of vectors at 384 dimensions and about as much of documents."""

LIST = "list_id"

ADDED = (
    pa.field("row_id", pa.int64(), nullable=False),
    pa.field(LIST, pa.int32(), nullable=False),
    pa.field("row_check", pa.int64(), nullable=False),
)
"""Columns before those of the source."""


@dataclass(frozen=True, slots=True)
class EncodedShard:
    """Files of one written shard, and the exact answers in it of the cells that were asked for.

    `stored_similarity` is the least inner product of a row with its stored form: bytes clip what is outside their scale.
    """

    shard: int
    rows: int
    docs: Path
    index: Path
    refine: Path
    lists: Path
    truths: tuple[Truth, ...] = ()
    stored_similarity: float = 1.0

    @property
    def paths(self) -> tuple[Path, ...]:
        """Its files."""
        return (self.docs, self.index, self.refine, self.lists)


def shard_files(
    out_dir: Path, number: int, *, rows: int = 0, truths: tuple[Truth, ...] = (), stored_similarity: float = 1.0
) -> EncodedShard:
    """The shard of a number in a snapshot folder."""
    folder = out_dir / "shards" / f"{number:04d}"
    return EncodedShard(
        number,
        rows,
        docs=folder / "docs.parquet",
        index=folder / "index.faiss",
        refine=folder / "refine.bin",
        lists=folder / "lists.npy",
        truths=truths,
        stored_similarity=stored_similarity,
    )


@dataclass(frozen=True, slots=True)
class Share:
    """Creators whose hash leaves the rest `shard` when divided by the number of shards; 0 of 1 are all."""

    shard: int = 0
    of: int = 1

    def rows(self, batch: Batch) -> IdArray | None:
        """Which rows of a batch are of it, None for all."""
        if self.of == 1:
            return None
        return np.flatnonzero(creator_hashes(batch.creator_ids) % np.uint64(self.of) == self.shard)


def encode(
    source: RowSource,
    trained: Trained,
    spec: IndexSpec,
    files: EncodedShard,
    *,
    work_dir: Path,
    share: Share | None = None,
    cells: Sequence[Cell] = (),
) -> EncodedShard:
    """Write a share of the rows of `source`, all by default, into the `files` of a shard; `cells` are asked of it.

    What a killed call left of it is removed first.

    Raises:
        SchemaError: a creator_id occurs twice, or the shard would be empty.
    """
    shutil.rmtree(files.docs.parent, ignore_errors=True)
    spill = Spill(source, trained, share=share or Share(), folder=work_dir / "spill")
    spill.fill()
    written = _write_shard(spill, trained, spec, files=files, cells=cells)
    spill.remove()
    return written


class Spill:
    """Rows of a share of a source, divided into buckets of neighbouring lists."""

    def __init__(self, source: RowSource, trained: Trained, *, share: Share, folder: Path) -> None:
        """Prepare; what a killed build left is removed."""
        self._source = source
        self._trained = trained
        self._share = share
        self._count = max(1, -(-source.rows_count // (share.of * BUCKET_ROWS)))
        vector = pa.field(VECTOR, pa.list_(pa.float32(), source.dimensions))
        self.docs_schema = source.schema
        self.rows = 0
        self._schema = pa.schema([*source.schema, pa.field(LIST, pa.int32()), vector])
        self._folder = folder
        self.remove()
        self._buckets = Buckets(folder, self._count, self._schema)

    def fill(self) -> None:
        """Read the source once and write every bucket."""
        assign = _assigner(self._trained)
        with self._buckets.filled() as buckets:
            for batch in self._source.batches():
                own = self._share.rows(batch)
                docs = batch.docs if own is None else batch.docs.take(pa.array(own))
                rows = batch.vectors if own is None else batch.vectors[own]
                if not len(rows):
                    continue
                self.rows += len(rows)
                lists = assign(rows)
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
                table = pa.table([*docs.columns, pa.array(lists, pa.int32()), vectors], schema=self._schema)
                buckets.add(lists * self._count // self._trained.shape.lists_count, table)

    def sorted_buckets(self) -> Iterator[tuple[pa.Table, IdArray, FloatArray]]:
        """Documents, list ids (int64) and vectors, in (list, creator_id) order, a bucket at a time."""
        for bucket in range(self._count):
            table = self._buckets.take(bucket)
            if table.num_rows:
                order = pc.sort_indices(table, sort_keys=[(LIST, "ascending"), (KEY, "ascending")])
                ordered = table.combine_chunks().take(order)
                yield ordered.select(self.docs_schema.names), _ids(ordered[LIST]), _matrix(ordered[VECTOR])

    def remove(self) -> None:
        """Remove all buckets."""
        shutil.rmtree(self._folder, ignore_errors=True)


class _ShardWriter:
    """Appends ordered rows to the files of one shard."""

    def __init__(
        self, trained: Trained, spec: IndexSpec, files: EncodedShard, *, rows: int, schema: pa.Schema, stack: ExitStack
    ) -> None:
        self._trained = trained
        self._rows = rows
        self._row_group_rows = spec.docs_row_group_rows
        self._index = _empty_index(trained)
        self._counts = np.zeros(trained.shape.lists_count, np.int64)
        self.stored_similarity = 1.0
        self._schema = pa.schema([*ADDED, *schema])
        self._docs = stack.enter_context(pq.ParquetWriter(files.docs, self._schema, compression="zstd"))
        self._refine: BinaryIO = stack.enter_context(files.refine.open("wb"))

    def append(self, docs: pa.Table, lists: IdArray, vectors: FloatArray) -> None:
        """Write one sorted bucket."""
        first = int(self._counts.sum())
        row_ids = np.arange(first, first + len(lists), dtype=np.int64)
        stored = RefineRows.of(vectors, self._trained.scale)
        self._refine.write(stored.stored.data)
        if stored.residuals is not None:
            _write_at(self._refine, (self._rows + first) * stored.residuals.shape[1], stored.residuals)
            kept = np.vecdot(stored.vectors(np.arange(len(lists))), vectors)
            self.stored_similarity = min(self.stored_similarity, float(kept.min()))
        added = [pa.array(row_ids), pa.array(lists, pa.int32()), pa.array(stored.checks())]
        table = pa.table([*added, *docs.columns], schema=self._schema)
        self._docs.write_table(table, row_group_size=self._row_group_rows)
        self._add(vectors, row_ids, lists)
        self._counts += np.bincount(lists, minlength=len(self._counts))

    def _add(self, vectors: FloatArray, row_ids: IdArray, lists: IdArray) -> None:
        if self._trained.coarse is None:
            self._index.add(vectors)
        else:
            add_coded(self._index, self._trained.coarse.differences(vectors, lists), row_ids, lists)

    def finish(self, files: EncodedShard) -> int:
        """Write the index and the list offsets; return the number of rows."""
        is_flat = isinstance(self._index, faiss.IndexFlat)
        faiss.write_index(self._index if is_flat else packed(self._index), str(files.index))
        offsets = np.concatenate([[0], np.cumsum(self._counts)]).astype(np.int64)
        np.save(files.lists, offsets, allow_pickle=False)
        return int(offsets[-1])


def _write_at(file: BinaryIO, offset: int, rows: np.ndarray) -> None:
    """Write further on in a file and come back."""
    place = file.tell()
    file.seek(offset)
    file.write(rows.data)
    file.seek(place)


def _write_shard(
    spill: Spill, trained: Trained, spec: IndexSpec, *, files: EncodedShard, cells: Sequence[Cell]
) -> EncodedShard:
    files.docs.parent.mkdir(parents=True)
    truths = Truths(cells, k=spec.recall_k)
    with ExitStack() as stack:
        writer = _ShardWriter(trained, spec, files, rows=spill.rows, schema=spill.docs_schema, stack=stack)
        for docs, lists, vectors in spill.sorted_buckets():
            writer.append(docs, lists, vectors)
            truths.add(vectors)
        rows = writer.finish(files)
    _require_unique(files.docs, rows)
    return replace(files, rows=rows, truths=tuple(truths.answers()), stored_similarity=writer.stored_similarity)


def _require_unique(docs: Path, rows: int) -> None:
    if not rows:
        raise SchemaError("A shard would be empty; use fewer shards for so few documents.")
    ids = pq.read_table(docs, columns=[KEY])[KEY]
    if pc.count_distinct(ids).as_py() != rows:
        counts = ids.value_counts()
        repeated = pc.filter(counts.field("values"), pc.greater(counts.field("counts"), 1))
        raise SchemaError(f"creator_id {repeated[0].as_py()!r} occurs more than once.")


def _empty_index(trained: Trained) -> faiss.Index:
    """Copy of the trained template; through bytes, since a clone would share its inner structures."""
    if trained.template is None:
        return faiss.IndexFlatIP(trained.shape.dimensions)
    return faiss.deserialize_index(faiss.serialize_index(trained.template))


def _assigner(trained: Trained) -> Callable[[FloatArray], IdArray]:
    """Function from vectors (n, d) to their nearest lists (n,), on a GPU where there is one."""
    coarse = trained.coarse
    if coarse is None:
        return lambda vectors: np.zeros(len(vectors), np.int64)
    if not has_gpu():
        return coarse.assign
    flat = faiss.IndexFlatIP(trained.shape.dimensions)
    flat.add(coarse.centroids)
    searcher = faiss.index_cpu_to_all_gpus(flat)
    return lambda vectors: np.ascontiguousarray(searcher.search(vectors, 1)[1][:, 0])


def _ids(column: pa.ChunkedArray) -> IdArray:
    return np.ascontiguousarray(column.to_numpy(), dtype=np.int64)


def _matrix(column: pa.ChunkedArray) -> FloatArray:
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(flat.reshape(-1, column.type.list_size), dtype=np.float32)
