"""`creatorlake resolve`: files in, files out, errors in one sentence."""

from __future__ import annotations

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.errors import NotFoundError, SchemaError
from lakehouse.identity.resolve import EDGE_COLUMNS, OUT, resolve_file

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
    assert resolve_file(write(tmp_path / f"in{suffix}", ROWS), out, edges) == 2
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
    assert resolve_file(write_parquet(tmp_path / "in.parquet", rows), tmp_path / "o.csv") == 3


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
    assert resolve_file(write_csv(tmp_path / "in.csv", rows), tmp_path / "o.csv") == 2


def test_an_empty_file_gives_an_empty_file(tmp_path):
    (tmp_path / "in.csv").write_text("platform,platform_account_id,handle\n", encoding="utf-8")
    assert resolve_file(tmp_path / "in.csv", tmp_path / "o.parquet", tmp_path / "e.parquet") == 0
    assert read(tmp_path / "o.parquet") == read(tmp_path / "e.parquet") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("platform,handle\nx,a\n", "lacks the column 'platform_account_id'"),
        ("platform,platform_account_id,handle\nx,1,a\nx,1,b\n", r"the account \(x, 1\) 2 times"),
        ("platform,platform_account_id,handle\nx,1,a\nx,,b\n", "no platform_account_id in row 2"),
        ("platform,platform_account_id,handle\nX,1,a\ntwitter,1,b\n", r"the account \(x, 1\) 2 times"),
        ("", "is no readable CSV"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, text, message):
    (tmp_path / "in.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError, match=message):
        resolve_file(tmp_path / "in.csv", tmp_path / "o.csv")


def test_a_missing_file_and_an_unknown_format_are_refused(tmp_path):
    with pytest.raises(NotFoundError, match="There is no file"):
        resolve_file(tmp_path / "in.csv", tmp_path / "o.csv")
    with pytest.raises(SchemaError, match="must end in"):
        resolve_file(write_csv(tmp_path / "in.csv", ROWS), tmp_path / "o.xlsx")
