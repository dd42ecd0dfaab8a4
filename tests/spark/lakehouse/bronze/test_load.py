"""Landing objects into Delta: exact payloads, no row twice, nothing damaged gets in."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from ingest_factories import acme

from lakehouse.bronze.load import build_bronze, build_quarantine
from lakehouse.contracts.tables import BRONZE_POSTS, BRONZE_PROFILES, QUARANTINE
from lakehouse.ingest.batches import read_batches
from lakehouse.ingest.landing import land
from lakehouse.ops.alerts import recent_alerts
from lakehouse.ops.steps import Report, StepContext
from lakehouse.storage.lake import Lake

pytestmark = pytest.mark.spark

PROFILES = BRONZE_PROFILES["instagram"]
BIO = 'a\0b "quoted" 🤷🏻 שלום ,"payload":{} \\'
NOON = dt.datetime(2024, 1, 2, 12, tzinfo=dt.UTC)


def land_file(lake: Lake, folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    land(lake.objects, folder, mappings=[acme()], log=lambda _line: None, clock=lambda: NOON)


def quoted(text: str) -> bytes:
    return ('"' + text.replace('"', '""') + '"').encode()


def run(lake: Lake, cursor: dict[str, object] | None = None) -> Report:
    return build_bronze(PROFILES)(StepContext(lake, lake.settings, cursor or {}))


def test_rows_are_exact_and_appended_once(lake: Lake, tmp_path: Path) -> None:
    inbox = tmp_path / "in box [1]"
    land_file(
        lake, inbox, 'acme,"payload":1.csv', b"User,Name,Fans\nann," + quoted(BIO) + b",1\nbob,\xed\xa0\x80,2\n,,3\n"
    )
    first = run(lake)
    rows = sorted(lake.read(PROFILES).collect(), key=lambda row: row.record_seq)
    assert [json.loads(row.payload) for row in rows] == [
        {"handle": "ann", "display_name": BIO, "followers": "1"},
        {"handle": "bob", "display_name": "\ud800", "followers": "2"},
    ]
    assert rows[1].payload == '{"display_name":"\\ud800","followers":"2","handle":"bob"}'
    assert (rows[0].file_name, rows[0].line_number, rows[0].batch_seq) == ('acme,"payload":1.csv', 2, 1)
    assert (rows[0].observed_at, rows[0].landed_at) == (dt.datetime(2022, 6, 15), dt.datetime(2024, 1, 2, 12))
    assert rows[0].landing_path == next(read_batches(lake.objects)).objects[0].path
    assert (first.rows_in, first.rows_out, first.imbalances()) == (2, 2, {})

    assert run(lake, first.cursor).rows_in == 0
    assert run(lake, {}).rows_in == 0
    land_file(lake, inbox, "acme2.csv", b"User,Name,Fans\ncid,Cid,3\n")
    assert run(lake, first.cursor).rows_in == 1
    assert run(lake, first.cursor).rows_in == 0
    assert sorted((row.batch_seq, row.record_seq) for row in lake.read(PROFILES).collect()) == [(1, 0), (1, 1), (2, 0)]

    for _ in range(2):
        build_quarantine(StepContext(lake, lake.settings, {}))
    (entry,) = lake.read(QUARANTINE).collect()
    assert (entry.reason_code, entry.line_number, entry.rows_count, entry.batch_seq) == ("no_account_key", 4, 1, 1)


def test_f18_a_damaged_object_goes_to_quarantine_with_an_alert_and_the_rest_goes_on(lake: Lake, tmp_path: Path) -> None:
    land_file(lake, tmp_path / "inbox", "acme.csv", b"User,Name,Fans\nann,Ann,1\nbob,Bob,2\n")
    land_file(lake, tmp_path / "inbox", "acme2.csv", b"User,Name,Fans\ncid,Cid,3\n")
    poison = next(read_batches(lake.objects)).objects[0].path
    lake.objects.replace(poison, b"damaged")
    first = run(lake)
    run(lake)
    assert [row.batch_seq for row in lake.read(PROFILES).collect()] == [2]
    (entry,) = lake.read(QUARANTINE).collect()
    assert (entry.reason_code, entry.file_name, entry.rows_count) == ("damaged_object", poison, 2)
    assert (first.rows_in, first.rows_out, first.rows_quarantined, first.imbalances()) == (3, 1, 2, {})
    alerts = list(recent_alerts(lake.objects, since=dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)))
    assert {(alert.kind, alert.subject) for alert in alerts} == {("poison_object", poison)}


def test_a_table_without_new_objects_starts_no_spark(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_file(lake, tmp_path / "inbox", "acme.csv", b"User,Name,Fans\nann,Ann,1\n")
    monkeypatch.setattr(Lake, "spark", property(lambda _self: pytest.fail("Spark was started")))
    report = build_bronze(BRONZE_POSTS["x"])(StepContext(lake, lake.settings, {}))
    assert (report.rows_in, report.cursor["batch_seq"]) == (0, 1)
