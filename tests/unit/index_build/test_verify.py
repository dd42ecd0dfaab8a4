"""Damaged, truncated, swapped and re-ordered snapshots are refused, also when their checksums were made to fit."""

from __future__ import annotations

import shutil

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_build.manifest import FileEntry, Manifest, seal
from index_build.verify import verify_folder
from lakehouse.errors import IntegrityError, NotFoundError, SchemaError
from lakehouse.storage.objects import sha256_file

FILES = ["docs.parquet", "index.faiss", "refine.bin", "lists.npy"]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def reseal(folder, manifest: Manifest) -> None:
    """Write a manifest whose checksums and id fit whatever the files now are: an attacker's or a bug's work."""

    def entry(old: FileEntry) -> FileEntry:
        path = folder / old.path
        return old.model_copy(update={"sha256": sha256_file(path), "size_bytes": path.stat().st_size})

    shards = tuple(
        shard.model_copy(update={name: entry(getattr(shard, name)) for name in ("docs", "index", "refine", "lists")})
        for shard in manifest.shards
    )
    shared = tuple(entry(file) for file in manifest.shared)
    sealed = seal(manifest.model_copy(update={"shards": shards, "shared": shared}))
    (folder / "manifest.json").write_bytes(sealed.to_json())


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_refused(copied, name):
    flip(copied.folder / "shards" / "0000" / name)
    with pytest.raises(IntegrityError, match=f"{name} does not match"):
        verify_folder(copied.folder)


@pytest.mark.parametrize("name", FILES)
def test_a_cut_or_missing_file_is_refused(copied, name):
    path = copied.folder / "shards" / "0000" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="bytes, not"):
        verify_folder(copied.folder)
    path.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        verify_folder(copied.folder)


def test_no_manifest_means_no_snapshot(copied):
    (copied.folder / "manifest.json").unlink()
    with pytest.raises(NotFoundError):
        verify_folder(copied.folder)


def test_a_cut_manifest_is_refused(copied):
    path = copied.folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SchemaError):
        verify_folder(copied.folder)


def test_a_link_out_of_the_folder_is_refused(copied, tmp_path):
    path = copied.folder / "shards" / "0000" / "docs.parquet"
    path.rename(tmp_path / "outside.parquet")
    path.symlink_to(tmp_path / "outside.parquet")
    with pytest.raises(IntegrityError, match="missing from the snapshot"):
        verify_folder(copied.folder)


@pytest.mark.parametrize("name", FILES)
def test_files_cut_under_fitting_checksums_are_refused(copied, name):
    path = copied.folder / "shards" / "0000" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    reseal(copied.folder, copied.manifest)
    with pytest.raises((IntegrityError, SchemaError)):
        verify_folder(copied.folder)


@pytest.mark.parametrize("name", ["docs.parquet", "index.faiss", "refine.bin"])
def test_swapped_shards_are_refused(tmp_path, ivf, name):
    shutil.copytree(ivf.folder, tmp_path / "copy")
    left, right = (tmp_path / "copy" / "shards" / number / name for number in ("0000", "0001"))
    left.rename(tmp_path / "held")
    right.rename(left)
    (tmp_path / "held").rename(right)
    with pytest.raises(IntegrityError):
        verify_folder(tmp_path / "copy")
    reseal(tmp_path / "copy", ivf.manifest)
    with pytest.raises((IntegrityError, SchemaError)):
        verify_folder(tmp_path / "copy")


def rewrite_docs(built, change) -> None:
    path = built.folder / built.manifest.shards[0].docs.path
    pq.write_table(change(pq.read_table(path)), path)
    reseal(built.folder, built.manifest)


def test_documents_in_another_order_are_refused(copied):
    def swap_two(table: pa.Table) -> pa.Table:
        order = np.arange(table.num_rows)
        order[[0, 1]] = [1, 0]
        return table.take(pa.array(order)).set_column(0, "row_id", table["row_id"])

    rewrite_docs(copied, swap_two)
    with pytest.raises(IntegrityError, match=r"out of order|different order"):
        verify_folder(copied.folder)


def test_row_ids_that_are_not_ordinals_are_refused(copied):
    rewrite_docs(copied, lambda table: table.set_column(0, "row_id", pa.array(range(1, table.num_rows + 1))))
    with pytest.raises(IntegrityError, match="ordinal"):
        verify_folder(copied.folder)


def test_vectors_in_another_order_are_refused(copied):
    path = copied.folder / copied.manifest.shards[0].refine.path
    row_bytes = copied.manifest.shards[0].refine.size_bytes // copied.manifest.shards[0].rows
    data = path.read_bytes()
    path.write_bytes(data[row_bytes : 2 * row_bytes] + data[:row_bytes] + data[2 * row_bytes :])
    reseal(copied.folder, copied.manifest)
    with pytest.raises(IntegrityError):
        verify_folder(copied.folder)


def test_residuals_in_another_order_are_refused(ivf, tmp_path):
    shutil.copytree(ivf.folder, tmp_path / "copy")
    shard = ivf.manifest.shards[0]
    path = tmp_path / "copy" / shard.refine.path
    rows = np.frombuffer(path.read_bytes(), np.uint8).reshape(2, shard.rows, -1).copy()
    rows[1, [0, 1]] = rows[1, [1, 0]]
    path.write_bytes(rows.tobytes())
    reseal(tmp_path / "copy", ivf.manifest)
    with pytest.raises(IntegrityError, match="different order"):
        verify_folder(tmp_path / "copy")


@pytest.mark.parametrize("dimensions", [31, 64])
def test_an_index_of_other_dimensions_is_refused(copied, dimensions):
    path = copied.folder / copied.manifest.shards[0].index.path
    index = faiss.IndexFlatIP(dimensions)
    index.add(np.zeros((copied.manifest.shards[0].rows, dimensions), np.float32))
    faiss.write_index(index, str(path))
    reseal(copied.folder, copied.manifest)
    with pytest.raises(IntegrityError, match="does not fit its manifest"):
        verify_folder(copied.folder)


def test_an_index_with_too_few_rows_is_refused(copied):
    path = copied.folder / copied.manifest.shards[0].index.path
    index = faiss.read_index(str(path))
    index.reset()
    faiss.write_index(index, str(path))
    reseal(copied.folder, copied.manifest)
    with pytest.raises(IntegrityError, match="does not fit its manifest"):
        verify_folder(copied.folder)
