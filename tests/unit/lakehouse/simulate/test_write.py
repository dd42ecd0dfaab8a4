"""A written world: the same bytes every time, a ledger that ingestion confirms, a truth that fits every record."""

import datetime as dt
import hashlib
import json
import time
from collections import Counter, defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest

from lakehouse.errors import SettingsError
from lakehouse.silver.numbers import parse_count
from lakehouse.simulate.junk import LANDING, SILVER
from lakehouse.simulate.vocabulary import vocabulary
from lakehouse.simulate.world import Junk, World
from lakehouse.simulate.write import profile_tables, write_delta, write_profiles, write_world

WORLD = World(creators_count=800)


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def silver_key(record):
    payload = record.payload
    name = "platform_account_id" if record.record_type == "profile" else "account_id"
    return record.platform, payload.get(name) or "@" + payload["handle"].lower().lstrip("@")


def truth_rows(truth_folder, name="accounts.parquet"):
    return {
        (row["platform"], row["platform_account_id"]): row for row in pq.read_table(truth_folder / name).to_pylist()
    }


def test_equal_worlds_are_equal_bytes_whatever_the_chunks(written, tmp_path):
    folder, truth_folder, report = written
    other = write_world(World(creators_count=800, chunk_creators=97), tmp_path / "again")
    assert digests(tmp_path / "again") == digests(folder)
    assert {file.name: file.sha256 for file in other.files} == digests(folder)
    assert other.junk == report.junk
    theirs, ours = (truth_rows(path) for path in (tmp_path / "again_truth", truth_folder))
    assert theirs == ours


def test_another_seed_is_another_world(written, tmp_path):
    write_profiles(World(creators_count=800, seed=8), tmp_path)
    mine = digests(written[0])
    assert all(mine.get(name) != digest for name, digest in digests(tmp_path).items())


def test_parts_hold_the_same_rows_in_order(tmp_path):
    clean = Junk.none()
    write_profiles(World(creators_count=300, junk=clean), tmp_path / "one")
    write_profiles(World(creators_count=300, junk=clean, file_creators=128), tmp_path / "parts")
    whole = (tmp_path / "one" / "accounts_x_2026-06-30.jsonl").read_bytes()
    parts = [(tmp_path / "parts" / f"accounts_x_2026-06-30_{part:04d}.jsonl").read_bytes() for part in range(3)]
    assert b"".join(parts) == whole


def test_the_ledger_is_what_ingestion_stops(written, reading):
    planted = Counter()
    for entry in written[2].junk:
        if entry.stage == LANDING:
            planted[entry.file_name, entry.reason_code] += entry.count
    assert len({reason for _, reason in planted}) >= 8
    assert reading.entries == planted


def test_the_report_counts_the_rows_that_ingestion_reads(written, reading):
    assert {file.name: file.rows_count for file in written[2].files} == reading.rows
    assert sum(reading.rows.values()) == written[2].rows_count


def test_the_ledger_is_what_silver_refuses(written, reading):
    planted = Counter()
    for entry in written[2].junk:
        if entry.stage == SILVER:
            planted[entry.reason_code] += entry.count
    reasons = (
        parse_count(record.payload.get("followers"))[1] for record in reading.records if record.record_type == "profile"
    )
    assert Counter(reason for reason in reasons if reason) == planted


def test_doubled_rows_are_those_of_the_ledger(written):
    folder, _, report = written
    for file in report.files:
        lines = [
            line for line in (folder / file.name).read_bytes().splitlines() if b'"id"' in line or b'"handle"' in line
        ]
        twice = sum(count - 1 for line, count in Counter(lines).items() if b"lost_" not in line and line.endswith(b"}"))
        known = sum(
            entry.count for entry in report.junk if entry.file_name == file.name and entry.kind == "duplicate_row"
        )
        assert twice == known or file.name.endswith(".csv")


def test_every_record_belongs_to_a_true_account_and_every_account_has_records(written, reading):
    truth = truth_rows(written[1])
    assert len(truth) == written[2].accounts_count
    assert {silver_key(record) for record in reading.records} == set(truth)


def test_truth_names_what_the_records_show(written, reading):
    truth = truth_rows(written[1])
    known = vocabulary()
    phrases = dict(
        zip(
            known.risk_codes, np.split(known.risk_phrases.texts.to_pylist(), known.risk_phrases.starts[1:]), strict=True
        )
    )
    texts = defaultdict(str)
    for record in reading.records:
        texts[silver_key(record)] += " ".join(str(record.payload.get(name, "")) for name in ("bio", "caption", "title"))
    planted = {
        key: {code for code, said in phrases.items() if any(p in text for p in said)} for key, text in texts.items()
    }
    assert sum(map(len, planted.values())) > 20
    for key, codes in planted.items():
        told = set(truth[key]["risk_codes"])
        assert codes <= told
        assert told - codes <= ({"drugs_tobacco_alcohol"} if truth[key]["niche_code"] == "alcohol" else set())


def test_niche_is_null_exactly_for_the_bland(written):
    rows = truth_rows(written[1]).values()
    assert abs(np.mean([row["niche_code"] is None for row in rows]) - WORLD.bland_ratio) < 0.02
    assert all((row["niche_code"] is None) == (row["niche_codes"] == []) for row in rows)
    assert all(row["niche_codes"][0] == row["niche_code"] for row in rows if row["niche_codes"])


def test_accounts_have_a_growing_history(written, reading):
    days = defaultdict(set)
    for record in reading.records:
        if record.record_type == "profile":
            days[silver_key(record)].add(record.observed_at[:10])
    assert {day for seen in days.values() for day in seen} == {str(day) for day in WORLD.snapshot_dates}
    assert np.mean([len(seen) == 3 for seen in days.values()]) > 0.8


def test_texts_keep_their_damage_until_silver(reading):
    bios = "".join(record.payload.get("bio", "") for record in reading.records)
    assert "\x00" in bios
    assert "\ud83d" in bios
    assert "\u200f" in bios


def test_a_world_without_junk_reads_without_a_word(tmp_path, read_folder):
    world = World(creators_count=200, junk=Junk.none())
    report = write_world(world, tmp_path / "clean")
    assert report.junk == ()
    assert not read_folder(tmp_path / "clean").entries


def test_links_of_creators_point_at_their_own_accounts_mostly(written, reading):
    truth = truth_rows(written[1])
    owners = {(row["platform"], row["handle"]): row["person_id"] for row in truth.values()}
    own = wrong = 0
    for record in reading.records:
        for url in record.payload.get("links", []):
            platform = next(name for name in ("instagram", "tiktok", "youtube", "x") if f"{name}.com/" in url)
            target = owners.get((platform, url.rsplit("/", 1)[-1].lstrip("@")))
            own += target == truth[silver_key(record)]["person_id"]
            wrong += target not in {None, truth[silver_key(record)]["person_id"]}
    assert own > 10 * wrong > 0


def test_a_delta_changes_its_fraction_and_adds_newcomers(written, tmp_path, read_folder):
    _, truth_folder, _ = written
    report = write_delta(WORLD, tmp_path / "drop", 0.05)
    drop = read_folder(tmp_path / "drop")
    old, new = truth_rows(truth_folder), truth_rows(tmp_path / "drop_truth", "accounts_delta_1.parquet")
    keys = {silver_key(record) for record in drop.records}
    assert set(new) <= keys
    assert not set(new) & set(old)
    assert keys - set(new) <= set(old)
    assert 0.03 < len(keys - set(new)) / len(old) < 0.07
    assert report.creators_count == len({row["person_id"] for row in new.values()}) == 8
    assert {record.observed_at[:10] for record in drop.records} == {str(WORLD.last_date + dt.timedelta(days=1))}
    assert not drop.entries


def test_deltas_repeat_and_differ_by_day(tmp_path):
    world = World(creators_count=200)
    for name, day in (("a", 1), ("b", 1), ("c", 2)):
        write_delta(world, tmp_path / name, 0.1, day=day)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert not set(digests(tmp_path / "a")) & set(digests(tmp_path / "c"))
    first, second = (
        truth_rows(tmp_path / f"{name}_truth", f"accounts_delta_{day}.parquet") for name, day in (("a", 1), ("c", 2))
    )
    assert not {row["person_id"] for row in first.values()} & {row["person_id"] for row in second.values()}
    with pytest.raises(SettingsError):
        write_delta(world, tmp_path / "d", 0.1, day=0)


def test_the_truth_may_not_lie_in_the_input(tmp_path):
    with pytest.raises(SettingsError):
        write_world(World(creators_count=10), tmp_path, truth_folder=tmp_path / "truth")


@pytest.mark.parametrize("count", [1, 2, 10])
def test_tiny_worlds_work(tmp_path, count):
    report = write_world(World(creators_count=count), tmp_path / "tiny")
    assert report.accounts_count >= count
    assert json.loads((tmp_path / "tiny_truth" / "world.json").read_text())["report"]["creators_count"] == count


def test_a_hundred_thousand_accounts_take_seconds():
    world = World(creators_count=38_000)
    started = time.process_time()
    rows = sum(table.num_rows for table in profile_tables(world))
    assert rows > 100_000
    assert time.process_time() - started < 15
