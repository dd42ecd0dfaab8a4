"""Domains: vectors of one kind of content, built, checked, renewed and published with the snapshot they are in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from index_build.build import build_snapshot
from index_build.cli import describe
from index_build.export import DomainVectors, open_export
from index_build.lake import publish_export
from index_build.manifest import Domain, Manifest, parse_manifest, seal
from index_build.publish import publish, read_stored_manifest, verify_stored
from index_build.renew import needed_files, renew
from index_build.verify import read_manifest, verify_folder
from lakehouse.errors import ContractError, IntegrityError, SchemaError
from lakehouse.storage.objects import ObjectStore
from tests.unit.index_build.conftest import IVF_SPEC, clustered
from tests.unit.index_build.test_renew import completed, silent

ROWS = 2_400
SPEC = IVF_SPEC.model_copy(
    update={"flat_max_rows": 200, "shard_max_rows": 1_500, "recall_target": 0.9, "queries_per_cell": 8}
)


@dataclass(frozen=True)
class World:
    """Creators with a vector of the whole, some with one of short content, few with one of long content; None: has none."""

    ids: list[str]
    whole: npt.NDArray[np.float32]
    short: list[npt.NDArray[np.float32] | None]
    long: list[npt.NDArray[np.float32] | None]

    def having(self, name: str) -> set[str]:
        return {creator for creator, vector in zip(self.ids, getattr(self, name), strict=True) if vector is not None}

    def write(self, folder: Path, *, export_id: str = "e1") -> Path:
        table = pa.table(
            {
                "creator_id": self.ids,
                "followers_total_count": np.arange(len(self.ids)),
                "vector": pa.array(self.whole.tolist(), pa.list_(pa.float32())),
                "short_vector": _column(self.short),
                "long_vector": _column(self.long),
                "none_vector": _column([None] * len(self.ids)),
                "odd_vector": pa.array(["text"] * len(self.ids)),
            }
        )
        (folder / "docs").mkdir(parents=True)
        half = len(self.ids) // 2
        for number, part in enumerate((table.slice(0, half), table.slice(half))):
            pq.write_table(part, folder / "docs" / f"part-{number}.parquet")
        info = {"export_id": export_id, "model_id": "test", "dimensions": 32, "source_tables": {}}
        (folder / "export.json").write_text(json.dumps(info))
        return folder


def _column(vectors: list[npt.NDArray[np.float32] | None]) -> pa.Array:
    return pa.array([None if vector is None else vector.tolist() for vector in vectors], pa.list_(pa.float32()))


def world() -> World:
    short, long = clustered(ROWS, 32, seed=1), clustered(ROWS, 32, seed=2)
    return World(
        [f"c{number:06d}" for number in range(ROWS)],
        clustered(ROWS, 32, seed=0),
        [None if number % 4 == 3 else short[number] for number in range(ROWS)],
        [long[number] if number % 20 == 7 else None for number in range(ROWS)],
    )


def after_a_night(before: World) -> World:
    """The first ten gone, ten with another short vector, ten without it, ten new ones, no long content any more."""
    fresh = clustered(20, 32, seed=77)
    short = list(before.short)
    for number, vector in zip(range(100, 110), fresh, strict=False):
        short[number] = vector
    for number in range(200, 210):
        short[number] = None
    return World(
        [*before.ids[10:], *(f"n{number:06d}" for number in range(10))],
        np.concatenate([before.whole[10:], fresh[10:]]),
        [*short[10:], *fresh[10:]],
        [None] * ROWS,
    )


@dataclass(frozen=True)
class BuiltWorld:
    world: World
    export: Path
    folder: Path
    manifest: Manifest


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuiltWorld:
    folder, made = tmp_path_factory.mktemp("domains"), world()
    export = made.write(folder / "export")
    manifest = build_snapshot(export, folder / "snapshot", SPEC, log=silent)
    return BuiltWorld(made, export, folder / "snapshot", manifest)


def part(manifest: Manifest, name: str) -> Manifest:
    found = manifest.domain(name)
    assert found is not None
    return found


def creators(folder: Path, manifest: Manifest, name: str) -> list[str | None]:
    inside = folder / "domains" / name
    tables = [pq.read_table(inside / shard.docs.path) for shard in part(manifest, name).shards]
    return [creator for table in tables for creator in table["creator_id"].to_pylist()]


def test_columns_of_vectors_are_domains_unless_nobody_has_one(built):
    export = open_export(built.export)
    assert export.domains == (DomainVectors("long", ROWS // 20, 32), DomainVectors("short", ROWS * 3 // 4, 32))
    assert export.schema.names == ["creator_id", "followers_total_count", "odd_vector"]
    assert [domain.name for domain in built.manifest.domains] == ["long", "short"]


def test_a_domain_holds_those_that_have_a_vector_there(built):
    assert verify_folder(built.folder) == built.manifest
    for name in ("short", "long"):
        found = creators(built.folder, built.manifest, name)
        assert len(found) == len(set(found)) == part(built.manifest, name).creators_count
        assert set(found) == built.world.having(name)
    table = pq.read_table(built.folder / "domains" / "short" / part(built.manifest, "short").shards[0].docs.path)
    assert table.column_names == ["row_id", "list_id", "row_check", "creator_id"]
    kinds = {name: part(built.manifest, name).shape.kind for name in ("short", "long")}
    assert kinds == {"short": "ivf", "long": "flat"}
    assert len(part(built.manifest, "short").shards) == 2


def test_it_has_a_recall_and_constants_of_its_own(built, tmp_path, store):
    short = part(built.manifest, "short")
    assert short.recall.minimum >= SPEC.recall_target
    assert short.calibration != built.manifest.calibration
    weak = short.model_copy(update={"recall": short.recall.model_copy(update={"minimum": 0.5})})
    domains = (built.manifest.domains[0], Domain(name="short", manifest=seal(weak)))
    manifest = seal(built.manifest.model_copy(update={"domains": domains}))
    assert not manifest.is_publishable
    completed(tmp_path / "weak", built.folder, manifest)
    (tmp_path / "weak" / "manifest.json").write_bytes(manifest.to_json())
    with pytest.raises(ContractError, match=r"recall 0\.500"):
        publish(store, tmp_path / "weak")


def test_the_id_stands_for_domains_too(built):
    assert parse_manifest(built.manifest.to_json()) == built.manifest
    without = seal(built.manifest.model_copy(update={"domains": built.manifest.domains[:1]}))
    assert without.snapshot_id != built.manifest.snapshot_id
    fields = json.loads(built.manifest.to_json())
    fields["domains"][1]["manifest"]["calibration"]["exact_max_matches"] += 1
    with pytest.raises(IntegrityError, match="does not match its snapshot id"):
        parse_manifest(json.dumps(fields).encode())


def test_same_inputs_give_the_same_snapshot(built, tmp_path):
    again = build_snapshot(built.export, tmp_path / "again", SPEC, log=silent)
    assert again.snapshot_id == built.manifest.snapshot_id


def test_domains_in_domains_and_twice_are_refused(built):
    domain = built.manifest.domains[0]
    inside = domain.manifest.model_copy(update={"domains": (domain,)})
    for domains in ((domain, domain), (Domain.model_construct(name="deep", manifest=inside),)):
        with pytest.raises(ValidationError, match=r"a domain (occurs twice|has domains)"):
            Manifest.model_validate(built.manifest.model_copy(update={"domains": domains}).model_dump())


@pytest.mark.parametrize("name", ["index.faiss", "refine.bin", "docs.parquet", "lists.npy"])
def test_a_damaged_domain_is_refused(built, tmp_path, name):
    completed(tmp_path / "copy", built.folder, built.manifest)
    (tmp_path / "copy" / "manifest.json").write_bytes(built.manifest.to_json())
    path = tmp_path / "copy" / "domains" / "short" / "shards" / "0001" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=rf"domains/short/shards/0001/{name}"):
        verify_folder(tmp_path / "copy")


def test_swapped_shards_of_a_domain_are_refused(built, tmp_path):
    """Checksums that fit do not help files that do not belong together."""
    short = part(built.manifest, "short")
    first, second = short.shards
    swapped = short.model_copy(
        update={
            "shards": (
                first.model_copy(update={"lists": second.lists}),
                second.model_copy(update={"lists": first.lists}),
            )
        }
    )
    domains = (built.manifest.domains[0], Domain(name="short", manifest=seal(swapped)))
    manifest = seal(built.manifest.model_copy(update={"domains": domains}))
    completed(tmp_path / "copy", built.folder, manifest)
    (tmp_path / "copy" / "manifest.json").write_bytes(manifest.to_json())
    with pytest.raises(IntegrityError, match=r"list order|list sizes"):
        verify_folder(tmp_path / "copy")


def test_a_domain_of_another_export_is_refused(built):
    domain = built.manifest.domains[0]
    foreign = Domain(name="long", manifest=seal(domain.manifest.model_copy(update={"export_id": "e2"})))
    with pytest.raises(ValidationError, match="a domain is of another export"):
        Manifest.model_validate(built.manifest.model_copy(update={"domains": (foreign,)}).model_dump())


def _exported(folder: Path, *tables: pa.Table) -> Path:
    (folder / "docs").mkdir(parents=True)
    for number, table in enumerate(tables):
        pq.write_table(table, folder / "docs" / f"part-{number}.parquet")
    return folder


def _table(ids: list[str], **columns: pa.Array) -> pa.Table:
    return pa.table({"creator_id": ids, "vector": pa.array([[1.0, 0.0]] * len(ids), pa.list_(pa.float32())), **columns})


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 2)]
)
def test_lists_of_numbers_of_any_kind_are_vectors(tmp_path, kind):
    folder = _exported(tmp_path / "export", _table(["a", "b"], short_vector=pa.array([[0.0, 1.0], None], kind)))
    export = open_export(folder)
    assert export.domains == (DomainVectors("short", 1, 2),)
    (batch,) = export.domain(export.domains[0]).batches()
    assert (batch.creator_ids, batch.vectors.tolist()) == (["a"], [[0.0, 1.0]])


def test_domains_are_those_of_every_file(tmp_path):
    some = _table(["a"], short_vector=pa.array([[0.0, 1.0]], pa.list_(pa.float32())))
    for order in ((some, _table(["b"])), (_table(["b"]), some)):
        folder = _exported(tmp_path / str(len(list(tmp_path.iterdir()))), *order)
        with pytest.raises(SchemaError, match="vectors of other domains"):
            open_export(folder)


def test_vectors_without_numbers_are_refused(tmp_path):
    folder = _exported(tmp_path / "export", _table(["a"], short_vector=pa.array([[]], pa.list_(pa.float32()))))
    with pytest.raises(SchemaError, match="'short_vector' have no dimensions"):
        open_export(folder)


def test_a_vector_that_is_not_as_the_others_stops_the_build(tmp_path):
    made = world()
    made.short[5] = made.short[5][:16]  # type: ignore[index]
    export = made.write(tmp_path / "export")
    with pytest.raises(SchemaError, match="32 dimensions"):
        build_snapshot(export, tmp_path / "out", SPEC, log=silent)
    assert not (tmp_path / "out").exists()


def test_a_night_renews_every_domain(built, tmp_path):
    passed = after_a_night(built.world)
    export = open_export(passed.write(tmp_path / "export", export_id="night"))
    manifest = renew(export, built.folder, built.manifest, tmp_path / "out", log=silent)
    assert manifest is not None
    assert [domain.name for domain in manifest.domains] == ["short"]
    short = part(manifest, "short")
    assert short.full_build is not None
    assert short.shards[-1].is_side
    assert short.rows_count == len(built.world.having("short")) + 20
    completed(tmp_path / "out", built.folder, manifest)
    assert verify_folder(tmp_path / "out") == read_manifest(tmp_path / "out") == manifest
    found = creators(tmp_path / "out", manifest, "short")
    assert {creator for creator in found if creator is not None} == passed.having("short")
    assert not set(built.world.having("long")) & set(needed_files(built.manifest))
    assert not any(path.startswith("domains/long") for path in needed_files(built.manifest)), "flat ones are built anew"


def test_a_domain_that_is_new_or_much_changed_is_built_in_full(built, tmp_path):
    fresh = clustered(ROWS, 32, seed=5)
    passed = World(built.world.ids, built.world.whole, list(fresh), [fresh[n] if n % 2 else None for n in range(ROWS)])
    export = open_export(passed.write(tmp_path / "export", export_id="night"))
    manifest = renew(export, built.folder, built.manifest, tmp_path / "out", log=silent)
    assert manifest is not None
    assert manifest.full_build is not None
    for name in ("short", "long"):
        assert part(manifest, name).full_build is None
        assert part(manifest, name).creators_count == len(passed.having(name))
    completed(tmp_path / "out", built.folder, manifest)
    assert verify_folder(tmp_path / "out") == manifest


def test_publishing_copies_what_a_night_left_as_it_was(built, tmp_path, store: ObjectStore):
    for name, made in (("e1", built.world), ("night", after_a_night(built.world))):
        made.write(Path(store.layout.root) / "exports" / name, export_id=name)
    spec = built.manifest.spec
    first = publish_export(store, "e1", scratch=tmp_path / "scratch", spec=spec, log=silent)
    second = publish_export(store, "night", scratch=tmp_path / "scratch", spec=spec, log=silent)
    assert second.full_build is not None
    assert verify_stored(store, second.snapshot_id) == read_stored_manifest(store, second.snapshot_id) == second
    kept = {file.sha256 for file in first.domains[1].files()} & {file.sha256 for file in second.domains[0].files()}
    assert len(kept) >= 6, "index, rows and lists of both shards of the domain"


def test_it_is_described(built):
    told = describe(built.manifest)
    assert "domain    short" in told
    assert f"{ROWS * 3 // 4:,} x 32" in told
