"""The shipped mappings over the real files: every data file is claimed and every row is accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.ingest.batches import UNCLAIMED, Batch, read_batches
from lakehouse.ingest.landing import land
from lakehouse.ingest.mapping import load_mappings
from lakehouse.ops.steps import Report
from lakehouse.settings import load_settings
from lakehouse.storage.objects import ObjectStore

pytestmark = pytest.mark.integration

ROWS = {
    "hypeauditor": 12_148,
    "youtube_trending": 961,
    "global_youtube": 995,
    "starngage_instagram": 1_996,
    "tiktok_vn": 10_102,
    "tiktok_trending": 1_000,
    "congress": 519,
    "holodex": 269,
}
"""Rows of each source, as the folders' own notes count them."""


@pytest.fixture(scope="module")
def landed(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, list[Batch], list[Batch]]:
    objects = ObjectStore.open(load_settings(lake=str(tmp_path_factory.mktemp("lake"))))
    first = land(objects, real_data, mappings=load_mappings(), log=lambda _line: None)
    batches = list(read_batches(objects))
    again = land(objects, real_data, mappings=load_mappings(), log=lambda _line: None)
    assert (again.rows_in, again.cursor) == (0, first.cursor)
    return first, [b for b in batches if b.source_code != UNCLAIMED], [b for b in batches if b.source_code == UNCLAIMED]


def test_rows_of_every_source_conserve(landed: tuple[Report, list[Batch], list[Batch]]) -> None:
    report, _, _ = landed
    assert {source: counts["in"] for source, counts in report.by_source.items()} == ROWS
    assert report.imbalances() == {}
    assert {source: counts["quarantined"] for source, counts in report.by_source.items() if counts["quarantined"]} == {
        "hypeauditor": 1
    }


def test_every_header_is_understood(landed: tuple[Report, list[Batch], list[Batch]]) -> None:
    _, batches, _ = landed
    assert [batch.file_name for batch in batches if batch.fields_quarantined] == []
    assert len({batch.layout for batch in batches if batch.source_code == "hypeauditor"}) == 12


def test_rows_give_the_records_of_all_their_accounts(landed: tuple[Report, list[Batch], list[Batch]]) -> None:
    _, batches, _ = landed
    found: dict[tuple[str, str, str], int] = {}
    for batch in batches:
        for item in batch.objects:
            key = (batch.source_code, item.platform, item.record_type)
            found[key] = found.get(key, 0) + item.records_count
    assert found["congress", "x", "profile"] == 506
    assert found["congress", "instagram", "profile"] == 407
    assert found["holodex", "x", "profile"] == 255
    assert found["tiktok_vn", "tiktok", "post"] == found["tiktok_vn", "tiktok", "profile"] == ROWS["tiktok_vn"]


def test_only_what_is_no_creator_data_is_unclaimed(landed: tuple[Report, list[Batch], list[Batch]]) -> None:
    _, _, (told,) = landed
    names = [key.split(":", 2)[2] for key in told.reported]
    own = [name for name in names if name.startswith(("creators/", "identity/congress/", "identity/holodex/"))]
    assert {name.rsplit("/", 1)[-1] for name in own} == {"README.md"}
    assert any("youtube_declared_links_2018" in name for name in names)
