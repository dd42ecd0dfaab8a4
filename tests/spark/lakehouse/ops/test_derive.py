"""Derived tables: only keys that changed in an input are derived anew, and the rows are those of a rebuild."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from assets.steps import STEPS
from lakehouse.contracts.layout import progress_key, table_key
from lakehouse.contracts.tables import ACCOUNTS, DOCS, POSTS
from lakehouse.ops.steps import run_step
from lakehouse.storage.keys import Keys

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
    lake.settings = lake.settings.model_copy(update={"small_table_mib": 0})
    lake.replace(ACCOUNTS, _accounts(lake, a="Ann", b="Bob", c="Cid"))
    assert _run(lake) == ({"a": "Ann", "b": "Bob", "c": "Cid"}, {"a", "b", "c"})
    return lake


def test_night_by_night_only_accounts_that_changed_in_an_input_are_written(built):
    built.upsert(ACCOUNTS, _accounts(built, b="Bea", c="Cid", d="Dan"))
    assert _run(built) == ({"a": "Ann", "b": "Bea", "c": "Cid", "d": "Dan"}, {"b", "d"})
    built.append(POSTS, _posts(built, a="Cooking", c=None), batch_seq=1)  # an input written for the first time
    built.upsert(
        ACCOUNTS, _accounts(built), of=Keys.of_frame(_accounts(built, b="").select("platform", "platform_account_id"))
    )
    # the post of c says nothing, but tells of which form its content is
    assert _run(built) == ({"a": "Ann. Cooking", "c": "Cid", "d": "Dan"}, {"a", "b", "c"})


def test_changes_of_several_nights_are_taken_in_at_once_and_again_after_a_death(built):
    built.upsert(ACCOUNTS, _accounts(built, a="Amy", c="Cat"))
    built.upsert(ACCOUNTS, _accounts(built, b="Bea", c="Cid"))  # c back and forth: nothing to write
    recorded = built.objects.get(progress_key(DOCS.name))
    assert _run(built) == ({"a": "Amy", "b": "Bea", "c": "Cid"}, {"a", "b"})
    built.objects.replace(progress_key(DOCS.name), recorded)
    assert _run(built) == ({"a": "Amy", "b": "Bea", "c": "Cid"}, set())


def test_an_input_that_was_built_anew_replaces_the_table(built):
    for info in list(built.objects.list(table_key(ACCOUNTS))):
        built.objects.delete(info.key)
    built.spark.catalog.clearCache()
    built.replace(ACCOUNTS, _accounts(built, a="Ann", z="Zoe"))
    texts, written = _run(built)
    assert texts == {"a": "Ann", "z": "Zoe"}
    assert written >= {"z", "b", "c"}


def test_a_small_table_is_derived_whole(built):
    built.settings = built.settings.model_copy(update={"small_table_mib": 1})
    built.upsert(ACCOUNTS, _accounts(built, b="Bea"))
    assert _run(built) == ({"a": "Ann", "b": "Bea", "c": "Cid"}, {"a", "b", "c"})


def test_many_rows_of_few_bytes_are_no_small_table(built, monkeypatch):
    monkeypatch.setattr("lakehouse.storage.lake.SMALL_ROWS", 2)
    built.settings = built.settings.model_copy(update={"small_table_mib": 1})
    built.upsert(ACCOUNTS, _accounts(built, b="Bea"))
    assert _run(built) == ({"a": "Ann", "b": "Bea", "c": "Cid"}, {"b"})


def test_where_most_keys_changed_the_table_is_replaced(built, monkeypatch):
    monkeypatch.setattr("lakehouse.ops.derive.FEW_ROWS", 1)
    built.upsert(ACCOUNTS, _accounts(built, b="Bea", c="Cat"))
    assert _run(built) == ({"a": "Ann", "b": "Bea", "c": "Cat"}, {"a", "b", "c"})
    built.upsert(ACCOUNTS, _accounts(built, b="Bob"))
    assert _run(built) == ({"a": "Ann", "b": "Bob", "c": "Cat"}, {"b"})
