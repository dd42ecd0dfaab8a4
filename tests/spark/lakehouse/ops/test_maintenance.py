"""Upkeep keeps the rows, is safe beside readers, and is no news to the steps downstream."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lakehouse.contracts.tables import CREATOR_ALIASES as SPEC
from lakehouse.ops.maintenance import SMALL_FILES_MAX, maintain, read_health, table_health

pytestmark = pytest.mark.spark
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WRITES = SMALL_FILES_MAX + 2


def _write(lake, *aliases):
    rows = [(alias, "creator", "merge", NOW) for alias in aliases]
    return lake.spark.createDataFrame(rows, lake.spark_schema(SPEC)).coalesce(1)


@pytest.fixture
def full(lake):
    lake.append(
        SPEC, _write(lake, *(f"a{at}" for at in range(WRITES))).repartitionByRange(WRITES, "alias_id"), batch_seq=1
    )
    return lake


def _content(lake, version=None):
    return sorted(row.alias_id for row in lake.read(SPEC, version=version).collect())


def test_small_files_are_put_together_and_nobody_sees_other_rows(full):
    before, state, version = _content(full), full.state(SPEC.name), full.version(SPEC.name)
    health = maintain(full, SPEC)
    assert (health["compacted"], health["files"], health["rows"]) == (WRITES, 1, WRITES)
    assert full.version(SPEC.name) > version
    assert full.state(SPEC.name) == state
    assert _content(full) == before
    assert _content(full, version=version) == before
    assert list(read_health(full.objects)) == [health]
    assert maintain(full, SPEC)["compacted"] == 0


def test_rows_that_were_changed_leave_the_files(full):
    maintain(full, SPEC)
    rows = [("a0", "another", "merge", NOW)]
    full.upsert(SPEC, full.spark.createDataFrame(rows, full.spark_schema(SPEC)))
    assert (table_health(full, SPEC)["rows"], table_health(full, SPEC)["removed_rows"]) == (WRITES, 1)
    before = _content(full)
    health = maintain(full, SPEC)
    assert (health["compacted"] > 0, health["rows"], health["removed_rows"]) == (True, WRITES, 0)
    assert _content(full) == before


def test_a_write_after_upkeep_is_news(full):
    state = full.state(SPEC.name)
    maintain(full, SPEC)
    full.append(SPEC, _write(full, "b"), batch_seq=WRITES)
    assert full.state(SPEC.name) != state


def test_vacuum_removes_only_what_no_version_of_the_time_names(full):
    maintain(full, SPEC)
    assert sum(1 for info in full.objects.list(f"delta/{SPEC.name}") if info.key.endswith(".parquet")) > 1


@pytest.mark.usefixtures("no_retention")
def test_f21_a_reader_of_a_vacuumed_version_gets_an_error_that_names_the_file(full):
    # a large table's reader comes back for its files
    full.settings = full.settings.model_copy(update={"small_table_mib": 0, "vacuum_hours": 0})
    old = full.read(SPEC, version=full.version(SPEC.name))
    health = maintain(full, SPEC)
    assert health["vacuumed"] == WRITES
    assert len(_content(full)) == WRITES
    with pytest.raises(Exception, match=r"(?s)part-.*\.parquet") as raised:
        old.collect()
    assert "FILE_NOT_EXIST" in str(raised.value) or "does not exist" in str(raised.value)


def test_a_table_that_was_never_written_has_nothing_to_maintain(lake):
    assert maintain(lake, SPEC)["version"] == -1
    lake.append(SPEC, _write(lake, "a"), batch_seq=1)
    health = table_health(lake, SPEC)
    assert (health["rows"], health["files"], health["small_files"], health["version"]) == (1, 1, 1, 0)
