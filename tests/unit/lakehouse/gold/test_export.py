"""Exports that are kept, and those that go."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lakehouse.contracts.layout import export_key
from lakehouse.gold.export import collect_exports
from lakehouse.settings import load_settings
from lakehouse.storage.objects import ObjectStore

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    """A lake with the exports a to e, each a day younger than the one before."""
    store = ObjectStore.open(load_settings(home=tmp_path, lake=str(tmp_path / "lake")))
    for day, name in enumerate("abcde"):
        for file in ("export.json", "docs/part-0.parquet"):
            store.put_once(export_key(name, file), name.encode())
            at = (START + timedelta(days=day)).timestamp()
            os.utime(tmp_path / "lake" / export_key(name, file), (at, at))
    return store


def names(objects: ObjectStore) -> str:
    return "".join(sorted({info.key.split("/")[1] for info in objects.list("exports")}))


@pytest.mark.parametrize(
    ("kept", "outdated_days", "left"),
    [
        (None, None, "de"),
        ("b", None, "bde"),
        ("d", None, "cde"),
        ("e", None, "de"),
        ("b", 2, "de"),
        ("b", 4, "e"),
        (None, 5, "e"),
    ],
)
def test_the_current_one_the_one_before_and_a_kept_one_stay_unless_they_are_outdated(
    objects: ObjectStore, kept: str | None, outdated_days: int | None, left: str
) -> None:
    outdated = None if outdated_days is None else START + timedelta(days=outdated_days)
    removed = collect_exports(objects, current="e", kept=kept, outdated=outdated)
    assert names(objects) == left
    assert removed == sorted(set("abcde") - set(left))
