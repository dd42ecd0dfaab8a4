"""The registry is consistent: names follow the convention, keys are columns, schemas derive."""

from __future__ import annotations

import re

import pytest

from lakehouse.contracts.fields import FIELDS
from lakehouse.contracts.layout import Layout, batch_key, table_key
from lakehouse.contracts.tables import TABLES

NAME = re.compile(r"^_?(bronze|silver|gold|ops)_[a-z]+__[a-z_]+$")


@pytest.mark.parametrize("spec", TABLES.values(), ids=lambda spec: spec.name)
def test_table_follows_the_conventions(spec):
    assert NAME.match(spec.name)
    assert len(set(spec.columns)) == len(spec.columns)
    assert set(spec.key) | set(spec.required) | set(spec.partition_by) <= set(spec.columns)
    assert spec.description
    schema = spec.arrow_schema()
    assert schema.names == list(spec.columns)
    assert {field.name for field in schema if not field.nullable} == spec.not_null


def test_every_field_is_used_and_described():
    used = {name for spec in TABLES.values() for name in spec.columns}
    assert set(FIELDS) == used
    assert all(field.description for field in FIELDS.values())


@pytest.mark.parametrize("field", FIELDS.values(), ids=lambda field: field.name)
def test_units_go_with_suffixes(field):
    if field.name.endswith("_count"):
        assert field.unit, field.name
    if field.name.startswith(("is_", "has_")):
        assert str(field.type) == "bool"
    if field.name.endswith("_at"):
        assert str(field.type) == "timestamp[us, tz=UTC]"


def test_layout_maps_names_to_places():
    spec = TABLES["silver_core__accounts"]
    assert table_key(spec) == "delta/silver_core__accounts"
    assert Layout("/lake").table_uri(spec) == "file:///lake/delta/silver_core__accounts"
    assert Layout("s3://b/p").table_uri(spec) == "s3a://b/p/delta/silver_core__accounts"
    assert batch_key(7) < batch_key(10)
