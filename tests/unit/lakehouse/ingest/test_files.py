"""One file into records and entries: every trap leaves a trace, and counts conserve (checked in `read`)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from ingest_factories import LANDED_AT, acme, read

from lakehouse.ingest.entries import RAW_VALUE_CHARS
from lakehouse.ingest.mapping import parse_mapping


def test_a_clean_file(tmp_path: Path) -> None:
    source, records, entries = read(tmp_path, "Rank,User,Name,Fans\r\n1,ann,Ann,1.2M\r\n2,bob,,N/A\r\n")
    assert [record.payload for record in records] == [
        {"handle": "ann", "display_name": "Ann", "followers": "1.2M"},
        {"handle": "bob"},
    ]
    assert [record.line_number for record in records] == [2, 3]
    assert {(record.platform, record.record_type, record.observed_at) for record in records} == {
        ("instagram", "profile", "2022-06-15T00:00:00Z")
    }
    assert (source.counts.rows_in, entries) == (2, [])


def test_unknown_headers_are_noted_and_rescued(tmp_path: Path) -> None:
    _, records, entries = read(tmp_path, "User,Name,Fans,New,New\nann,Ann,1,x,y\nbob,Bob,2,,z\n")
    assert [record.payload.get("_rescued") for record in records] == [{"New": "x", "New#2": "y"}, {"New#2": "z"}]
    assert [(entry.reason_code, entry.field_name, entry.rows_count) for entry in entries] == [
        ("unknown_header", "New", 0),
        ("unknown_header", "New", 0),
    ]


def test_a_missing_column_is_noted_and_a_required_one_withholds_the_file(tmp_path: Path) -> None:
    _, records, entries = read(tmp_path, "User,Name\nann,Ann\n")
    assert ([entry.reason_code for entry in entries], len(records)) == (["missing_column"], 1)
    source, records, entries = read(tmp_path, "Name,Fans\nAnn,1\nBob,2\n")
    assert ([(entry.reason_code, entry.rows_count) for entry in entries], records) == (
        [("missing_required_column", 2)],
        [],
    )
    assert source.counts.rows_in == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b",,\n", "empty_row"),
        (b"ann,Ann\n", "wrong_column_count"),
        (b"ann,Ann,\xff\n", "bad_encoding"),
        (b" , ,1\n", "no_account_key"),
    ],
)
def test_a_bad_row_is_stopped_with_its_line(tmp_path: Path, line: bytes, reason: str) -> None:
    _, records, entries = read(tmp_path, b'User,Name,Fans\n"a\nb",A,1\n' + line + b"bob,Bob,2\n")
    assert [(entry.reason_code, entry.line_number, entry.rows_count) for entry in entries] == [(reason, 4, 1)]
    assert [record.line_number for record in records] == [2, 5]
    assert entries[0].raw_value == line.decode("utf-8", "backslashreplace")


def test_dropped_columns_are_neither_landed_nor_shown(tmp_path: Path) -> None:
    text = "User,Name,Fans, GENDER\nann,Ann,1,secret1\n,,5,secret2\nbob,Bob,secret3\n"
    _, records, entries = read(tmp_path, text)
    assert records[0].payload == {"handle": "ann", "display_name": "Ann", "followers": "1"}
    assert [entry.reason_code for entry in entries] == ["no_account_key", "wrong_column_count"]
    assert "secret" not in repr(records) + repr(entries)
    assert json.loads(entries[0].raw_value or "") == {"User": "", "Name": "", "Fans": "5"}


def test_every_spelling_of_a_dropped_column_is_dropped(tmp_path: Path) -> None:
    text = "User,Name,Fans,Gender,GENDER, gender\nann,Ann,1,secret1,secret2,secret3\n,,5,secret4,secret5,secret6\n"
    _, records, entries = read(tmp_path, text)
    assert [entry.reason_code for entry in entries] == ["no_account_key"]
    assert "secret" not in repr(records) + repr(entries)


def test_dropped_keys_of_json_are_cut_along_their_path_whatever_their_case(tmp_path: Path) -> None:
    mapping = acme(**{"[Gender]": "[author.gender, Party]", "User,": "author.name,", "[Rank]": "[Rank, team]"})
    lines = [
        {"author": {"name": "ann", "Gender": "secret"}, "PARTY": "secret", "new": 1},
        {"AUTHOR": [{"GENDER": "secret", "age": 5}], "author.name": "bob", "author.gender": "secret"},
        {"author": {"gender": "secret"}, "Fans": 7},
        ["gender", "secret"],
    ]
    text = "\n".join([*map(json.dumps, lines), '{"author": {"gender": "secret", "name": '])
    _, records, entries = read(tmp_path, text, mapping, name="acme.jsonl")
    assert [record.payload for record in records] == [
        {"handle": "ann", "_rescued": {"new": "1"}},
        {"handle": "bob", "_rescued": {"AUTHOR": [{"age": "5"}]}},
    ]
    assert "secret" not in repr(records) + repr(entries)
    stopped = {entry.reason_code: entry.raw_value or "" for entry in entries if entry.rows_count}
    assert json.loads(stopped["no_account_key"]) == {"author": {}, "Fans": "7"}
    assert stopped["not_an_object"].startswith("withheld: ")
    assert stopped["bad_json"].startswith("withheld: ")


def test_a_damaged_tail_that_may_hold_a_dropped_column_is_withheld(tmp_path: Path) -> None:
    rows = "".join(f"user{number},N,{number},secret{number * 7919 % 10007}\n" for number in range(5000))
    data = gzip.compress(f"User,Name,Fans,Gender\n{rows}".encode())
    _, _, entries = read(tmp_path, data[: len(data) // 2], name="acme.csv.gz")
    assert entries[-1].reason_code == "damaged_gzip"
    assert "secret" not in repr(entries)


def test_unknown_keys_inside_known_objects_are_noted_and_rescued(tmp_path: Path) -> None:
    mapping = acme(**{"User,": "author.name,", "Fans}": "author.stats.fans}", "[Rank]": "[author.rank]"})
    author = {"name": "ann", "rank": 1, "stats": {"fans": 2, "hearts": 3, "none": None}, "extra": {"a": {"b": 4}}}
    _, records, entries = read(tmp_path, json.dumps([{"author": author}] * 2), mapping, name="acme.json")
    rescued = {"author.stats.hearts": "3", "author.extra": {"a": {"b": "4"}}}
    assert [record.payload for record in records] == [{"handle": "ann", "followers": "2", "_rescued": rescued}] * 2
    assert [(entry.reason_code, entry.field_name) for entry in entries] == [
        ("unknown_header", "author.stats.hearts"),
        ("unknown_header", "author.extra"),
    ]


def test_contact_data_in_an_entry_is_masked_before_it_is_cut(tmp_path: Path) -> None:
    address = "ana@example.com"
    _, _, entries = read(tmp_path, f"User,Name,Fans\n,,write to {address} or +34 612 345 678\n")
    assert entries[0].raw_value == ",,write to [email] or [phone]\n"
    _, _, entries = read(tmp_path, f"User,Name,Fans\n,,{'x' * (RAW_VALUE_CHARS - 10)} {address} {'x' * 99}\n")
    assert "[email]" in (entries[0].raw_value or "")
    assert "ana@" not in (entries[0].raw_value or "")


def test_nul_emoji_right_to_left_and_surrogates_are_kept(tmp_path: Path) -> None:
    name = "a\0b 🤷🏻 שלום"
    data = f"User,Name,Fans\nann,{name},1\n".encode() + b"bob,\xed\xa0\x80,2\n"
    _, records, _ = read(tmp_path, data)
    assert [record.payload["display_name"] for record in records] == [name, "\ud800"]


def test_an_overlong_value_is_cut_in_the_entry_only(tmp_path: Path) -> None:
    _, _, entries = read(tmp_path, "User,Name,Fans\n" + "x" * 9999 + "\n")
    shown = entries[0].raw_value or ""
    assert RAW_VALUE_CHARS < len(shown) < RAW_VALUE_CHARS + 200
    assert "10000 bytes, sha256" in shown


def test_truncated_gzip_lands_what_came_before(tmp_path: Path) -> None:
    rows = "".join(f"user{number},N {number * 7919 % 10007},{number}\n" for number in range(5000))
    data = gzip.compress(f"User,Name,Fans\n{rows}".encode())
    source, records, entries = read(tmp_path, data[: len(data) // 2], name="acme.csv.gz")
    assert 0 < len(records) < 5000
    assert entries[-1].reason_code == "damaged_gzip"
    assert source.counts.rows_in == len(records) + entries[-1].rows_count


@pytest.mark.parametrize("name", ["acme.csv", "acme.json", "acme.jsonl", "acme.csv.gz"])
def test_empty_files(tmp_path: Path, name: str) -> None:
    source, _, entries = read(tmp_path, b"", name=name)
    assert [entry.reason_code for entry in entries] == ["empty_file"]
    assert source.counts.rows_in == 0


def test_fallback_encoding_is_noted_once(tmp_path: Path) -> None:
    mapping = acme(**{"version: 1": "version: 1\nencoding: [utf-8, cp1252]"})
    _, records, entries = read(tmp_path, b"User,Name,Fans\nann,\xe4,1\nbob,\xf6,1\n", mapping)
    assert [record.payload["display_name"] for record in records] == ["ä", "ö"]
    assert [(entry.reason_code, entry.detail) for entry in entries] == [("fallback_encoding", "2 rows are concerned.")]


OBSERVED = {"{date: 2022-06-15}": '[{column: Day, format: "%d/%m/%Y"}, landing]'}


def test_observed_at_from_a_column_with_a_fallback(tmp_path: Path) -> None:
    text = "User,Name,Fans,Day\nann,Ann,1,16/06/2022\nbob,Bob,1,\ncid,Cid,1,soon\ndan,Dan,1,31/12/9999\n"
    _, records, entries = read(tmp_path, text, acme(**OBSERVED))
    assert [record.observed_at for record in records] == ["2022-06-16T00:00:00Z", LANDED_AT]
    assert [(entry.reason_code, entry.line_number, entry.field_name) for entry in entries] == [
        ("bad_observed_at", 4, "observed_at"),
        ("bad_observed_at", 5, "observed_at"),
    ]


def test_a_declared_date_that_cannot_be_stops_every_row(tmp_path: Path) -> None:
    for day in ("9999-12-31", "1999-01-01", "2024-01-04"):
        _, records, entries = read(tmp_path, "User,Name,Fans\nann,Ann,1\n", acme(**{"2022-06-15": day}))
        assert (records, [entry.reason_code for entry in entries]) == ([], ["bad_observed_at"])


SEVERAL = """
source: acme
version: 1
files: "acme*"
observed_at: {date: 2022-06-15}
records:
  - {type: post, platform: youtube, fields: {post_id: video, account_id: channel}}
  - {platform: youtube, fields: {platform_account_id: channel}, links: [{platform: x, target: twitter}, {urls: site}]}
  - {platform: x, optional: true, fields: {handle: twitter}, links: [{platform: youtube, target: channel}]}
"""


def test_one_row_may_give_several_records(tmp_path: Path) -> None:
    text = "video,channel,twitter,site\nv1,UC1,ann,https://a.example\nv2,UC2,,\n,UC3,,\n,,,\n,,,x\n"
    source, records, entries = read(tmp_path, text, acme(SEVERAL))
    made = [(record.record_type, record.platform, record.line_number) for record in records]
    assert made[:3] == [("post", "youtube", 2), ("profile", "youtube", 2), ("profile", "x", 2)]
    assert made[3:] == [("post", "youtube", 3), ("profile", "youtube", 3), ("profile", "youtube", 4)]
    assert records[1].payload["links"] == [{"platform": "x", "target": "ann"}, "https://a.example"]
    assert records[2].payload == {"handle": "ann", "links": [{"platform": "youtube", "target": "UC1"}]}
    assert "links" not in records[4].payload
    assert [(entry.reason_code, entry.line_number) for entry in entries] == [
        ("record_without_key", 4),
        ("empty_row", 5),
        ("no_account_key", 6),
    ]
    assert (source.counts.rows_in, source.counts.rows_landed) == (5, 3)


def test_a_name_alone_makes_no_record_that_needs_more(tmp_path: Path) -> None:
    mapping = """
source: acme
version: 1
files: "acme*"
observed_at: {date: 2022-06-15}
records:
  - {platform: x, optional: true, needs: handle, fields: {handle: x, display_name: name}}
  - {platform: tiktok, optional: true, needs: handle, fields: {handle: tiktok, display_name: name}}
"""
    _, records, entries = read(tmp_path, "name,x,tiktok\nAnn,ann,\nBob,,\n", acme(mapping))
    assert [(record.platform, record.payload) for record in records] == [
        ("x", {"handle": "ann", "display_name": "Ann"})
    ]
    assert [(entry.reason_code, entry.line_number) for entry in entries] == [("no_account_key", 3)]


CANONICAL = {"platform: instagram": "platform: {column: platform, values: {twitter: x}}"}


def test_json_lines_with_nesting_unknown_keys_and_platforms(tmp_path: Path) -> None:
    lines = [
        {"platform": "Twitter", "User": "ann", "Fans": 12, "extra": {"deep": [1]}},
        {"platform": "vine", "User": "bob"},
        {"platform": "x", "Fans": 1},
        {"platform": "x", "User": "\ud800", "extra": 1, "Gender": "secret"},
    ]
    text = "\n".join([json.dumps(line) for line in lines] + ["{", "[]", '{"Gender": "secret"'])
    _, records, entries = read(tmp_path, text, acme(**CANONICAL), name="acme.jsonl")
    assert [(record.platform, record.payload) for record in records] == [
        ("x", {"handle": "ann", "followers": "12", "_rescued": {"extra": {"deep": ["1"]}}}),
        ("x", {"handle": "\ud800", "_rescued": {"extra": "1"}}),
    ]
    assert [(entry.reason_code, entry.line_number) for entry in entries] == [
        ("unknown_header", 1),
        ("unknown_platform", 2),
        ("no_account_key", 3),
        ("bad_json", 5),
        ("not_an_object", 6),
        ("bad_json", 7),
    ]
    assert entries[1].field_name == "vine"
    assert "secret" not in repr(entries)


def test_a_value_may_be_required_of_some_records(tmp_path: Path) -> None:
    text = """
source: acme
version: 1
files: "acme*"
observed_at: {date: 2022-06-15}
platform: instagram
required_if:
  - {column: stats, fields: [followers]}
  - {column: stats.hidden, value: "false", fields: [views]}
fields:
  handle: user
  followers: stats.fans
  views: {column: stats.seen, unless: {stats.hidden: "true"}}
"""
    rows = [
        {"user": "a"},
        {"user": "b", "stats": {"fans": 1}},
        {"user": "c", "stats": {"fans": 1, "hidden": False, "seen": 2}},
        {"user": "d", "stats": {"fans": 1, "hidden": True, "seen": 0}},
        {"user": "e", "stats": {"seen": 3}},
        {"user": "f", "stats": {"fans": 1, "hidden": False}},
    ]
    content = "\n".join(json.dumps(row) for row in rows)
    _, records, entries = read(tmp_path, content, parse_mapping(text, name="acme"), "acme.jsonl")
    assert [record.payload["handle"] for record in records] == ["a", "b", "c", "d"]
    assert [record.payload.get("views") for record in records] == [None, None, "2", None]
    assert [(entry.line_number, entry.field_name) for entry in entries] == [(5, "followers"), (6, "views")]


def test_a_required_value_is_judged_by_record_in_json(tmp_path: Path) -> None:
    _, records, entries = read(tmp_path, '[{"User": "ann"}, {"Name": "Bob"}]', name="acme.json")
    assert len(records) == 1
    assert [(entry.reason_code, entry.field_name) for entry in entries] == [("missing_required_value", "handle")]


def test_a_wrong_header_row_withholds_its_rows(tmp_path: Path) -> None:
    _, _, entries = read(tmp_path, b"Us\xffer,Name\nann,Ann\n")
    assert [(entry.reason_code, entry.rows_count) for entry in entries] == [("no_header", 1)]


def test_a_dropped_object_goes_whole_though_a_part_of_it_is_named_too(tmp_path: Path) -> None:
    mapping = acme(**{"[Gender]": "[author.gender, author]"})
    _, records, _ = read(tmp_path, '[{"User": "ann", "Author": {"gender": "secret", "age": 5}}]', mapping, "acme.json")
    assert [record.payload for record in records] == [{"handle": "ann"}]
