"""Which landing objects a table lacks, and the check of their bytes."""

from __future__ import annotations

import gzip
from dataclasses import replace

from lakehouse.bronze.objects import DAMAGE, Part, quarantine_parts, record_parts, sift
from lakehouse.ingest.batches import Batch, BatchObject, QuarantineObject
from lakehouse.settings import Settings
from lakehouse.storage.objects import ObjectStore


def batch(seq: int, *kinds: tuple[str, str]) -> Batch:
    items = tuple(BatchObject(f"{seq}/{p}/{t}", p, t, "00", 2, 10) for p, t in kinds)
    return Batch(seq, "2024-01-01T00:00:00Z", "acme", 1, "default", "a.csv", "ff", 2, 2, 0, 0, items)


def test_parts_of_one_kind() -> None:
    batches = [batch(1, ("x", "post"), ("x", "profile")), batch(2, ("tiktok", "profile")), batch(3, ("x", "profile"))]
    found = record_parts(batches, platform="x", record_type="profile")
    assert [(part.path, part.batch_seq) for part in found] == [("1/x/profile", 1), ("3/x/profile", 3)]


def test_parts_of_the_quarantine() -> None:
    noted = replace(batch(2), quarantine=QuarantineObject("q", "00", 5))
    assert [(part.path, part.lines_count) for part in quarantine_parts([batch(1), noted])] == [("q", 5)]


def test_only_whole_objects_pass(settings: Settings) -> None:
    objects = ObjectStore.open(settings)
    digest = objects.put_once("landing/a.gz", gzip.compress(b"1\n2\n"))
    part = Part("landing/a.gz", digest, 2, 7, "2024-01-01T00:00:00Z", "acme")
    others = [replace(part, sha256="00"), replace(part, lines_count=3), replace(part, path="landing/b.gz")]
    sound, damaged = sift(objects, [part, *others])
    assert sound == [part]
    assert [damage.part for damage in damaged] == others
    assert [damage.code for damage in damaged] == ["damaged_object", "wrong_line_count", "missing_object"]
    assert damaged[0].text.endswith("a.gz does not match the sha256 of batch 7.")
    assert damaged[1].text.endswith("holds 2 lines, batch 7 says 3.")
    assert {damage.code for damage in damaged} == set(DAMAGE)
    objects.replace("landing/a.gz", b"damaged")
    assert [damage.code for damage in sift(objects, [part])[1]] == ["damaged_object"]
