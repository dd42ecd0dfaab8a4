"""`creatorlake resolve`: files in, files out, errors in one sentence."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.contracts.tables import EDGES
from lakehouse.errors import NotFoundError, PermanentError, SchemaError
from lakehouse.identity import calibration, likeness, local, resolve
from lakehouse.identity.cluster import cluster
from lakehouse.identity.engine import Accounts, find_edges
from lakehouse.identity.ids import ACCOUNT, MEMBER, assign
from lakehouse.identity.model import default_model
from lakehouse.identity.resolve import EDGE_COLUMNS, NO_ID, NO_PLATFORM, OUT, SCRATCH, TWICE, resolve_file
from lakehouse.storage.scratch import passing_folder
from tests.identity_accounts import crowded_people, raw, synthetic_people

ROWS = [
    {"platform": "twitch", "platform_account_id": "007", "handle": "janedoe_art", "display_name": "Jane Doe",
     "links": ["https://facebook.com/jane.doe.art"], "email": "Me@JaneDoe-Art.com", "followers_count": 1200},
    {"platform": "facebook", "platform_account_id": "99", "handle": "jane.doe.art", "display_name": "Jane D.",
     "links": None, "email": "me@janedoe-art.com", "followers_count": 900},
    {"platform": "x", "platform_account_id": "5", "handle": None, "display_name": "Somebody else",
     "links": [], "email": None, "followers_count": None},
]  # fmt: skip


@pytest.fixture(autouse=True)
def _pepper(monkeypatch):
    monkeypatch.setenv("CREATORLAKE_EMAIL_PEPPER", "test-pepper")


def write_csv(path, rows):
    flat = [{**row, "links": json.dumps(row["links"])} if row.get("links") else {**row, "links": ""} for row in rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)
    return path


def write_parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def read(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("write", "suffix"), [(write_csv, ".csv"), (write_parquet, ".parquet")])
def test_files_are_resolved(tmp_path, write, suffix):
    out, edges = tmp_path / f"out/o{suffix}", tmp_path / f"e{suffix}"
    assert resolve_file(write(tmp_path / f"in{suffix}", ROWS), out, edges).creators == 2
    rows, pairs = read(out), read(edges)
    assert list(rows[0]) == OUT.names
    assert [row["platform_account_id"] for row in rows] == ["007", "99", "5"]
    assert rows[0]["creator_id"] == rows[1]["creator_id"] != rows[2]["creator_id"]
    assert all(0 < float(row["confidence"]) <= 1 for row in rows)
    assert list(pairs[0]) == list(EDGE_COLUMNS)
    assert all(float(pair["probability"]) >= 0.01 for pair in pairs)
    assert "Me@JaneDoe" not in str(pairs)


def test_csv_and_parquet_give_the_same_ids(tmp_path):
    for write, suffix in ((write_csv, ".csv"), (write_parquet, ".parquet")):
        resolve_file(write(tmp_path / f"in{suffix}", ROWS), tmp_path / f"o{suffix}")
    ids = [[row["creator_id"] for row in read(tmp_path / f"o{suffix}")] for suffix in (".csv", ".parquet")]
    assert ids[0] == ids[1]


def test_required_columns_are_enough_and_numbers_are_keys_too(tmp_path):
    rows = [{"platform": "mastodon", "platform_account_id": i, "handle": f"user{i}"} for i in range(3)]
    assert resolve_file(write_parquet(tmp_path / "in.parquet", rows), tmp_path / "o.csv").creators == 3


@pytest.mark.parametrize("column", ["handle", "display_name", "links", "website", "email"])
def test_one_column_that_tells_accounts_apart_is_enough(tmp_path, column):
    told = {"handle": "janedoe_art", "display_name": "Jane Doe", "links": ["https://janedoe-art.com"]}
    told |= {"website": "https://janedoe-art.com", "email": "me@janedoe-art.com"}
    rows = [{"platform": name, "platform_account_id": "1", column: told[column]} for name in ("x", "twitch")]
    assert resolve_file(write_parquet(tmp_path / "in.parquet", rows), tmp_path / "o.csv").accounts == 2


def test_columns_of_other_types_are_read_as_text(tmp_path):
    rows = [{"platform": "x", "platform_account_id": 7, "handle": 12, "location": ["Berlin"], "bio": b"hello"}]
    rows = [*rows, {**rows[0], "platform_account_id": 8, "location": None}]
    table = pa.Table.from_pylist(rows).set_column(0, "platform", pa.array(["x", "x"]).dictionary_encode())
    pq.write_table(table, tmp_path / "in.parquet")
    assert resolve_file(tmp_path / "in.parquet", tmp_path / "o.csv").accounts == 2
    assert [row["platform_account_id"] for row in read(tmp_path / "o.csv")] == ["7", "8"]


def test_pairs_join_to_accounts_as_the_input_spells_platforms(tmp_path):
    spelled = [{**row, "platform": row["platform"].title()} for row in ROWS]
    resolve_file(write_csv(tmp_path / "in.csv", spelled), tmp_path / "o.csv", tmp_path / "e.csv")
    keys = {(row["platform"], row["platform_account_id"]) for row in read(tmp_path / "o.csv")}
    pairs = read(tmp_path / "e.csv")
    assert pairs
    assert {(pair[f"{side}_platform"], pair[f"{side}_id"]) for pair in pairs for side in ("left", "right")} <= keys


def test_an_address_in_a_bio_is_a_signal_without_a_column_of_addresses(tmp_path):
    rows = [
        {"platform": name, "platform_account_id": "1", "handle": f"{name}er", "bio": "write me@janedoe-art.com"}
        for name in ("twitch", "facebook")
    ]
    resolve_file(write_parquet(tmp_path / "in.parquet", rows), tmp_path / "o.csv", tmp_path / "e.parquet")
    (pair,) = read(tmp_path / "e.parquet")
    assert "email:shared" in [reason["signal"] for reason in pair["reasons"]]


@pytest.mark.parametrize("count", ["1e300", "-5", "many"])
def test_a_count_that_is_none_is_no_count(tmp_path, count):
    rows = [{**row, "followers_count": count} for row in ROWS]
    assert resolve_file(write_csv(tmp_path / "in.csv", rows), tmp_path / "o.csv").creators == 2


def test_an_empty_file_gives_an_empty_file(tmp_path):
    (tmp_path / "in.csv").write_text("platform,platform_account_id,handle\n", encoding="utf-8")
    assert resolve_file(tmp_path / "in.csv", tmp_path / "o.parquet", tmp_path / "e.parquet").creators == 0
    assert read(tmp_path / "o.parquet") == read(tmp_path / "e.parquet") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("platform,handle\nx,a\n", "lacks the column 'platform_account_id'"),
        (
            "platform,platform_account_id,bio\nx,1,a\n",
            "none of the columns handle, display_name, links, website, email",
        ),
        ("platform,platform_account_id,handle\nx,1,a\nx,2\n", "is no readable CSV"),
        ("", "is no readable CSV"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, text, message):
    (tmp_path / "in.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError, match=message):
        resolve_file(tmp_path / "in.csv", tmp_path / "o.csv")


def test_rows_without_a_key_and_repeated_keys_are_left_out_and_named(tmp_path):
    text = "platform,platform_account_id,handle\nX,1,a\nx,,b\ntwitter,1,c\n,4,d\n  ,5,e\nx, ,f\nx,2,g\nX,1,h\n"
    (tmp_path / "in.csv").write_text(text, encoding="utf-8")
    out, named = tmp_path / "o.parquet", tmp_path / "o.rejected.csv"
    resolved = resolve_file(tmp_path / "in.csv", out)
    assert (resolved.accounts, resolved.rejected) == (2, {NO_ID: 2, TWICE: 2, NO_PLATFORM: 2})
    assert [(row["platform"], row["platform_account_id"]) for row in read(out)] == [("X", "1"), ("x", "2")]
    reasons = [(int(row["row"]), row["reason"]) for row in read(named)]
    assert reasons == [(2, NO_ID), (3, TWICE), (4, NO_PLATFORM), (5, NO_PLATFORM), (6, NO_ID), (8, TWICE)]
    assert read(named)[1]["platform"] == "twitter"
    assert resolve_file(write_csv(tmp_path / "in.csv", ROWS), out).rejected == {}
    assert not named.exists()


def test_a_parquet_that_is_none_is_refused(tmp_path):
    (tmp_path / "in.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(SchemaError, match="is no readable Parquet"):
        resolve_file(tmp_path / "in.parquet", tmp_path / "o.csv")


def test_texts_that_are_none_are_refused(tmp_path):
    ends = pa.array([0, 2], pa.int32()).buffers()[1]
    handle = pa.StringArray.from_buffers(1, ends, pa.py_buffer(b"\xff\xfe"))
    table = pa.table({"platform": ["x"], "platform_account_id": ["1"], "handle": handle})
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(SchemaError, match="is no readable Parquet"):
        resolve_file(tmp_path / "in.parquet", tmp_path / "o.csv")


@pytest.mark.parametrize(
    "links", ['[{"platform": "foo", "target": "\\ud800"}]', '["https://youtube.com/c/\\ud800abc"]', "[" * 100_000, "{}"]
)
def test_links_that_are_none_are_no_error(tmp_path, links):
    rows = [{"platform": "x", "platform_account_id": "1", "links": links}]
    assert resolve_file(write_parquet(tmp_path / "in.parquet", rows), tmp_path / "o.csv").accounts == 1


def test_a_missing_file_and_an_unknown_format_are_refused(tmp_path):
    with pytest.raises(NotFoundError, match="There is no file"):
        resolve_file(tmp_path / "in.csv", tmp_path / "o.csv")
    with pytest.raises(SchemaError, match="must end in"):
        resolve_file(write_csv(tmp_path / "in.csv", ROWS), tmp_path / "o.xlsx")


@pytest.fixture
def many(tmp_path, monkeypatch):
    """A file that two processes share, in several chunks and parts, with rows that are left out among them."""
    people = [person for person, _ in synthetic_people(300, seed=5)]
    rows = [{name: row[name] for name in ("platform", "platform_account_id", "display_name")} for row in people]
    rows = [row | {"handle": person["handle_key"]} for row, person in zip(rows, people, strict=True)]
    rows[40:40] = [rows[3], {**rows[0], "platform": None}]
    monkeypatch.setattr(resolve, "CHUNK_ROWS", 200)
    monkeypatch.setattr(local, "PART_ACCOUNTS", 150)
    monkeypatch.setattr(resolve, "cores", lambda: 2)
    return write_parquet(tmp_path / "in.parquet", rows)


def edges_of(path):
    return sorted(read(path), key=lambda edge: [edge[name] for name in EDGE_COLUMNS[:4]])


def test_all_cores_find_what_one_process_finds(tmp_path, many, monkeypatch):
    resolve_file(many, tmp_path / "o.parquet", tmp_path / "e.parquet", log=lambda _: None)
    monkeypatch.setattr(resolve, "FEW_ROWS", 0)
    lines = []
    resolve_file(many, tmp_path / "o2.parquet", tmp_path / "e2.parquet", log=lines.append)
    assert pq.read_table(tmp_path / "o.parquet").equals(pq.read_table(tmp_path / "o2.parquet"))
    assert edges_of(tmp_path / "e.parquet") == edges_of(tmp_path / "e2.parquet") != []
    assert pq.read_schema(tmp_path / "e.parquet").equals(pq.read_schema(tmp_path / "e2.parquet"))
    assert not (tmp_path / SCRATCH).exists()
    said = " ".join(lines)
    for phase in ("rows read", "rows parsed", "parts counted", "rows prepared", "parts scored", "creators of"):
        assert phase in said


def test_ids_are_those_that_a_first_run_in_the_lake_assigns(tmp_path, many):
    resolve_file(many, tmp_path / "o.parquet")
    table, model = raw([person for person, _ in synthetic_people(300, seed=5)]), default_model()
    accounts, _ = Accounts.of(table)
    edges = pa.concat_tables([EDGES.arrow_schema().empty_table(), *find_edges(table, model)])
    given = pa.table([accounts.platforms, accounts.ids, pa.array([0] * len(accounts.ids), pa.int64())], schema=ACCOUNT)
    members = assign(MEMBER.empty_table(), {}, given, cluster(accounts.graph(edges), model)).members.to_pylist()
    key = ("platform", "platform_account_id", "creator_id")
    assert sorted([row[name] for name in key] for row in read(tmp_path / "o.parquet")) == sorted(
        [row[name] for name in key] for row in members
    )


def test_a_process_that_is_killed_leaves_neither_output_nor_scratch(tmp_path, many, monkeypatch):
    monkeypatch.setattr(resolve, "FEW_ROWS", 0)
    monkeypatch.setattr(resolve, "raw_rows", end)
    with pytest.raises(PermanentError, match="A process was killed"):
        resolve_file(many, tmp_path / "o.parquet")
    assert [path.name for path in tmp_path.iterdir() if path != many] == ["o.rejected.csv"]


def end(_table, *, pepper, fields):
    os.kill(os.getpid(), signal.SIGKILL)


KILLED = """
import os, signal, sys
from pathlib import Path
from lakehouse.identity import resolve
resolve.FEW_ROWS = 0
def log(line):
    if "rows parsed" in line:
        os.kill(os.getpid(), signal.SIGKILL)
resolve.resolve_file(Path(sys.argv[1]), Path(sys.argv[2]), log=log)
"""


def test_after_a_kill_there_is_no_output_and_the_next_run_removes_what_was_left(tmp_path, many):
    ended = subprocess.run([sys.executable, "-c", KILLED, str(many), str(tmp_path / "o.parquet")], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not list(tmp_path.glob("*o.parquet*"))
    (left,) = (tmp_path / SCRATCH).iterdir()
    with passing_folder(tmp_path / SCRATCH) as own:
        assert not left.exists()
        assert own.exists()
    assert not (tmp_path / SCRATCH).exists()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, many):
    def log(line):
        if "rows read" in line:
            write_parquet(many, ROWS)

    with pytest.raises(SchemaError, match="changed while it was read"):
        resolve_file(many, tmp_path / "o.parquet", log=log)


HOMES = {"x": "x.com/", "tiktok": "tiktok.com/@", "instagram": "instagram.com/", "youtube": "youtube.com/@"}


def learned(tmp_path, rows):
    """Resolves a file of some rows; creators as a table."""
    links = [
        [f"https://{HOMES[at]}{to}" for at, to in (one["target"].split(":") for one in row["links"])] for row in rows
    ]
    names = {"platform": "platform", "platform_account_id": "platform_account_id", "handle": "handle_key"}
    columns = {name: [row[own] for row in rows] for name, own in (names | {"display_name": "display_name"}).items()}
    pq.write_table(pa.table(columns | {"links": links}), tmp_path / "accounts.parquet")

    def creators(name, **more):
        out = tmp_path / f"{name}.parquet"
        resolve_file(tmp_path / "accounts.parquet", out, log=lambda _: None, **more)
        return pq.read_table(out)

    return creators


def test_training_finds_more_in_both_ways_alike(tmp_path, monkeypatch):
    """A closed set of rare names: without a label the file itself says that look-alikes are one person's."""
    creators = learned(tmp_path, [row for row, _ in synthetic_people(1_500, seed=12)])
    packaged, trained = creators("packaged"), creators("trained", is_trained=True)
    assert len(trained.column("creator_id").unique()) < len(packaged.column("creator_id").unique())
    monkeypatch.setattr(resolve, "FEW_ROWS", 1)
    assert creators("pool", is_trained=True).equals(trained)


def test_links_teach_in_both_ways_alike(tmp_path, monkeypatch):
    for module, name in ((calibration, "KNOWN_MIN"), (calibration, "PAIRS_MIN"), (likeness, "PAIRS_MIN")):
        monkeypatch.setattr(module, name, 20)
    creators = learned(tmp_path, [row for row, _ in crowded_people(1_000, seed=4)])
    trained = creators("trained", is_trained=True)
    monkeypatch.setattr(resolve, "FEW_ROWS", 1)
    assert creators("pool", is_trained=True).equals(trained)
    monkeypatch.setattr(calibration, "KNOWN_MIN", 10**6)
    assert not creators("by platform", is_trained=True).equals(trained)
