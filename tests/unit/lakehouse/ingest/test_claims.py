"""Which mapping and which layout read a file."""

from __future__ import annotations

import pytest

from lakehouse.ingest.claims import Claim, choose_layout, claim, file_format, is_matched
from lakehouse.ingest.mapping import Mapping, load_mappings, parse_mapping


def mapping_of(body: str, source: str = "acme") -> Mapping:
    return parse_mapping(f"source: {source}\nversion: 1\nobserved_at: landing\nplatform: youtube\n{body}", name="m")


SINGLE = mapping_of("files: 'acme*.csv'\nfields: {handle: User, followers: Fans}\nrequired: [handle]")
SWAPPED = mapping_of(
    "files: '*.csv'\nvariants:\n"
    "- {name: a, fields: {handle: Name, display_name: Title}, ignore: [Rank]}\n"
    "- {name: b, fields: {handle: Title, display_name: Name}, ignore: [Score]}\n"
)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.csv", "deep/er/a.csv", True),
        ("dump/*.csv", "in/dump/A.CSV", True),
        ("dump/*.csv", "dump/a.csv", True),
        ("a?.csv", "b1.csv", False),
        ("ump/*.csv", "in/dump/a.csv", False),
    ],
)
def test_patterns(pattern: str, path: str, *, expected: bool) -> None:
    assert is_matched([pattern], path) is expected


def test_formats() -> None:
    assert [file_format(name) for name in ("a.csv", "a.TSV.gz", "a.ndjson", "a.json", "a.md")] == [
        "csv",
        "tsv",
        "jsonl",
        "json",
        None,
    ]


def test_headers_match_whatever_their_case_and_line_breaks() -> None:
    assert choose_layout(SINGLE, "acme.csv", ["\n USER", "fans\r\n"]).layout is not None


def test_a_single_layout_needs_its_required_columns_only() -> None:
    assert choose_layout(SINGLE, "acme.csv", ["User", "Other"]).layout is not None
    refused = choose_layout(SINGLE, "acme.csv", ["Fans"])
    assert (refused.layout, refused.reason_code, refused.detail) == (
        None,
        "missing_required_column",
        "It has no column for handle.",
    )


@pytest.mark.parametrize(
    ("header", "name", "reason"),
    [
        (["Rank", "Name", "Title"], "a", ""),
        (["Name", "Title", "Score"], "b", ""),
        (["Name", "Title", "Score", "New"], "b", ""),
        (["Name", "Title"], None, "ambiguous_header"),
        (["Name", "Rank"], None, "unknown_header_variant"),
        ([], None, "no_header"),
    ],
)
def test_variants_are_told_apart_by_the_whole_header(header: list[str], name: str | None, reason: str) -> None:
    chosen = choose_layout(SWAPPED, "x.csv", header)
    assert (chosen.layout and chosen.layout.name, chosen.reason_code) == (name, reason)


def test_two_mappings_for_one_name_are_told_apart_by_header() -> None:
    other = mapping_of("files: 'acme*.csv'\nfields: {handle: Account}", source="other")
    assert claim([SINGLE, other], "acme_1.csv", lambda _m: ["Account"]).mapping == other
    assert claim([SINGLE, other], "acme_1.csv", lambda _m: ["Nothing"]).mapping == SINGLE


def test_not_data_and_unclaimed() -> None:
    silent = mapping_of("files: 'x.csv'\nnot_data: '*.yaml'\nfields: {handle: A}")
    assert claim([silent], "deep/x.yaml", lambda _m: ()).is_data is False
    assert claim([silent], "README.md", lambda _m: ()) == Claim()


@pytest.mark.parametrize(
    ("name", "header", "source"),
    [
        ("dump.jsonl", ["platform", "handle", "followers"], "creatorlake_accounts"),
        ("dump.csv", ["platform", "post_id", "account_id", "views", "likes"], "creatorlake_posts"),
        ("dump.csv", ["Platform", "HANDLE", "my column"], "creatorlake_accounts"),
        ("dump.csv", ["handle", "followers"], None),
        ("dump.csv", ["platform", "handle", "a", "b", "c"], None),
        ("dump.parquet", ["platform", "handle"], None),
    ],
)
def test_canonical_headers_claim_any_file(name: str, header: list[str], source: str | None) -> None:
    found = claim(load_mappings(), name, lambda _m: header).mapping
    assert (found.source if found else None) == source
