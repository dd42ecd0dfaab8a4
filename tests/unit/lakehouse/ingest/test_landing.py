"""The landing writer: write-once, done once, killed anywhere."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ingest_factories import acme

from lakehouse.errors import NotFoundError, SettingsError, TransientError
from lakehouse.ingest import landing, parts, writing
from lakehouse.ingest.batches import INDEX_KEY, Batch, commit, read_batches
from lakehouse.ingest.folder import fingerprint
from lakehouse.ingest.landing import build_landing, input_fingerprint, land
from lakehouse.ops.steps import Report, StepContext
from lakehouse.settings import Settings
from lakehouse.storage.lake import Lake
from lakehouse.storage.objects import ObjectStore

NOON = dt.datetime(2024, 1, 2, 12, tzinfo=dt.UTC)
CSV = "User,Name,Fans\nann,Ann,1\nbob,\ud800,2\n".encode("utf-8", "surrogatepass") + b",,\n"


@pytest.fixture
def objects(settings: Settings) -> ObjectStore:
    return ObjectStore.open(settings)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "acme.csv").write_bytes(CSV)
    return folder


def run(objects: ObjectStore, folder: Path, **options: Any) -> Report:
    options = {"mappings": [acme()], "log": lambda _line: None, "clock": lambda: NOON} | options
    return land(objects, folder, **options)


def lines_of(objects: ObjectStore, key: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(objects.get(key)).decode("ascii").splitlines()]


def test_a_batch_says_what_it_holds(objects: ObjectStore, inbox: Path) -> None:
    report = run(objects, inbox)
    (batch,) = read_batches(objects)
    assert (batch.batch_seq, batch.landed_at, batch.file_name) == (1, "2024-01-02T12:00:00Z", "deep/acme.csv")
    assert (batch.rows_in, batch.rows_landed, batch.rows_quarantined) == (3, 2, 1)
    (item,) = batch.objects
    assert item.path.startswith("landing/instagram/2022/06/15/acme-")
    assert hashlib.sha256(objects.get(item.path)).hexdigest() == item.sha256
    assert (item.records_count, item.bytes) == (2, len(objects.get(item.path)))
    assert report.by_source == {"acme": {"in": 3, "out": 2, "quarantined": 1, "duplicate": 0}}
    assert (report.imbalances(), report.cursor) == ({}, {"version": 1})


def test_a_landed_line_is_ascii_with_its_envelope_and_a_content_hash(objects: ObjectStore, inbox: Path) -> None:
    run(objects, inbox)
    (batch,) = read_batches(objects)
    raw = gzip.decompress(objects.get(batch.objects[0].path))
    line = lines_of(objects, batch.objects[0].path)[1]
    payload = line.pop("payload")
    assert payload == {"handle": "bob", "display_name": "\ud800", "followers": "2"}
    assert b'"display_name":"\\ud800"' in raw
    identity = ["instagram", "profile", "acme", "2022-06-15T00:00:00Z", payload]
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    assert line == {
        "record_id": hashlib.sha256(canonical.encode()).hexdigest(),
        "source_code": "acme",
        "platform": "instagram",
        "record_type": "profile",
        "observed_at": "2022-06-15T00:00:00Z",
        "file_name": "deep/acme.csv",
        "line_number": 3,
        "record_seq": 1,
    }


def test_quarantine_entries_are_landed_too(objects: ObjectStore, inbox: Path) -> None:
    run(objects, inbox)
    (batch,) = read_batches(objects)
    assert batch.quarantine is not None
    (entry,) = lines_of(objects, batch.quarantine.path)
    assert len(entry.pop("quarantine_id")) == 64
    assert entry == {
        "stage_code": "landing",
        "source_code": "acme",
        "file_name": "deep/acme.csv",
        "line_number": 4,
        "field_name": None,
        "reason_code": "empty_row",
        "reason_text": "Every cell of the row is empty.",
        "raw_value": ",,\n",
        "rows_count": 1,
    }


def test_what_is_landed_is_not_landed_again(objects: ObjectStore, inbox: Path) -> None:
    run(objects, inbox)
    (inbox / "acme_copy.csv").write_bytes(CSV)
    again = run(objects, inbox)
    assert (again.rows_in, again.metadata["files_already_landed"], again.cursor) == (0, 2, {"version": 1})
    assert run(objects, inbox, mappings=[acme(**{"version: 1": "version: 2"})]).rows_in == 3


def test_equal_bytes_of_two_declared_dates_are_two_landings(objects: ObjectStore, inbox: Path) -> None:
    dates = '[{files: "*jan*", date: 2022-01-15}, {files: "*feb*", date: 2022-02-15}, {date: 2024-02-15}]'
    mapping = acme(**{"{date: 2022-06-15}": dates})
    for name in ("acme_jan.csv", "acme_feb.csv", "acme.csv"):
        (inbox / "deep" / name).write_bytes(CSV)
    assert run(objects, inbox, mappings=[mapping]).rows_in == 9
    found = {Path(batch.file_name).name: (batch.observed_at[:10], batch.rows_landed) for batch in read_batches(objects)}
    assert found == {
        "acme_jan.csv": ("2022-01-15", 2),
        "acme_feb.csv": ("2022-02-15", 2),
        "acme.csv": ("", 0),
    }
    objects.delete(INDEX_KEY)
    assert run(objects, inbox, mappings=[mapping]).rows_in == 0
    later = run(objects, inbox, mappings=[mapping], clock=lambda: NOON + dt.timedelta(days=60))
    assert later.by_source == {"acme": {"in": 3, "out": 2, "quarantined": 1, "duplicate": 0}}


def test_a_manifest_of_before_declared_times_is_read(objects: ObjectStore, inbox: Path) -> None:
    run(objects, inbox)
    (batch,) = read_batches(objects)
    body = json.loads(batch.to_json())
    del body["observed_at"]
    assert Batch.from_json(body).observed_at == ""


def test_the_index_may_be_lost(objects: ObjectStore, inbox: Path) -> None:
    run(objects, inbox)
    objects.delete(INDEX_KEY)
    assert run(objects, inbox).rows_in == 0


def test_batches_are_in_strict_order_whatever_the_clock(objects: ObjectStore, inbox: Path) -> None:
    (inbox / "acme_2.csv").write_bytes(CSV + b"cid,Cid,3\n")
    run(objects, inbox)
    (inbox / "acme_3.csv").write_bytes(CSV + b"dan,Dan,3\n")
    run(objects, inbox, clock=lambda: NOON - dt.timedelta(days=1))
    batches = list(read_batches(objects))
    times = [batch.landed_at for batch in batches]
    assert [batch.batch_seq for batch in batches] == [1, 2, 3]
    assert [batch.file_name for batch in batches] == ["acme_2.csv", "deep/acme.csv", "acme_3.csv"]
    assert [dt.datetime.fromisoformat(time) for time in times] == [
        NOON + dt.timedelta(microseconds=n) for n in range(3)
    ]
    assert [batch.batch_seq for batch in read_batches(objects, 2)] == [3]


def test_killed_before_the_manifest_it_ends_at_the_same_content(
    objects: ObjectStore, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = acme(**{"{date: 2022-06-15}": "landing"})

    def die(_objects: ObjectStore, _batch: Batch) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(landing, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            run(objects, inbox, mappings=[mapping])
    assert list(read_batches(objects)) == []
    run(objects, inbox, mappings=[mapping], clock=lambda: NOON + dt.timedelta(hours=1))
    (batch,) = read_batches(objects)
    assert (batch.batch_seq, batch.rows_landed) == (1, 2)
    assert lines_of(objects, batch.objects[0].path)[0]["observed_at"] == "2024-01-02T13:00:00Z"


def test_two_landers_at_once_do_not_share_a_number(objects: ObjectStore, inbox: Path) -> None:
    run(objects, inbox)
    (batch,) = read_batches(objects)
    other = Batch.from_json(json.loads(batch.to_json()) | {"file_name": "other.csv"})
    with pytest.raises(TransientError, match="Another run is landing"):
        commit(objects, other)


def test_parts_are_cut_by_size(objects: ObjectStore, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 1)
    run(objects, inbox)
    (batch,) = read_batches(objects)
    assert [item.records_count for item in batch.objects] == [1, 1]
    found = [line["record_seq"] for item in batch.objects for line in lines_of(objects, item.path)]
    assert found == [0, 1]


def test_many_entries_of_one_reason_are_summed_up(
    objects: ObjectStore, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "ENTRIES_PER_REASON_LIMIT", 2)
    (inbox / "deep" / "acme.csv").write_bytes(CSV + b",,\n" * 4)
    run(objects, inbox)
    (batch,) = read_batches(objects)
    assert batch.quarantine is not None
    entries = lines_of(objects, batch.quarantine.path)
    assert [entry["rows_count"] for entry in entries] == [1, 1, 3]
    assert sum(entry["rows_count"] for entry in entries) == batch.rows_quarantined == 5
    assert entries[2]["reason_text"].endswith("3 further cases are summed up here.")


def test_files_that_are_not_landed_are_told_once(objects: ObjectStore, inbox: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_bytes(CSV)
    (inbox / "acme_link.csv").symlink_to(outside)
    (inbox / "acme_broken.csv").symlink_to(tmp_path / "nowhere.csv")
    (inbox / "acme_folder").symlink_to(tmp_path)
    (inbox / "inner.csv").symlink_to(inbox / "deep" / "acme.csv")
    (inbox / ".hidden").write_text("x")
    (inbox / "README.md").write_text("x")
    os.mkfifo(inbox / "acme_pipe.csv")
    said: list[str] = []
    report = run(objects, inbox, log=said.append)
    *_, told = read_batches(objects)
    assert told.quarantine is not None
    entries = {entry["file_name"]: entry["reason_code"] for entry in lines_of(objects, told.quarantine.path)}
    assert entries == {
        "README.md": "unclaimed",
        "acme_broken.csv": "unreadable_file",
        "acme_folder": "outside_folder",
        "acme_link.csv": "outside_folder",
        "acme_pipe.csv": "unreadable_file",
        "inner.csv": "unclaimed",
    }
    assert report.metadata["files_not_landed"] == 6
    assert any("README.md" in line or "1 files" in line or "2 files" in line for line in said)
    assert run(objects, inbox).cursor == report.cursor


def test_a_file_that_changes_while_it_is_read_waits(
    objects: ObjectStore, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(writing, "has_changed", lambda _found: True)
        assert run(objects, inbox).rows_in == 0
    assert run(objects, inbox).rows_in == 3


def test_the_fingerprint_follows_files_and_mappings(inbox: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    seen = {fingerprint(inbox, None), fingerprint(inbox, None)}
    assert len(seen) == 1
    os.utime(inbox / "deep" / "acme.csv", (1, 1))
    seen.add(fingerprint(inbox, None))
    (own / "a.yaml").write_text("source: a")
    seen.add(fingerprint(inbox, own))
    assert len(seen) == 3


def test_the_step_reads_its_folder_from_the_settings(settings: Settings, inbox: Path) -> None:
    (inbox / "accounts_1.jsonl").write_text('{"platform": "x", "handle": "ann"}\n')
    given = settings.model_copy(update={"input": inbox})
    report = build_landing(StepContext(Lake(given), given, {}, lambda _line: None))
    assert report.by_source == {"creatorlake_accounts": {"in": 1, "out": 1, "quarantined": 0, "duplicate": 0}}
    assert input_fingerprint(Lake(given), given) == fingerprint(inbox, None)
    with pytest.raises(SettingsError, match="no input folder"):
        build_landing(StepContext(Lake(settings), settings, {}))
    with pytest.raises(NotFoundError, match="does not exist"):
        run(ObjectStore.open(settings), inbox / "nowhere")


def test_a_folder_that_no_mapping_knows_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "unknown"
    folder.mkdir()
    (folder / "strange.csv").write_text("a,b\n1,2\n")
    given = settings.model_copy(update={"input": folder})
    with pytest.raises(NotFoundError, match="no mapping claims any of its 1 files"):
        build_landing(StepContext(Lake(given), given, {}, lambda _line: None))
