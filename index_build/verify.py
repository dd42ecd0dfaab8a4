"""Checks a snapshot folder against its manifest, trusting nothing that was read: bytes first, then structure.

Structure means that one row is the same creator everywhere: docs, refine rows, list offsets and FAISS ids agree.
Recall is not measured again here; the manifest's report belongs to exactly these bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import duckdb
import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from index_build.coarse import Coarse
from index_build.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    Domain,
    FileEntry,
    Manifest,
    ShardEntry,
    parse_manifest,
    shard_of,
)
from index_build.probe import ShardIndex, open_coarse
from index_build.refine import IdArray
from lakehouse.errors import IntegrityError, NotFoundError, SchemaError
from lakehouse.storage.objects import sha256_file

SAMPLED_GROUPS = 8
"""Row groups of documents compared with the index, spread over the shard; first and last are always among them."""

SAMPLED_LISTS = 256
"""Inverted lists whose ids are compared one by one."""

JOIN_MEMORY = "4GB"
"""Of joins of keys; beyond it DuckDB spills. Keys of 25 million creators take about 1 GB."""

STRANGERS = "SELECT count(*) FROM part ANTI JOIN whole USING (creator_id) WHERE creator_id IS NOT NULL"

DOCS_CHECKED = ("row_id", "list_id", "row_check", "creator_id")


def read_manifest(folder: Path) -> Manifest:
    """Parse the manifest of a snapshot folder.

    Raises:
        NotFoundError: there is none, so there is no snapshot.
        SchemaError: it is not valid.
        IntegrityError: it does not match its own id.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise NotFoundError(f"{folder} holds no {MANIFEST_NAME}; it is not a complete snapshot.")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise SchemaError(f"{path} is larger than any real manifest.")
    return parse_manifest(path.read_bytes())


def verify_folder(folder: Path, *, elsewhere: Collection[str] = ()) -> Manifest:
    """Check every file and every shard of a snapshot folder.

    Args:
        folder: the snapshot.
        elsewhere: paths of files that it lacks, none of them shared by shards; shards with one are not looked into.

    Raises:
        NotFoundError: there is no manifest.
        SchemaError: the manifest is not valid.
        IntegrityError: naming the first file or rule that fails.
    """
    manifest = read_manifest(folder)
    for entry in manifest.files():
        if entry.path not in elsewhere:
            verify_file(folder, entry)
    _verify_part(folder, manifest, elsewhere)
    for domain in manifest.domains:
        inside = {path.removeprefix(f"{domain.folder}/") for path in elsewhere if path.startswith(f"{domain.folder}/")}
        _verify_part(folder / domain.folder, domain.manifest, inside)
        _verify_creators(folder, manifest, domain)
    return manifest


def _verify_part(folder: Path, manifest: Manifest, elsewhere: Collection[str]) -> None:
    """Structure of a snapshot without its domains, or of a domain."""
    _verify_removed(folder, manifest)
    coarse = open_coarse(folder, manifest)
    for shard in manifest.shards:
        if not any(entry.path in elsewhere for entry in shard.files()):
            _verify_shard(folder, manifest, shard, coarse=coarse)


def verify_file(folder: Path, entry: FileEntry) -> None:
    """Check one file's place, size and sha256.

    Raises:
        IntegrityError: it is missing, leads out of the folder, or has other bytes.
    """
    path = folder / entry.path
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise IntegrityError(f"{entry.path} is missing from the snapshot.")
    if path.stat().st_size != entry.size_bytes:
        raise IntegrityError(f"{entry.path} has {path.stat().st_size} bytes, not {entry.size_bytes}.")
    if sha256_file(path) != entry.sha256:
        raise IntegrityError(f"{entry.path} does not match its recorded sha256.")


def _verify_removed(folder: Path, manifest: Manifest) -> None:
    """So many rows have no creator as the manifest says; what it says decides whether filters leave any out."""
    removed = 0
    for shard in manifest.shards:
        try:
            with pq.ParquetFile(folder / shard.docs.path) as docs:
                groups = range(docs.metadata.num_row_groups)
                removed += sum(docs.read_row_group(g, columns=["creator_id"])["creator_id"].null_count for g in groups)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise IntegrityError(f"The documents of shard {shard.shard} cannot be read: {error}") from error
    if removed != manifest.rows_count - manifest.creators_count:
        raise IntegrityError(f"{removed} rows have no creator, not {manifest.rows_count - manifest.creators_count}.")


def _verify_creators(folder: Path, manifest: Manifest, domain: Domain) -> None:
    """Creators of a domain are among those of the whole."""
    whole = [str(folder / shard.docs.path) for shard in manifest.shards]
    part = [str(folder / domain.folder / shard.docs.path) for shard in domain.manifest.shards]
    with tempfile.TemporaryDirectory() as spill:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": JOIN_MEMORY,
            "temp_directory": spill,
        }
        with closing(duckdb.connect(config=config)) as connection:
            connection.read_parquet(whole).create_view("whole")
            connection.read_parquet(part).create_view("part")
            strangers = connection.sql(STRANGERS).fetchall()[0][0]
    if strangers:
        raise IntegrityError(f"{strangers} creators of the domain {domain.name} are not among the documents.")


def _verify_shard(folder: Path, manifest: Manifest, shard: ShardEntry, *, coarse: Coarse | None) -> None:
    opened = ShardIndex.open(folder, manifest, shard, coarse=coarse)
    _verify_index(opened, shard)
    try:
        with pq.ParquetFile(folder / shard.docs.path) as docs:
            _verify_docs(docs, opened, shard, shards_count=len(manifest.placed_shards))
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(f"The documents of shard {shard.shard} cannot be read: {error}") from error


def _verify_index(opened: ShardIndex, shard: ShardEntry) -> None:
    """List sizes of the whole index, ids of sampled lists; stored rows of a flat one."""
    if opened.coarse is None:
        sample = _spread(opened.rows, SAMPLED_LISTS)
        exact = np.stack([opened.index.reconstruct(int(row)) for row in sample])
        _require(np.allclose(exact, opened.refine.vectors(sample), atol=1e-3), shard, "index and refine rows differ")
        return
    inverted = opened.index.invlists
    sizes = np.array([inverted.list_size(number) for number in range(len(opened.list_sizes))])
    _require(np.array_equal(sizes, opened.list_sizes), shard, "list sizes of index and lists.npy differ")
    for number in _spread(len(sizes), SAMPLED_LISTS):
        if sizes[number]:
            ids = faiss.rev_swig_ptr(inverted.get_ids(int(number)), int(sizes[number]))
            expected = np.arange(opened.lists[number], opened.lists[number + 1])
            _require(np.array_equal(ids, expected), shard, f"list {number} does not hold its row range")


def _verify_docs(docs: pq.ParquetFile, opened: ShardIndex, shard: ShardEntry, *, shards_count: int) -> None:
    missing = sorted(set(DOCS_CHECKED) - set(docs.schema_arrow.names))
    _require(not missing, shard, f"documents lack {', '.join(missing)}")
    _require(docs.metadata.num_rows == shard.rows, shard, "documents have another number of rows")
    groups = docs.metadata.num_row_groups
    starts = np.cumsum([0, *(docs.metadata.row_group(group).num_rows for group in range(groups))])
    for group in _spread(groups, SAMPLED_GROUPS):
        table = docs.read_row_group(int(group), columns=list(DOCS_CHECKED))
        _verify_rows(table, opened, shard, first=int(starts[group]), shards_count=shards_count)


def _verify_rows(table: pa.Table, opened: ShardIndex, shard: ShardEntry, *, first: int, shards_count: int) -> None:
    row_ids = table["row_id"].to_numpy()
    _require(np.array_equal(row_ids, np.arange(first, first + len(row_ids))), shard, "row_id is not the row's ordinal")
    lists = np.searchsorted(opened.lists, row_ids, side="right") - 1
    _require(np.array_equal(table["list_id"].to_numpy(), lists), shard, "list_id does not fit the list offsets")
    ids = table["creator_id"].to_pylist()
    keys = [key for key in zip(lists.tolist(), ids, strict=True) if key[1] is not None]
    _require(all(left < right for left, right in pairwise(keys)), shard, "documents are out of order")
    is_placed = shard.is_side or all(shard_of(key, shards_count) == shard.shard for _, key in keys)
    _require(is_placed, shard, "a creator belongs to another shard")
    sample = _spread(len(row_ids), SAMPLED_LISTS)
    checks = opened.refine.taken(row_ids[sample]).checks()
    _require(
        np.array_equal(table["row_check"].to_numpy()[sample], checks),
        shard,
        "documents and vectors are in different order",
    )


def _spread(count: int, wanted: int) -> IdArray:
    """At most `wanted` ordinals below `count`, evenly spread, first and last included."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64)) if count else np.empty(0, np.int64)


def _require(is_fine: bool, shard: ShardEntry, problem: str) -> None:
    if not is_fine:
        raise IntegrityError(f"Shard {shard.shard}: {problem}.")
