"""Built snapshots: row order, placement, determinism, recall evidence, input that is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_build.build import build_from, build_snapshot
from index_build.cli import EXIT_BELOW_TARGET, build, verify
from index_build.export import open_export, open_files
from index_build.manifest import shard_of
from index_build.spec import IndexSpec
from index_build.verify import verify_folder
from lakehouse.errors import NotFoundError, PermanentError, SchemaError
from tests.unit.index_build.conftest import FLAT_SPEC, IVF_SPEC, write_export


def silent(_line: str) -> None:
    """Log nothing."""


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a snapshot but the manifest, which holds the time."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def test_snapshot_verifies_and_conserves_rows(built):
    assert verify_folder(built.folder) == built.manifest
    shards = [pq.read_table(built.folder / shard.docs.path) for shard in built.manifest.shards]
    ids = [value for table in shards for value in table["creator_id"].to_pylist()]
    assert sorted(ids) == [f"c{number:06d}" for number in range(len(built.vectors))]
    for number, table in enumerate(shards):
        assert table["row_id"].to_pylist() == list(range(table.num_rows))
        assert {shard_of(value, len(shards)) for value in table["creator_id"].to_pylist()} == {number}
        keys = list(zip(table["list_id"].to_pylist(), table["creator_id"].to_pylist(), strict=True))
        assert keys == sorted(keys)


def test_other_columns_travel_with_their_row(built):
    table = pq.read_table(built.folder / built.manifest.shards[0].docs.path)
    assert "vector" not in table.column_names
    numbers = [int(value[1:]) for value in table["creator_id"].to_pylist()]
    assert table["followers_total_count"].to_pylist() == [number * 10 for number in numbers]
    assert table["platforms"].to_pylist() == [["x"] if number % 2 == 0 else ["tiktok", "x"] for number in numbers]


def test_manifest_names_its_origin(built):
    manifest = built.manifest
    assert (manifest.export_id, manifest.model_id) == ("e1", "test")
    assert [(table.name, table.version) for table in manifest.source_tables] == [("gold", 3)]
    side = manifest.side_table("accounts")
    assert side is not None
    assert side.rows == 1
    assert manifest.side_table("history") is None


def test_recall_evidence_reaches_the_target(built):
    recall = built.manifest.recall
    assert recall.minimum >= recall.target == built.manifest.spec.recall_target
    assert recall.minimum == min(point.recall for point in recall.points)
    assert {point.filter_kind for point in recall.points} == {"none", "independent", "directional"}
    assert len({point.selectivity for point in recall.points}) >= 6


def test_flat_recall_is_all_but_perfect(flat):
    assert flat.manifest.recall.minimum >= 0.99


def test_same_inputs_give_the_same_bytes(flat, ivf, tmp_path):
    for name, built, spec in (("flat", flat, FLAT_SPEC), ("ivf", ivf, IVF_SPEC)):
        again = build_snapshot(built.export, tmp_path / name, spec, log=silent)
        assert again.snapshot_id == built.manifest.snapshot_id
        assert contents(tmp_path / name) == contents(built.folder)


def test_another_spec_gives_another_id(flat, tmp_path):
    other = build_snapshot(flat.export, tmp_path / "out", FLAT_SPEC.model_copy(update={"seed": 1}), log=silent)
    assert other.snapshot_id != flat.manifest.snapshot_id


def test_rows_may_arrive_in_any_order(tmp_path):
    order = np.random.default_rng(1).permutation(300)
    left = build_snapshot(write_export(tmp_path / "a", rows=300), tmp_path / "left", FLAT_SPEC, log=silent)
    right = build_snapshot(
        write_export(tmp_path / "b", rows=300, order=order), tmp_path / "right", FLAT_SPEC, log=silent
    )
    assert left.snapshot_id == right.snapshot_id
    assert contents(tmp_path / "left") == contents(tmp_path / "right")


@pytest.mark.parametrize("rows", [1, 2, 11])
def test_tiny_exports_build(tmp_path, rows):
    manifest = build_snapshot(write_export(tmp_path / "e", rows=rows), tmp_path / "out", FLAT_SPEC, log=silent)
    assert manifest.rows_count == rows
    assert verify_folder(tmp_path / "out") == manifest


def test_a_killed_build_leaves_no_snapshot_and_the_next_one_succeeds(tmp_path, flat):
    (tmp_path / "out.draft").mkdir()
    (tmp_path / "out.draft" / "rubbish").write_text("half")
    manifest = build_snapshot(flat.export, tmp_path / "out", FLAT_SPEC, log=silent)
    assert manifest.snapshot_id == flat.manifest.snapshot_id
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_used_folder_is_refused(flat, tmp_path):
    (tmp_path / "something").touch()
    with pytest.raises(PermanentError, match="not empty"):
        build_snapshot(flat.export, tmp_path, FLAT_SPEC, log=silent)


def test_docs_and_vectors_of_anyone(tmp_path, capsys):
    rng = np.random.default_rng(0)
    docs = pa.table({"creator_id": pa.array(range(100)), "colour": pa.array(["red", "blue"] * 50).dictionary_encode()})
    pq.write_table(docs, tmp_path / "docs.parquet")
    np.save(tmp_path / "v.npy", rng.normal(size=(100, 10)).astype(np.float32) * 3)
    assert build(tmp_path / "docs.parquet", tmp_path / "v.npy", tmp_path / "out") == 0
    assert verify(tmp_path / "out") == 0
    assert "publishable" in capsys.readouterr().out
    table = pq.read_table(tmp_path / "out" / "shards" / "0000" / "docs.parquet")
    assert table["creator_id"].type == pa.string()
    assert table["colour"].type == pa.string()


def test_a_missed_target_is_said(tmp_path, monkeypatch):
    """Noise, of which too little is looked at and no more allowed."""
    monkeypatch.setattr("index_build.calibrate.FIRST_MATCHES", 16)
    monkeypatch.setattr("index_build.calibrate.MARGINS", (-2.0,))
    monkeypatch.setattr("index_build.validate.MAX_RAISES", 0)
    impossible = IVF_SPEC.model_copy(update={"recall_target": 1.0})
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(4_000, 64)).astype(np.float32))
    pq.write_table(pa.table({"creator_id": [f"{number}" for number in range(4_000)]}), tmp_path / "d.parquet")
    assert build(tmp_path / "d.parquet", tmp_path / "v.npy", tmp_path / "out", spec=impossible) == EXIT_BELOW_TARGET


def _damage(name: str, folder: Path) -> None:
    table = pq.read_table(folder / "docs" / "part-0.parquet")
    vectors = table["vector"].to_pylist()
    changes = {
        "twice": lambda: table.set_column(0, "creator_id", pa.array(["same"] * len(table))),
        "null id": lambda: table.set_column(0, "creator_id", pa.array([None] + ["x"] * (len(table) - 1))),
        "reserved": lambda: table.append_column("row_id", pa.array(range(len(table)))),
        "no vector": lambda: table.set_column(3, "vector", pa.array([None, *vectors[1:]], pa.list_(pa.float32()))),
        "short": lambda: table.set_column(
            3, "vector", pa.array([vectors[0][:-1], *vectors[1:]], pa.list_(pa.float32()))
        ),
        "nan": lambda: table.set_column(
            3, "vector", pa.array([[float("nan")] * 32, *vectors[1:]], pa.list_(pa.float32()))
        ),
        "zero": lambda: table.set_column(3, "vector", pa.array([[0.0] * 32, *vectors[1:]], pa.list_(pa.float32()))),
    }
    pq.write_table(changes[name](), folder / "docs" / "part-0.parquet")


@pytest.mark.parametrize("name", ["twice", "null id", "reserved", "no vector", "short", "nan", "zero"])
def test_bad_rows_are_refused(tmp_path, name):
    export = write_export(tmp_path / "e", rows=40)
    _damage(name, export)
    with pytest.raises(SchemaError):
        build_snapshot(export, tmp_path / "out", FLAT_SPEC, log=silent)
    assert not (tmp_path / "out").exists()


def test_missing_or_unfit_inputs_are_refused(tmp_path):
    export = write_export(tmp_path / "e", rows=40)
    with pytest.raises(NotFoundError):
        open_export(tmp_path)
    with pytest.raises(NotFoundError):
        open_files(export / "docs", tmp_path / "none.npy")
    np.save(tmp_path / "v.npy", np.zeros((39, 4), np.float32))
    with pytest.raises(SchemaError, match="a row per document"):
        open_files(export / "docs", tmp_path / "v.npy")
    (export / "export.json").write_text('{"dimensions": 31}')
    with pytest.raises(SchemaError, match="dimensions"):
        open_export(export)


def test_shards_and_lists_follow_the_size():
    spec = IndexSpec()
    assert (spec.shards_count(1), spec.shards_count(250_000_000)) == (1, 10)
    assert (spec.kind(50_000), spec.kind(50_001)) == ("flat", "ivf")
    assert (spec.lists_count(200_000), spec.lists_count(250_000_000)) == (4_096, 262_144)


def test_several_buckets_give_the_same_order(tmp_path, monkeypatch, ivf):
    monkeypatch.setattr("index_build.encode.BUCKET_ROWS", 1_500)
    shutil.copytree(ivf.export, tmp_path / "e")
    again = build_from(open_export(tmp_path / "e"), tmp_path / "out", IVF_SPEC, log=silent)
    first, second = (
        pq.read_table(folder / ivf.manifest.shards[0].docs.path) for folder in (ivf.folder, tmp_path / "out")
    )
    assert first.equals(second)
    assert verify_folder(tmp_path / "out") == again
