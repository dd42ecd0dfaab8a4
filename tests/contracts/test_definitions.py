"""Dagster's definitions load without side effects and mirror the list of steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dagster import AssetKey, Definitions

from assets.checks import CONSERVATION, EXPECTED, STRUCTURE, checks_for
from assets.names import SHARDS
from assets.steps import STEPS, with_code_below
from jobs.definitions import build_defs
from lakehouse.contracts.tables import TABLES


@pytest.fixture(scope="module")
def defs():
    return build_defs()


def test_definitions_are_loadable(defs):
    Definitions.validate_loadable(defs)


def test_every_table_has_one_step_and_every_step_an_asset(defs):
    written = [name for step in STEPS for name in step.outputs]
    assert len(written) == len(set(written))
    assert set(written) == set(TABLES)
    keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert {key for key in keys if not key.startswith("maintenance/")} == {
        *(name for step in STEPS for name in step.outputs or (step.name,)),
        SHARDS,
    }
    assert {key.removeprefix("maintenance/") for key in keys if key.startswith("maintenance/")} == {
        *TABLES,
        "erasure",
        "retention",
    }


def test_a_table_is_maintained_under_its_writers_pool(defs):
    graph = defs.resolve_asset_graph()
    for step in STEPS:
        for name in step.outputs:
            assert graph.get(AssetKey(["maintenance", name])).pools == graph.get(AssetKey(name)).pools


def test_steps_stand_in_dependency_order():
    seen: set[str] = set()
    for step in STEPS:
        assert set(step.inputs) <= seen, step.name
        seen |= {step.name, *step.outputs}


def test_new_code_makes_everything_derived_from_it_stale():
    raised = "silver_enrich__embeddings"
    changed = with_code_below(tuple(replace(s, code_version="2") if s.name == raised else s for s in STEPS))
    same = with_code_below(STEPS)
    stale = {new.name for new, old in zip(changed, same, strict=True) if new.code_version != old.code_version}
    assert {raised, "silver_enrich__niches", "gold_creator__search_docs", "index_snapshot"} <= stale
    assert not {"raw_landing", "silver_core__accounts", "silver_identity__edges"} & stale


def test_assets_are_described_grouped_and_have_a_writer_pool(defs):
    graph = defs.resolve_asset_graph()
    for step in STEPS:
        node = graph.get(AssetKey(step.name))
        assert node.description
        assert node.group_name == step.group
        assert node.pools == {f"delta_{step.name}"}


def test_structure_and_conservation_block_and_expectations_warn():
    specs = [spec for step in STEPS for spec in checks_for(step).check_specs]
    assert {spec.name for spec in specs if spec.blocking} == {STRUCTURE, CONSERVATION}
    assert {spec.name for spec in specs if not spec.blocking} == {EXPECTED}


def test_tables_have_a_structure_check_and_steps_one_of_their_counts(defs):
    graph = defs.resolve_asset_graph()
    for name in TABLES:
        checks = {key.name for key in graph.get_check_keys_for_assets({AssetKey(name)})}
        assert "structure" in checks, name
    for step in STEPS:
        checks = {key.name for key in graph.get_check_keys_for_assets({AssetKey(step.name)})}
        assert "conservation" in checks, step.name


def test_schedules_do_not_name_unknown_jobs(defs):
    jobs = {job.name for job in defs.jobs}
    assert {"nightly", "hourly"} <= jobs
    assert {schedule.job_name for schedule in defs.schedules} <= jobs
