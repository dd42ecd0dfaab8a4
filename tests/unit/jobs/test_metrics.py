"""The metrics file: what the fetch queue and the budgets say of themselves."""

from __future__ import annotations

from pathlib import Path

from dagster import DagsterInstance
from prometheus_client.parser import text_string_to_metric_families

from jobs.metrics import write_metrics
from lakehouse.fetch.runtime import active_sources, tools_of
from lakehouse.fetch.task import FetchTask
from lakehouse.settings import Settings, load_settings
from lakehouse.storage.objects import ObjectStore


def samples(settings: Settings) -> dict[tuple[str, ...], float]:
    """Samples of the file as it is now, by name and labels."""
    with DagsterInstance.ephemeral() as instance:
        path = write_metrics(instance, ObjectStore.open(settings), settings)
    families = text_string_to_metric_families(path.read_text(encoding="utf-8"))
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def opened(tmp_path: Path, **given) -> Settings:
    return load_settings(home=tmp_path, lake=str(tmp_path / "lake"), email_pepper="test", **given)


def test_depth_age_and_budgets_of_each_source_are_told(tmp_path: Path) -> None:
    settings = opened(tmp_path, fetch_credentials={"youtube_api": "key", "x_api": "token"})
    sources = active_sources(settings)
    with tools_of(settings, ObjectStore.open(settings), sources, log=print) as tools:
        tools.queue.put([FetchTask("x_api", "users", (str(number),)) for number in range(3)])
        tools.queue.bury(tools.queue.take(1, lease_seconds=60)[0], "no reason")
        tools.ledger.reserve(sources["youtube_api"], sources["youtube_api"].endpoints["channels"], 1)
    found = samples(settings)
    assert found["creatorlake_fetch_up",] == 1
    assert found["creatorlake_fetch_tasks", "x_api", "ready"] == 2
    assert found["creatorlake_fetch_tasks", "x_api", "dead"] == 1
    assert found["creatorlake_fetch_tasks", "youtube_api", "ready"] == 0
    assert found["creatorlake_fetch_oldest_seconds", "x_api"] >= 0
    assert found["creatorlake_fetch_budget_left", "units", "youtube_api"] == 9_999
    assert found["creatorlake_fetch_budget_left", "usd_day", "x_api"] == 10


def test_a_ledger_that_cannot_be_read_is_told_and_a_lake_without_platforms_says_nothing(tmp_path: Path) -> None:
    assert not [name for name, *_ in samples(opened(tmp_path)) if "fetch" in name]
    file = tmp_path / "no-folder"
    file.write_text("")
    away = opened(tmp_path, fetch_credentials={"x_api": "token"}, fetch_ledger=f"sqlite:///{file}/ledger.db")
    found = samples(away)
    assert found["creatorlake_fetch_up",] == 0
    assert not [name for name, *_ in found if "fetch_tasks" in name]
