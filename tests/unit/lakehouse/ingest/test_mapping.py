"""The grammar of mappings: short forms, inheritance, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.errors import SettingsError
from lakehouse.ingest.mapping import Column, First, Gather, load_mappings, parse_mapping

VENDOR = """
source: acme
version: 1
files: "acme_*.csv"
observed_at: {date: 2022-06-15}
platform: instagram
fields:
  handle: User name
  followers: [Followers, Fans]
  categories: {all: [Topic, {column: Topic, at: 2}]}
"""


def test_short_forms_become_sources() -> None:
    record = parse_mapping(VENDOR, name="acme.yaml").layouts[0].records[0]
    assert record.fields["handle"] == Column(column="User name", at=1)
    assert isinstance(record.fields["followers"], First)
    assert isinstance(record.fields["categories"], Gather)
    assert record.fields["categories"].all[1].at == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("fields:", "feilds:", "unknown key 'feilds', did you mean 'fields'?"),
        ("  handle:", "  handel:", "a profile has no field 'handel', did you mean 'handle'?"),
        (
            "{column: Topic, at: 2}",
            "{colum: Topic}",
            "a value is a header, a list of alternatives, or a block with column",
        ),
        ("at: 2", "att: 2", "did you mean 'at'?"),
        ("platform: instagram", "platform: myspace", "platform 'myspace' is none of instagram, tiktok, youtube, x"),
        ("source: acme", "source: Acme Inc", "source: String should match pattern"),
        ("{date: 2022-06-15}", "{zone: Europe/Paris}", "observed_at is a date, a column or the word landing"),
        ("{date: 2022-06-15}", "{column: day, zone: Mars}", "there is no time zone 'Mars'"),
        ("version: 1", "version: 1\nencoding: utf-9", "there is no encoding 'utf-9'"),
        ('files: "acme_*.csv"', "description: x", "a mapping needs files, or by_header: true"),
        ("handle: User name", "stated_er: ER", "stated_er needs the constant stated_er_unit"),
        ("handle: User name", "handle: {column: A, match: '('}", "is not a regular expression"),
        ("source: acme", "source: [", "is not YAML"),
    ],
)
def test_a_wrong_mapping_is_refused_in_a_sentence(old: str, new: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_mapping(VENDOR.replace(old, new), name="acme.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("Mapping acme.yaml")


def test_variants_inherit_and_lists_add_up() -> None:
    mapping = parse_mapping(
        """
source: acme
version: 2
files: "*.csv"
observed_at: landing
platform: youtube
missing: ["N/A"]
drop: [Gender]
variants:
  - {name: old, fields: {handle: Name}, missing: ["-"]}
  - {name: new, platform: tiktok, fields: {handle: User}, ignore: [Rank]}
""",
        name="acme.yaml",
    )
    old, new = mapping.layouts
    assert (old.records[0].platform, new.records[0].platform) == ("youtube", "tiktok")
    assert (old.missing, new.missing) == (("N/A", "-"), ("N/A",))
    assert (old.drop, new.ignore) == (("Gender",), ("Rank",))


def test_all_shipped_mappings_load_and_a_users_mapping_goes_first(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(VENDOR, encoding="utf-8")
    shipped = [mapping.source for mapping in load_mappings()]
    assert {"hypeauditor", "youtube_trending", "congress", "holodex", "creatorlake_accounts"} <= set(shipped)
    assert [mapping.source for mapping in load_mappings(tmp_path)] == ["acme", *shipped]


def test_a_users_mapping_replaces_the_shipped_one_of_the_same_source(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(VENDOR.replace("source: acme", "source: holodex"), encoding="utf-8")
    found = [mapping for mapping in load_mappings(tmp_path) if mapping.source == "holodex"]
    assert len(found) == 1
    assert found[0].files == ("acme_*.csv",)


def test_two_files_with_one_source_are_refused(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(VENDOR, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"another file of the folder has the source 'acme' too"):
        load_mappings(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load_mappings(tmp_path / "nowhere")
