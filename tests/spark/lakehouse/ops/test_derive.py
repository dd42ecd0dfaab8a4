"""Derived tables: only keys that changed in an input are derived anew, and the rows are those of a rebuild."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from assets.steps import STEPS
from lakehouse.contracts.layout import progress_key, table_key
from lakehouse.contracts.tables import ACCOUNTS, DOCS, POSTS
from lakehouse.ops.steps import run_step

pytestmark = pytest.mark.spark
NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEP = next(step for step in STEPS if step.name == DOCS.name)


def _frame(lake, spec, rows):
    schema = lake.spark_schema(spec)
    for field in schema.fields:
        field.nullable = True
    return lake.spark.createDataFrame([tuple(row.get(name) for name in spec.columns) for row in rows], schema)


def _accounts(lake, **names):
    common = {"platform": "youtube", "source_codes": ["test"], "observations_count": 1, "batch_seq": 1}
    times = {"first_seen_at": NOW, "observed_at": NOW}
    rows = [common | times | {"platform_account_id": key, "display_name": name} for key, name in names.items()]
    return _frame(lake, ACCOUNTS, rows)


def _posts(lake, **titles):
    common = {"platform": "youtube", "source_code": "test", "observed_at": NOW, "published_at": NOW}
    times = {"batch_seq": 1, "first_seen_at": NOW, "landed_at": NOW}
    rows = [common | times | {"platform_account_id": k, "post_id": f"p{k}", "title": t} for k, t in titles.items()]
    return _frame(lake, POSTS, rows)


def _run(lake):
    """Texts by account after the step, and the accounts whose rows it wrote."""
    since = lake.state(DOCS.name)
    run_step(STEP, lake, lake.settings, lambda _text: None)
    written = {row.platform_account_id for row in lake.changes(DOCS, since=since).collect()}
    return {row.platform_account_id: row.doc_text for row in lake.read(DOCS).collect()}, written


@pytest.fixture
def built(lake):
    lake.replace(ACCOUNTS, _accounts(lake, a="Ann", b="Bob", c="Cid"))
    assert _run(lake) == ({"a": "Ann", "b": "Bob", "c": "Cid"}, {"a", "b", "c"})
    return lake


def test_only_accounts_that_changed_in_an_input_are_written(built):
    built.upsert(ACCOUNTS, _accounts(built, b="Bea", c="Cid", d="Dan"))
    assert _run(built) == ({"a": "Ann", "b": "Bea", "c": "Cid", "d": "Dan"}, {"b", "d"})


def test_an_input_that_is_written_for_the_first_time_counts_as_changed(built):
    built.upsert(POSTS, _posts(built, a="Cooking", c=None))
    assert _run(built) == ({"a": "Ann. Cooking", "b": "Bob", "c": "Cid"}, {"a"})


def test_rows_of_accounts_that_are_gone_go(built):
    gone = _accounts(built, b="").select("platform", "platform_account_id")
    built.upsert(ACCOUNTS, _accounts(built), of=gone)
    assert _run(built) == ({"a": "Ann", "c": "Cid"}, {"b"})


def test_changes_of_several_nights_are_taken_in_at_once(built):
    built.upsert(ACCOUNTS, _accounts(built, a="Amy"))
    built.upsert(ACCOUNTS, _accounts(built, b="Bea"))
    built.upsert(ACCOUNTS, _accounts(built, a="Ada"))
    assert _run(built) == ({"a": "Ada", "b": "Bea", "c": "Cid"}, {"a", "b"})


def test_a_change_back_and_forth_writes_nothing(built):
    built.upsert(ACCOUNTS, _accounts(built, a="Amy"))
    built.upsert(ACCOUNTS, _accounts(built, a="Ann"))
    assert _run(built) == ({"a": "Ann", "b": "Bob", "c": "Cid"}, set())


def test_an_input_that_was_built_anew_replaces_the_table(built):
    for info in list(built.objects.list(table_key(ACCOUNTS))):
        built.objects.delete(info.key)
    built.spark.catalog.clearCache()
    built.replace(ACCOUNTS, _accounts(built, a="Ann", z="Zoe"))
    texts, written = _run(built)
    assert texts == {"a": "Ann", "z": "Zoe"}
    assert written >= {"z", "b", "c"}


def test_a_run_that_died_before_it_recorded_its_success_is_repeated_to_the_same_rows(built):
    recorded = built.objects.get(progress_key(DOCS.name))
    built.upsert(ACCOUNTS, _accounts(built, b="Bea"))
    _run(built)
    built.objects.replace(progress_key(DOCS.name), recorded)
    assert _run(built) == ({"a": "Ann", "b": "Bea", "c": "Cid"}, set())
