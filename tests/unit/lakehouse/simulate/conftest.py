"""One small world on disk, written once, and the reading of its files as the pipeline reads them."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from lakehouse.ingest.claims import claim
from lakehouse.ingest.convert import LandedRecord
from lakehouse.ingest.entries import Entry
from lakehouse.ingest.files import SourceFile, peek_header
from lakehouse.ingest.mapping import load_mappings
from lakehouse.simulate.world import World
from lakehouse.simulate.write import write_world


@dataclass
class Reading:
    """What ingestion makes of a folder: records, rows by file, entries by (file, reason)."""

    records: list[LandedRecord] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    entries: Counter = field(default_factory=Counter)


def _read(folder) -> Reading:
    mappings, reading = load_mappings(), Reading()
    for path in sorted(folder.iterdir()):
        chosen = claim(mappings, path.name, lambda mapping, path=path: peek_header(path, path.name, mapping))
        assert chosen.layout is not None, f"nobody claims {path.name}: {chosen.reason_code}"
        file = SourceFile(path, path.name, chosen, "2026-12-31T00:00:00Z")
        for event in file:
            if isinstance(event, Entry):
                reading.entries[path.name, event.reason_code] += 1
            else:
                reading.records.append(event)
        reading.rows[path.name] = file.counts.rows_in
    return reading


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Folder, truth folder and report of a small world."""
    folder = tmp_path_factory.mktemp("world") / "input"
    return folder, folder.with_name("input_truth"), write_world(World(creators_count=800), folder)


@pytest.fixture(scope="session")
def reading(written):
    return _read(written[0])


@pytest.fixture(scope="session")
def read_folder():
    """Reads a folder as ingestion does."""
    return _read
