"""The customer's page names every key, field and reason there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.contracts.payload import POST_FIELDS, PROFILE_FIELDS
from lakehouse.ingest.entries import REASONS
from lakehouse.ingest.mapping import Column, Mapping, parse_mapping

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "ingest.md").read_text(encoding="utf-8")
SELF_EXPLAINING = {"description"}


@pytest.mark.parametrize(
    "name",
    sorted({*REASONS, *PROFILE_FIELDS, *POST_FIELDS, *Mapping.model_fields, *Column.model_fields} - SELF_EXPLAINING),
)
def test_it_is_documented(name: str) -> None:
    assert f"`{name}`" in PAGE or f"{name}:" in PAGE


def test_the_example_is_a_mapping() -> None:
    example = PAGE.split("```yaml\n", 1)[1].split("```", 1)[0]
    assert parse_mapping(example, name="example").source == "acme"
