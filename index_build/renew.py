"""Builds the snapshot of a night on the last full build: all documents are new, vectors stay where they are.

A row whose creator still has the stored vector keeps its place and gets the creator's new document. A row whose creator
is gone, or has another vector, keeps its place without a document: no filter and no look-up finds it (a tombstone; FAISS
removes rows only by writing all of them again). New vectors go into one more shard, with the lists and codes of the full
build. The large files are thus not written: publishing copies them inside the store.

The plan of a night: which rows keep their place (`_placed`), documents in that order (`_write_docs`), the side shard
(`encode.py`), the manifest. Recall and calibration are those of the full build, whose rows and codes these are.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from index_build.buckets import Buckets
from index_build.build import build_domains, copy_side, file_entry, make_empty, shard_entry, source_tables
from index_build.codes import emptied
from index_build.encode import ADDED, BUCKET_ROWS, encode, shard_files
from index_build.export import KEY, Batch, DomainVectors, Export
from index_build.manifest import MANIFEST_NAME, Domain, Manifest, ShardEntry, seal, vectors_at
from index_build.probe import open_coarse, open_scale
from index_build.refine import IdArray, RefineRows
from index_build.spec import IndexSpec
from index_build.train import Trained
from index_build.verify import JOIN_MEMORY
from lakehouse.errors import SchemaError

FULL_EVERY = timedelta(days=7)
"""Age of a full build at which the next snapshot is one again: codes and lists then follow what the vectors have become."""

MOVED_SHARE = 0.1
"""Share of the full build's rows that may be removed or in the side shard: removed rows are still scanned, and the side
shard is searched beside the others."""

LEAST_STORED = 0.9
"""Similarity of a new row with its stored form: bytes clip less of rows like those that its scale was fitted on."""

REPEATED = "SELECT creator_id FROM fresh GROUP BY creator_id HAVING count(*) > 1 LIMIT 1"
STAYING = "SELECT fresh.file_row_number AS row, row_id FROM fresh JOIN stored USING (creator_id, row_check)"

MAX_BUCKETS = 512
"""Files that documents are divided among, each of which gets a message of every 131,072 rows."""

PLACE = "row_id"
"""Column of places among all rows of the full build while documents are put in order; no export has one of that name."""

GONE = -1
"""Place of a row that has none in the full build."""


def full_build_reason(
    base: Manifest, export: Export, spec: IndexSpec, *, every: timedelta, outdated: datetime | None, now: datetime
) -> str | None:
    """Why the next snapshot has to be a full build; None where it can stand on the one that `base` is or stands on.

    Args:
        base: the snapshot in service.
        export: what the next one is made of.
        spec: what to build.
        every: age at which a full build is due.
        outdated: vectors from before it may name somebody who asked to be forgotten.
        now: the time.
    """
    built_at = datetime.fromisoformat(base.built.created_at)
    reasons = {
        "it is a flat one, which is built in a moment": not _may_stand_on(base),
        "the choices of the build are others": base.spec != spec,
        "the vectors are of another model": (base.model_id, base.shape.dimensions)
        != (export.info.model_id, export.dimensions),
        f"the last one is {(now - built_at).days} days old": now - built_at >= every,
        "rows were erased since its export was written": outdated is not None and vectors_at(base) < outdated,
        "the size has changed": spec.shards_count(export.rows_count) != len(base.placed_shards),
    }
    return next((reason for reason, is_so in reasons.items() if is_so), None)


def needed_files(base: Manifest) -> list[str]:
    """Paths of a snapshot's files that a renewal reads."""
    shards = base.placed_shards
    own = [*(file.path for file in base.shared), shards[0].index.path, *(shard.docs.path for shard in shards)]
    inside = [
        f"{domain.folder}/{path}"
        for domain in base.domains
        if _may_stand_on(domain.manifest)
        for path in needed_files(domain.manifest)
    ]
    return [*own, *inside]


def renew(
    export: Export, folder: Path, base: Manifest, out_dir: Path, *, log: Callable[[str], None] = print
) -> Manifest | None:
    """Build into `out_dir`, which must be absent, what differs from `base`; None where too many rows do.

    Args:
        export: all documents.
        folder: with the `needed_files` of `base`, checked.
        base: an IVF snapshot of the same model.
        out_dir: gets the manifest and all files that are not those of `base`.
        log: gets one line a stage.

    Raises:
        SchemaError: the export breaks a rule (see `export.py`).
    """
    draft, work = (out_dir.with_name(f"{out_dir.name}.{suffix}") for suffix in ("draft", "work"))
    make_empty(draft, work)
    try:
        manifest = _renew(_Base(folder, base), export, draft, work, log=log)
        if manifest is not None:
            (draft / MANIFEST_NAME).write_bytes(manifest.to_json())
            draft.replace(out_dir)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    return manifest


@dataclass(frozen=True)
class _Base:
    """The full build as it is served now, in a local folder."""

    folder: Path
    manifest: Manifest

    @property
    def shards(self) -> tuple[ShardEntry, ...]:
        return self.manifest.placed_shards

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    def trained(self) -> Trained:
        """What its rows were encoded with."""
        index = faiss.read_index(str(self.folder / self.shards[0].index.path), faiss.IO_FLAG_MMAP_IFC)
        coarse = open_coarse(self.folder, self.manifest)
        return Trained(self.manifest.shape, coarse, emptied(index), open_scale(self.folder, self.manifest))

    def docs(self, shard: ShardEntry) -> Path:
        """Documents of one of its shards."""
        return self.folder / shard.docs.path


@dataclass(frozen=True, slots=True)
class _SideRows:
    """Rows of an export that have no place in the full build."""

    export: Export
    places: IdArray

    @property
    def schema(self) -> pa.Schema:
        return self.export.schema

    @property
    def rows_count(self) -> int:
        return int(np.count_nonzero(self.places == GONE))

    @property
    def dimensions(self) -> int:
        return self.export.dimensions

    def batches(self) -> Iterator[Batch]:
        for batch, places in _with_places(self.export, self.places):
            rows = np.flatnonzero(places == GONE)
            if len(rows):
                yield Batch(batch.docs.take(pa.array(rows)), batch.vectors[rows])


def _renew(base: _Base, export: Export, draft: Path, work: Path, *, log: Callable[[str], None]) -> Manifest | None:
    trained, spec = base.trained(), base.manifest.spec
    log(
        f"index: looking for {export.rows_count:,} creators among the {base.rows:,} rows of {base.manifest.built.snapshot_id}"
    )
    places = _placed(base, export, trained, work)
    side = _SideRows(export, places)
    kept = export.rows_count - side.rows_count
    is_side_small = side.rows_count <= MOVED_SHARE * base.rows and spec.shards_count(side.rows_count) == 1
    if base.rows - kept > MOVED_SHARE * base.rows or not is_side_small:
        log(f"index: {base.rows - kept:,} rows are removed and {side.rows_count:,} new: too many, all are built")
        return None
    log(f"index: {kept:,} rows stay, {base.rows - kept:,} are removed, {side.rows_count:,} are new")
    for file in base.manifest.shared:
        (draft / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(base.folder / file.path, draft / file.path)
    _write_docs(base, export, places, draft, work)
    files = shard_files(draft, len(base.shards))
    encoded = [encode(side, trained, spec, files, work_dir=work)] if side.rows_count else []
    if any(shard.stored_similarity < LEAST_STORED for shard in encoded):
        log("index: new vectors are outside the scale of stored rows: all are built")
        return None
    shards = [
        *(
            shard.model_copy(update={"docs": file_entry(draft / shard.docs.path, draft, rows=shard.rows)})
            for shard in base.shards
        ),
        *(shard_entry(shard, draft).model_copy(update={"is_side": True}) for shard in encoded),
    ]
    domains = _domains(base, export, draft, work, log=log)
    manifest = _manifest(base.manifest, export, shards, domains, draft)
    log(f"index: snapshot {manifest.snapshot_id} on {manifest.built.snapshot_id}")
    return manifest


def _domains(base: _Base, export: Export, draft: Path, work: Path, *, log: Callable[[str], None]) -> tuple[Domain, ...]:
    """Domains, each on that of the base where it can."""

    def renewed(vectors: DomainVectors, folder: Path, scratch: Path) -> Manifest | None:
        held = next((domain for domain in base.manifest.domains if domain.name == vectors.name), None)
        part = export.domain(vectors)
        if held is None or not _fits(held.manifest, part):
            return None
        return _renew(_Base(base.folder / held.folder, held.manifest), part, folder, scratch, log=log)

    return build_domains(export, draft, work, spec=base.manifest.spec, log=log, renewed=renewed)


def _fits(base: Manifest, part: Export) -> bool:
    shards_count = base.spec.shards_count(part.rows_count)
    return _may_stand_on(base) and base.shape.dimensions == part.dimensions and len(base.placed_shards) == shards_count


def _may_stand_on(base: Manifest) -> bool:
    return base.shape.kind == "ivf"


def _manifest(
    base: Manifest, export: Export, shards: list[ShardEntry], domains: tuple[Domain, ...], draft: Path
) -> Manifest:
    info = export.info
    return seal(
        base.model_copy(
            update={
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "input_at": export.written_at,
                "export_id": info.export_id,
                "as_of": info.as_of,
                "rows_count": sum(shard.rows for shard in shards),
                "creators_count": export.rows_count,
                "full_build": base.built,
                "shards": tuple(shards),
                "side_tables": copy_side(export, draft),
                "source_tables": source_tables(export),
                "domains": domains,
            }
        )
    )


# Which rows stay


def _placed(base: _Base, export: Export, trained: Trained, work: Path) -> IdArray:
    """Place of each row of the export among all rows of the full build, `GONE` where it has none, int64 (rows,).

    Raises:
        SchemaError: a creator_id occurs twice.
    """
    keys = work / "keys.parquet"
    _write_keys(export, trained, keys)
    places = np.full(export.rows_count, GONE, dtype=np.int64)
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": JOIN_MEMORY,
        "temp_directory": str(work / "join"),
    }
    with closing(duckdb.connect(config=config)) as connection:
        connection.read_parquet(str(keys), file_row_number=True).create_view("fresh")
        repeated = connection.sql(REPEATED).fetchall()
        if repeated:
            raise SchemaError(f"creator_id {repeated[0][0]!r} occurs more than once.")
        first = 0
        for shard in base.shards:
            connection.read_parquet(str(base.docs(shard))).create_view("stored", replace=True)
            for batch in connection.sql(STAYING).to_arrow_reader():
                places[batch["row"].to_numpy()] = first + batch["row_id"].to_numpy()
            first += shard.rows
    return places


def _write_keys(export: Export, trained: Trained, path: Path) -> None:
    """Id of every creator, and the checksum that its vector has once it is stored."""
    schema = pa.schema([(KEY, pa.string()), ("row_check", pa.int64())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in export.batches():
            checks = RefineRows.of(batch.vectors, trained.scale).checks()
            writer.write_table(pa.table([batch.docs[KEY], pa.array(checks)], schema=schema))


def _with_places(export: Export, places: IdArray) -> Iterator[tuple[Batch, IdArray]]:
    start = 0
    for batch in export.batches():
        stop = start + batch.docs.num_rows
        yield batch, places[start:stop]
        start = stop


# Documents in the order of the rows


def _write_docs(base: _Base, export: Export, places: IdArray, draft: Path, work: Path) -> None:
    """Documents of all shards of the full build; a row that has none has nothing but its place."""
    buckets, size = _divided(base, export, places, work / "docs")
    rows = _in_order(buckets, size, export.schema, base.rows)
    schema = pa.schema([*ADDED, *(field.with_nullable(True) for field in export.schema)])
    held = next(rows, None)
    for shard in base.shards:
        path = draft / shard.docs.path
        path.parent.mkdir(parents=True)
        added = pq.read_table(base.docs(shard), columns=[field.name for field in ADDED])
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            written = 0
            while written < shard.rows and held is not None:
                part = held.slice(0, shard.rows - written)
                own = added.slice(written, part.num_rows)
                rows_per_group = base.manifest.spec.docs_row_group_rows
                writer.write_table(
                    pa.table([*own.columns, *part.columns], schema=schema), row_group_size=rows_per_group
                )
                written += part.num_rows
                held = held.slice(part.num_rows) if part.num_rows < held.num_rows else next(rows, None)


def _divided(base: _Base, export: Export, places: IdArray, folder: Path) -> tuple[Buckets, int]:
    """Documents that have a place, with it, in buckets of so many neighbouring places each."""
    size = max(BUCKET_ROWS, -(-base.rows // MAX_BUCKETS))
    schema = pa.schema([pa.field(PLACE, pa.int64()), *export.schema])
    with Buckets(folder, -(-base.rows // size), schema).filled() as buckets:
        for batch, own in _with_places(export, places):
            rows = np.flatnonzero(own != GONE)
            docs = batch.docs.take(pa.array(rows))
            buckets.add(own[rows] // size, pa.table([pa.array(own[rows]), *docs.columns], schema=schema))
    return buckets, size


def _in_order(buckets: Buckets, size: int, schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Documents of all `rows` places, a bucket at a time, null where there is none."""
    for number, first in enumerate(range(0, rows, size)):
        table = buckets.take(number)
        chosen = np.full(min(size, rows - first), GONE, dtype=np.int64)
        chosen[table[PLACE].to_numpy() - first] = np.arange(table.num_rows)
        yield table.select(schema.names).combine_chunks().take(pa.array(chosen, mask=chosen == GONE))
