"""Steps: skipped when nothing changed, re-run when an input, the code or the outside changed, repeated after a crash."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lakehouse.contracts.tables import CREATOR_ALIASES
from lakehouse.errors import ContractError
from lakehouse.ops.steps import Report, Step, is_current, last_report, run_step
from lakehouse.storage.lake import Lake


class Recorder:
    """A build function that counts its calls and remembers the cursors it was given."""

    def __init__(self) -> None:
        self.cursors: list[dict[str, object]] = []

    def __call__(self, ctx) -> Report:
        self.cursors.append(ctx.cursor)
        return Report(rows_in=3, rows_out=2, rows_duplicate=1, conserves=True, cursor={"version": len(self.cursors)})


@pytest.fixture
def lake_without_spark(settings):
    return Lake(settings)


def _step(build, **options) -> Step:
    defaults = {"name": "s", "description": "", "group": "g", "inputs": (), "outputs": (), "build": build}
    return Step(**defaults | options)


def _commit(lake: Lake, version: int, said: bytes = b"{}") -> None:
    lake.objects.put_once(f"delta/{CREATOR_ALIASES.name}/_delta_log/{version:020d}.json", said)


def _lose(lake: Lake, version: int) -> None:
    lake.objects.delete(f"delta/{CREATOR_ALIASES.name}/_delta_log/{version:020d}.json")


def test_second_run_is_skipped_and_tells_the_first_numbers(settings, lake_without_spark):
    build = Recorder()
    step = _step(build)
    assert not is_current(step, lake_without_spark, settings)
    assert not run_step(step, lake_without_spark, settings).is_skipped
    again = run_step(step, lake_without_spark, settings)
    assert (again.is_skipped, again.rows_in, again.cursor) == (True, 3, {"version": 1})
    assert len(build.cursors) == 1
    assert is_current(step, lake_without_spark, settings)


def test_a_new_version_of_an_input_runs_the_step_with_its_cursor(settings, lake_without_spark):
    build = Recorder()
    step = _step(build, inputs=(CREATOR_ALIASES.name,))
    _commit(lake_without_spark, 0)
    run_step(step, lake_without_spark, settings)
    _commit(lake_without_spark, 1)
    assert not run_step(step, lake_without_spark, settings).is_skipped
    assert build.cursors == [{}, {"version": 1}]


def test_an_input_that_is_a_step_counts_by_its_recorded_version(settings, lake_without_spark):
    first, second = Recorder(), Recorder()
    source = _step(first, name="source", fingerprint=lambda _lake, _settings: str(len(first.cursors) < 1))
    reader = _step(second, name="reader", inputs=("source",))
    run_step(source, lake_without_spark, settings)
    run_step(reader, lake_without_spark, settings)
    run_step(source, lake_without_spark, settings)
    assert not run_step(reader, lake_without_spark, settings).is_skipped


def test_new_code_starts_without_the_old_cursor(settings, lake_without_spark):
    build = Recorder()
    step = _step(build)
    run_step(step, lake_without_spark, settings)
    run_step(replace(step, code_version="2"), lake_without_spark, settings)
    assert build.cursors == [{}, {}]


def test_a_lost_output_is_built_again_from_nothing(settings, lake_without_spark):
    build = Recorder()
    step = _step(build, outputs=(CREATOR_ALIASES.name,))
    _commit(lake_without_spark, 0)
    run_step(step, lake_without_spark, settings)
    _lose(lake_without_spark, 0)
    assert not is_current(step, lake_without_spark, settings)
    assert not run_step(step, lake_without_spark, settings).is_skipped
    assert build.cursors == [{}, {}]


def test_an_input_that_was_built_again_is_another_one_at_the_same_version(settings, lake_without_spark):
    step = _step(Recorder(), inputs=(CREATOR_ALIASES.name,))
    _commit(lake_without_spark, 0, b'{"commitInfo": {"txnId": "a"}}')
    run_step(step, lake_without_spark, settings)
    _lose(lake_without_spark, 0)
    _commit(lake_without_spark, 0, b'{"commitInfo": {"txnId": "b"}}')
    assert not is_current(step, lake_without_spark, settings)


def test_a_lost_table_that_others_write_too_is_lost_for_all(settings, lake_without_spark):
    build = Recorder()
    step = _step(build, shared=(CREATOR_ALIASES.name,))
    _commit(lake_without_spark, 0)
    run_step(step, lake_without_spark, settings)
    assert is_current(step, lake_without_spark, settings)
    _lose(lake_without_spark, 0)
    run_step(step, lake_without_spark, settings)
    assert build.cursors == [{}, {}]


def test_lost_objects_are_noticed(settings, lake_without_spark):
    step = _step(Recorder(), is_intact=lambda lake, cursor: lake.objects.exists(f"made/{cursor['version']}"))
    lake_without_spark.objects.put_once("made/1", b"")
    run_step(step, lake_without_spark, settings)
    assert is_current(step, lake_without_spark, settings)
    lake_without_spark.objects.delete("made/1")
    assert not is_current(step, lake_without_spark, settings)


def test_a_failed_step_leaves_no_progress(settings, lake_without_spark):
    def fail(_ctx):
        raise ContractError("bad")

    with pytest.raises(ContractError):
        run_step(_step(fail), lake_without_spark, settings)
    assert last_report(_step(fail), lake_without_spark) is None


def test_imbalances_name_the_source():
    counts = {"a": {"in": 2, "out": 2}, "b": {"in": 3, "out": 1, "quarantined": 1}}
    report = Report(rows_in=5, rows_out=3, rows_quarantined=1, conserves=True, by_source=counts)
    assert report.imbalances() == {"all": 1, "b": 1}
    assert Report(rows_in=5).imbalances() == {}
