"""Manifests: strict, canonical, sealed by their id, and distrusted."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from index_build.manifest import Band, Calibration, Current, Manifest, parse_current, parse_manifest, safe_path, seal
from lakehouse.errors import IntegrityError, SchemaError


def edited(manifest: Manifest, **changes) -> bytes:
    return json.dumps(json.loads(manifest.to_json()) | changes).encode()


def test_json_round_trip_is_canonical(built):
    data = built.manifest.to_json()
    assert parse_manifest(data) == built.manifest
    assert parse_manifest(data).to_json() == data == (built.folder / "manifest.json").read_bytes()


def test_time_of_building_is_not_part_of_the_id(flat):
    later = flat.manifest.model_copy(update={"created_at": "2030-01-01T00:00:00+00:00"})
    assert seal(later).snapshot_id == flat.manifest.snapshot_id
    other = flat.manifest.model_copy(update={"export_id": "other"})
    assert seal(other).snapshot_id != flat.manifest.snapshot_id


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\\b", "a\0b", "a/", "."])
def test_paths_stay_inside(path):
    with pytest.raises(ValueError, match="unsafe"):
        safe_path(path)


def test_edited_content_is_refused(flat):
    with pytest.raises(IntegrityError, match="snapshot id"):
        parse_manifest(edited(flat.manifest, model_id="other"))


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": 1},
        {"rows_count": 501},
        {"rows_count": "500"},
        {"unknown": 1},
        {"shards": []},
        {"snapshot_id": "../../etc"},
        {"creators_count": 501},
    ],
)
def test_unfit_fields_are_refused(flat, changes):
    with pytest.raises(SchemaError, match="not valid"):
        parse_manifest(edited(flat.manifest, **changes))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_rubbish_is_refused(data):
    with pytest.raises(SchemaError):
        parse_manifest(data)
    with pytest.raises(SchemaError):
        parse_current(data)


def test_escaping_file_paths_are_refused(flat):
    shard = json.loads(flat.manifest.to_json())["shards"][0]
    shard["docs"]["path"] = "../docs.parquet"
    with pytest.raises(SchemaError, match="unsafe path"):
        parse_manifest(edited(flat.manifest, shards=[shard]))


def test_bands_cover_every_selectivity():
    low, high = (Band.of(1, 1).model_copy(update={"max_selectivity": edge}) for edge in (0.1, 1.0))
    calibration = Calibration(exact_max_matches=5, bands=(low, high))
    assert [calibration.band(share) for share in (0.0, 0.1, 0.1001, 1.0)] == [low, low, high, high]
    for bands in ((low,), (high, low), (high, high)):
        with pytest.raises(ValidationError):
            Calibration(exact_max_matches=5, bands=bands)


def test_pointer_round_trip():
    pointer = Current(snapshot_id="a" * 16, previous=None, published_at="2026-01-01T00:00:00+00:00")
    assert parse_current(pointer.to_json()) == pointer
