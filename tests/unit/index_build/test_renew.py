"""A renewed snapshot: unchanged vectors keep their place, documents are all new, and the search finds what a full build finds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from obstore.store import LocalStore

from index_build.export import open_export
from index_build.lake import Rules, publish_export
from index_build.manifest import Band, Current, Manifest, seal
from index_build.probe import ShardIndex, open_coarse
from index_build.publish import collect_garbage, publish, read_current, read_stored_manifest, verify_stored
from index_build.renew import full_build_reason, renew
from index_build.verify import verify_folder
from lakehouse.contracts.layout import CURRENT, Layout, export_key, snapshot_key
from lakehouse.errors import IntegrityError, SchemaError, TransientError
from lakehouse.storage.objects import ObjectStore
from serving.snapshot import LakeSource
from tests.unit.index_build.conftest import FLAT_SPEC, IVF_SPEC, Built, clustered

WEEK = timedelta(days=7)


def silent(_line: str) -> None:
    """Log nothing."""


@dataclass(frozen=True)
class Night:
    """An export after one night, and what happened to whom."""

    export: Path
    gone: set[str]
    moved: set[str]
    new: set[str]

    @property
    def side(self) -> set[str]:
        return self.moved | self.new


def night(folder: Path, built: Built, *, seed: int = 9, share: float = 0.02) -> Night:
    """The export of a snapshot with some creators gone, some with another vector, some new, and all followers one more."""
    table = pa.concat_tables([pq.read_table(path) for path in sorted((built.export / "docs").glob("*.parquet"))])
    rng = np.random.default_rng(seed)
    count = max(1, int(share * len(table)))
    gone, moved = np.split(rng.permutation(len(table))[: 2 * count], 2)
    ids = table["creator_id"].to_pylist()
    vectors = table["vector"].to_pylist()
    fresh = clustered(2 * count, 32, seed=seed)
    for row, vector in zip(moved, fresh[:count], strict=True):
        vectors[row] = vector.tolist()
    followers = [value + 1 for value in table["followers_total_count"].to_pylist()]
    changed = pa.table(
        {
            "creator_id": ids,
            "followers_total_count": followers,
            "platforms": table["platforms"],
            "vector": pa.array(vectors, pa.list_(pa.float32())),
        }
    ).take(pa.array(np.setdiff1d(np.arange(len(table)), gone)))
    new = [f"n{seed}_{number:06d}" for number in range(count)]
    added = pa.table(
        {
            "creator_id": new,
            "followers_total_count": pa.array([5] * count, pa.int64()),
            "platforms": [["x"]] * count,
            "vector": pa.array(fresh[count:].tolist(), pa.list_(pa.float32())),
        }
    )
    for name in ("docs", "accounts"):
        (folder / name).mkdir(parents=True)
    whole = pa.concat_tables([changed, added.cast(changed.schema)])
    pq.write_table(whole.take(pa.array(rng.permutation(len(whole)))), folder / "docs" / "part-0.parquet")
    pq.write_table(pa.table({"creator_id": ["c000000", "c000001"]}), folder / "accounts" / "part-0.parquet")
    info = json.loads((built.export / "export.json").read_text()) | {"export_id": f"night{seed}"}
    (folder / "export.json").write_text(json.dumps(info))
    return Night(folder, {ids[row] for row in gone}, {ids[row] for row in moved}, set(new))


def renewed(built: Built, passed: Night, out: Path) -> Manifest:
    manifest = renew(open_export(passed.export), built.folder, built.manifest, out, log=silent)
    assert manifest is not None
    return manifest


def completed(out: Path, base: Path, manifest: Manifest) -> None:
    """Put the files of the base beside those of a renewal, as publishing does."""
    for entry in manifest.files():
        if not (out / entry.path).exists():
            (out / entry.path).parent.mkdir(parents=True, exist_ok=True)
            (out / entry.path).hardlink_to(base / entry.path)


@pytest.fixture
def base(ivf: Built) -> Built:
    """Two shards."""
    return ivf


def test_rows_stay_go_and_come(base, tmp_path):
    passed = night(tmp_path / "export", base)
    out = tmp_path / "out"
    manifest = renewed(base, passed, out)
    assert not list(out.rglob("refine.bin"))[1:], "only the side shard's vectors are written"
    completed(out, base.folder, manifest)
    assert verify_folder(out) == manifest
    *placed, side = [pq.read_table(out / shard.docs.path) for shard in manifest.shards]
    assert set(side["creator_id"].to_pylist()) == passed.side
    for table, shard in zip(placed, base.manifest.shards, strict=True):
        before = pq.read_table(base.folder / shard.docs.path)
        ids, old = table["creator_id"].to_pylist(), before["creator_id"].to_pylist()
        assert ids == [None if creator in passed.gone | passed.moved else creator for creator in old]
        assert table["row_check"].equals(before["row_check"])
        followers = dict(zip(old, before["followers_total_count"].to_pylist(), strict=True))
        expected = [None if creator is None else followers[creator] + 1 for creator in ids]
        assert table["followers_total_count"].to_pylist() == expected
    assert manifest.creators_count == pq.read_metadata(passed.export / "docs" / "part-0.parquet").num_rows
    assert manifest.side_table("accounts").rows == 2
    assert manifest.built.snapshot_id == base.manifest.snapshot_id


def test_a_second_night_stands_on_the_full_build(ivf, tmp_path):
    first = night(tmp_path / "one", ivf)
    one = renewed(ivf, first, tmp_path / "out1")
    completed(tmp_path / "out1", ivf.folder, one)
    between = Built(tmp_path / "out1", one, first.export, ivf.vectors)
    second = night(tmp_path / "two", between, seed=11)
    two = renewed(between, second, tmp_path / "out2")
    completed(tmp_path / "out2", between.folder, two)
    assert verify_folder(tmp_path / "out2") == two
    assert len(two.shards) == len(ivf.manifest.shards) + 1
    assert two.built == ivf.manifest.built
    assert two.built.snapshot_id == ivf.manifest.snapshot_id
    ids = [
        c for shard in two.shards for c in pq.read_table(tmp_path / "out2" / shard.docs.path)["creator_id"].to_pylist()
    ]
    known = sorted(creator for creator in ids if creator is not None)
    assert known == sorted(pq.read_table(second.export / "docs")["creator_id"].to_pylist())


def test_rows_get_the_codes_that_the_full_build_would_give(ivf, tmp_path):
    passed = night(tmp_path / "export", ivf)
    manifest = renewed(ivf, passed, tmp_path / "out")
    coarse = open_coarse(tmp_path / "out", manifest)
    side = ShardIndex.open(tmp_path / "out", manifest, manifest.shards[-1], coarse=coarse)
    for row in range(0, side.rows, 37):
        found = side.probe(side.refine.vectors(np.array([row]))[0], k=1, band=Band.of(2_048, 32))
        assert found.row_ids.tolist() == [row]
    old, new = (
        faiss.read_index(str(folder / shard.index.path))
        for folder, shard in ((ivf.folder, ivf.manifest.shards[0]), (tmp_path / "out", manifest.shards[-1]))
    )
    assert np.array_equal(*(faiss.vector_to_array(index.pq.centroids) for index in (old, new)))
    assert new.ntotal == len(passed.side)


def test_nothing_new_needs_no_side_shard(ivf, tmp_path):
    manifest = renew(open_export(ivf.export), ivf.folder, ivf.manifest, tmp_path / "out", log=silent)
    assert manifest is not None
    assert not any(shard.is_side for shard in manifest.shards)
    for shard in ivf.manifest.shards:
        new, old = (pq.read_table(folder / shard.docs.path) for folder in (tmp_path / "out", ivf.folder))
        assert new.to_pylist() == old.to_pylist()


def test_documents_cross_buckets_and_shards(ivf, tmp_path, monkeypatch):
    monkeypatch.setattr("index_build.renew.BUCKET_ROWS", 1_501)
    passed = night(tmp_path / "export", ivf)
    few = renewed(ivf, passed, tmp_path / "few")
    monkeypatch.undo()
    one = renewed(ivf, passed, tmp_path / "one")
    for left, right in zip(few.shards, one.shards, strict=True):
        assert pq.read_table(tmp_path / "few" / left.docs.path).equals(
            pq.read_table(tmp_path / "one" / right.docs.path)
        )


def test_too_many_changes_ask_for_a_full_build(ivf, tmp_path):
    passed = night(tmp_path / "export", ivf, share=0.11)
    said: list[str] = []
    found = renew(open_export(passed.export), ivf.folder, ivf.manifest, tmp_path / "out", log=said.append)
    assert found is None
    assert "too many" in said[-1]
    assert not list(tmp_path.glob("out*"))


def test_vectors_outside_the_scale_of_stored_rows_ask_for_a_full_build(ivf, tmp_path):
    passed = night(tmp_path / "export", ivf)
    path = passed.export / "docs" / "part-0.parquet"
    table = pq.read_table(path)
    row = table["creator_id"].to_pylist().index(min(passed.new))
    vectors = table["vector"].to_pylist()
    vectors[row] = np.eye(1, 32)[0].tolist()
    place = table.schema.get_field_index("vector")
    pq.write_table(table.set_column(place, "vector", pa.array(vectors, pa.list_(pa.float32()))), path)
    said: list[str] = []
    assert renew(open_export(passed.export), ivf.folder, ivf.manifest, tmp_path / "out", log=said.append) is None
    assert "outside the scale" in said[-1]
    assert not list(tmp_path.glob("out*"))


def test_too_many_removed_ask_for_a_full_build(ivf, tmp_path):
    passed = night(tmp_path / "export", ivf, share=0.001)
    path = passed.export / "docs" / "part-0.parquet"
    pq.write_table(pq.read_table(path).slice(0, 17_000), path)
    assert renew(open_export(passed.export), ivf.folder, ivf.manifest, tmp_path / "out", log=silent) is None


def test_a_column_may_have_any_name(ivf, tmp_path):
    passed = night(tmp_path / "export", ivf)
    path = passed.export / "docs" / "part-0.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("file_row_number", pa.array(range(len(table)))), path)
    first = renewed(ivf, passed, tmp_path / "one")
    completed(tmp_path / "one", ivf.folder, first)
    again = renewed(Built(tmp_path / "one", first, passed.export, ivf.vectors), passed, tmp_path / "two")
    assert again.creators_count == len(table)


def test_removed_rows_are_counted(ivf, tmp_path):
    manifest = renewed(ivf, night(tmp_path / "export", ivf), tmp_path / "out")
    completed(tmp_path / "out", ivf.folder, manifest)
    wrong = seal(manifest.model_copy(update={"creators_count": manifest.rows_count}))
    (tmp_path / "out" / "manifest.json").write_bytes(wrong.to_json())
    with pytest.raises(IntegrityError, match="rows have no creator"):
        verify_folder(tmp_path / "out")


def test_a_repeated_creator_is_refused(ivf, tmp_path):
    passed = night(tmp_path / "export", ivf)
    table = pq.read_table(passed.export / "docs" / "part-0.parquet")
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), passed.export / "docs" / "part-0.parquet")
    with pytest.raises(SchemaError, match="more than once"):
        renew(open_export(passed.export), ivf.folder, ivf.manifest, tmp_path / "out", log=silent)


@pytest.mark.parametrize(
    ("change", "days", "erased", "expected"),
    [
        ({}, 6, None, None),
        ({}, 7, None, "days old"),
        ({"model_id": "another"}, 1, None, "another model"),
        ({"spec": FLAT_SPEC}, 1, None, "choices"),
        ({"shards": ()}, 1, None, "size"),
        ({"input_at": "2001-01-01T00:00:00+00:00"}, 1, timedelta(days=-1), "erased"),
        ({}, 1, timedelta(hours=1), "erased"),
        ({}, 1, timedelta(days=-1), None),
    ],
)
def test_when_a_full_build_is_due(ivf, change, days, erased, expected):
    manifest = ivf.manifest.model_copy(update=change)
    built_at = datetime.fromisoformat(manifest.built.created_at)
    reason = full_build_reason(
        manifest,
        open_export(ivf.export),
        IVF_SPEC,
        every=WEEK,
        outdated=None if erased is None else built_at + erased,
        now=built_at + timedelta(days=days),
    )
    assert (reason is None) if expected is None else expected in (reason or "")


def _exported(store, export: Path, export_id: str) -> str:
    for path in sorted(export.rglob("*")):
        if path.is_file():
            store.put_once(export_key(export_id, path.relative_to(export).as_posix()), path)
    return export_id


@pytest.fixture
def lake(store, ivf, tmp_path):
    """A lake whose snapshot is the full build, and the export of the next night."""
    publish(store, ivf.folder)
    return store, _exported(store, night(tmp_path / "night", ivf).export, "night9")


def _published(store, export_id: str, scratch: Path, **more) -> tuple[Manifest, list[str]]:
    said: list[str] = []
    return publish_export(store, export_id, scratch=scratch, spec=IVF_SPEC, log=said.append, **more), said


def test_the_next_snapshot_stands_on_the_one_in_service(lake, ivf, tmp_path):
    store, export_id = lake
    manifest, _ = _published(store, export_id, tmp_path / "scratch")
    assert manifest.built.snapshot_id == ivf.manifest.snapshot_id
    assert verify_stored(store, manifest.snapshot_id) == manifest
    again, _ = _published(store, export_id, tmp_path / "scratch")
    assert again == manifest


def test_a_full_build_every_time(lake, tmp_path):
    manifest, said = _published(*lake, tmp_path / "scratch", rules=Rules(full_every=timedelta(0)))
    assert manifest.full_build is None
    assert "a full build" in said[0]


def test_an_erasure_asks_for_a_full_build(lake, tmp_path):
    store, export_id = lake
    manifest, said = _published(store, export_id, tmp_path / "scratch", rules=Rules(outdated=datetime.now(UTC)))
    assert manifest.full_build is None
    assert "erased" in said[0]


def test_old_vectors_make_a_snapshot_outdated(lake, ivf, tmp_path):
    store, export_id = lake
    manifest, _ = _published(store, export_id, tmp_path / "scratch")
    third, _ = _published(
        store, _exported(store, night(tmp_path / "third", ivf, seed=12).export, "night12"), tmp_path / "scratch"
    )
    assert third.full_build is not None
    after = datetime.fromisoformat(ivf.manifest.built.input_at) + timedelta(seconds=1)
    removed = collect_garbage(store, outdated=after, now=datetime.now(UTC) + timedelta(days=1))
    assert set(removed) == {ivf.manifest.snapshot_id, manifest.snapshot_id}


def test_another_publisher_is_not_overwritten(store, ivf, tmp_path):
    publish(store, ivf.folder)
    renewed(ivf, night(tmp_path / "export", ivf), tmp_path / "out")
    store.replace(CURRENT, Current(snapshot_id="0" * 16, published_at="2026-01-01T00:00:00+00:00").to_json())
    with pytest.raises(TransientError, match="any more"):
        publish(store, tmp_path / "out", base=ivf.manifest, instead_of=ivf.manifest.snapshot_id)


def test_a_killed_publication_is_repeated_and_leaves_nothing_behind(store, ivf, tmp_path, monkeypatch):
    publish(store, ivf.folder)
    manifest = renewed(ivf, night(tmp_path / "export", ivf), tmp_path / "out")
    for deadly in (1, 4, len(manifest.files()), len(manifest.files()) + 1, len(manifest.files()) + 2):
        passed: list[str] = []

        def strike(name: str, deadly: int = deadly, passed: list[str] = passed) -> None:
            passed.append(name)
            if len(passed) == deadly:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("index_build.publish.crashpoint", strike)
            with pytest.raises(KeyboardInterrupt):
                publish(store, tmp_path / "out", base=ivf.manifest)
        assert read_current(store).snapshot_id == ivf.manifest.snapshot_id
    publish(store, tmp_path / "out", base=ivf.manifest)
    assert verify_stored(store, manifest.snapshot_id) == manifest
    folder = Path(store.layout.root) / snapshot_key(manifest.snapshot_id, "")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"manifest.json", *(entry.path for entry in manifest.files())}


@pytest.mark.parametrize("part", ["refine", "docs"])
def test_a_damaged_base_is_not_built_on(lake, ivf, tmp_path, part):
    store, export_id = lake
    entry = getattr(ivf.manifest.shards[1], part)
    store.replace(snapshot_key(ivf.manifest.snapshot_id, entry.path), b"x" * entry.size_bytes)
    manifest, said = _published(store, export_id, tmp_path / "scratch")
    assert manifest.full_build is None
    assert any("cannot be built on" in line for line in said)
    assert verify_stored(store, manifest.snapshot_id)


def test_a_snapshot_needs_nothing_of_its_removed_base(lake, ivf, tmp_path):
    store, export_id = lake
    manifest, _ = _published(store, export_id, tmp_path / "scratch")
    for info in list(store.list(snapshot_key(ivf.manifest.snapshot_id, ""))):
        store.delete(info.key)
    assert verify_stored(store, manifest.snapshot_id) == manifest
    assert read_stored_manifest(store, manifest.snapshot_id).creators_count == manifest.creators_count


def test_a_lacking_file_that_the_base_has_not_is_said(store, ivf, tmp_path):
    publish(store, ivf.folder)
    manifest = renewed(ivf, night(tmp_path / "export", ivf), tmp_path / "out")
    (tmp_path / "out" / manifest.shards[-1].lists.path).unlink()
    with pytest.raises(IntegrityError, match="missing"):
        publish(store, tmp_path / "out", base=ivf.manifest)


def test_a_replica_fetches_only_what_it_has_not(lake, ivf, tmp_path, monkeypatch):
    store, export_id = lake
    root = Path(store.layout.root)
    remote = ObjectStore(Layout("s3://bucket"), LocalStore(str(root)))
    source = LakeSource(remote, tmp_path / "cache")
    first = source.fetch(ivf.manifest.snapshot_id)
    manifest, _ = _published(store, export_id, tmp_path / "scratch")
    fetched: list[str] = []
    download = ObjectStore.download
    monkeypatch.setattr(
        ObjectStore, "download", lambda self, key, *a, **k: (fetched.append(key), download(self, key, *a, **k))
    )
    second = source.fetch(manifest.snapshot_id)
    assert verify_folder(second) == manifest
    placed = manifest.placed_shards
    kept = {*(file.path for file in manifest.shared)} | {f.path for s in placed for f in (s.index, s.refine, s.lists)}
    prefix = snapshot_key(manifest.snapshot_id, "")
    assert {key.removeprefix(prefix) for key in fetched} == {file.path for file in manifest.files()} - kept
    assert (second / placed[0].refine.path).samefile(first / placed[0].refine.path)


def test_a_rotten_file_of_a_replica_is_fetched_anew(lake, ivf, tmp_path):
    store, export_id = lake
    source = LakeSource(ObjectStore(Layout("s3://bucket"), LocalStore(store.layout.root)), tmp_path / "cache")
    rotten = source.fetch(ivf.manifest.snapshot_id) / ivf.manifest.shards[0].refine.path
    rotten.write_bytes(b"x" * rotten.stat().st_size)
    manifest, _ = _published(store, export_id, tmp_path / "scratch")
    assert verify_folder(source.fetch(manifest.snapshot_id)) == manifest
