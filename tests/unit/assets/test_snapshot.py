"""The snapshot step: what of the settings an index is built by."""

from __future__ import annotations

from assets.snapshot import spec_of
from index_build.spec import IndexSpec
from lakehouse.settings import Settings


def test_a_lake_is_indexed_by_default_as_a_file_is():
    assert spec_of(Settings()) == IndexSpec()


def test_the_rows_of_a_shard_are_a_setting():
    spec = spec_of(Settings(index_shard_rows=1_000))
    assert (spec.shards_count(1_000), spec.shards_count(1_001)) == (1, 2)
