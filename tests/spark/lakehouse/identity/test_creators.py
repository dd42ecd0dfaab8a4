"""Creator ids in the lake: a night looks at what its changes touch, and ends where looking at everything ends."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from assets import steps as pipeline
from lakehouse.contracts.tables import ACCOUNTS, CREATOR_ALIASES, CREATOR_IDS, EDGES, LINKS
from lakehouse.identity import edges as edges_step
from lakehouse.identity.creators import build_creator_ids
from lakehouse.identity.model import default_model
from lakehouse.ops.steps import StepContext, run_step
from lakehouse.storage.lake import Lake
from tests.identity_accounts import account, synthetic_people
from tests.spark.lakehouse.identity.test_edges import FIRST, write

pytestmark = pytest.mark.spark
TABLES = (ACCOUNTS, LINKS, EDGES)


class Nights:
    """Both steps, run as the pipeline runs them."""

    def __init__(self, lake):
        self.lake, self.cursor, self.before = lake, {}, None

    def run(self):
        made = edges_step.build_edges(self._context(self.cursor, self.before))
        states = {spec.name: self.lake.state(spec.name) for spec in TABLES}
        found = build_creator_ids(self._context({}, self.before))
        self.cursor, self.before = made.cursor, states
        return found.metadata

    def at_once(self):
        return build_creator_ids(self._context({}, None)).metadata

    def versions(self):
        return [self.lake.version(spec.name) for spec in (CREATOR_IDS, CREATOR_ALIASES)]

    def _context(self, cursor, before):
        return StepContext(self.lake, self.lake.settings, cursor, lambda _: None, before)


@pytest.fixture
def nights(lake, monkeypatch):
    monkeypatch.setattr(edges_step, "DRAWN_ANEW", 1)
    return Nights(Lake(lake.settings.model_copy(update={"small_table_mib": 0})))


def test_a_night_ends_where_looking_at_everything_ends(nights):
    rows, lake = [row for row, _ in synthetic_people(60, seed=9)], nights.lake
    old, other = account("x", "jane.doe.art"), account("instagram", "completely_else", "Jane Doe Art")
    write(lake, [*rows[:140], old, other], first_seen=FIRST)
    nights.run()
    link = account("tiktok", "janedoeart", "Jane Doe Art", links=["x:jane.doe.art", "instagram:completely_else"])
    write(lake, [link, *rows[140:]], first_seen=FIRST + timedelta(days=1))
    gone = rows[3]["platform_account_id"]
    lake.delete_where(ACCOUNTS, f"platform_account_id = '{gone}'")
    second = nights.run()
    assert second["merges"] >= 1
    assert second["accounts_looked_at"] < 100
    followed = nights.versions()
    assert nights.at_once()["accounts_looked_at"] == lake.count(ACCOUNTS)
    assert nights.versions() == followed


def test_a_quiet_night_writes_nothing(nights):
    rows = [row | {"followers_count": 10_000} for row, _ in synthetic_people(40, seed=9)]
    write(nights.lake, rows, first_seen=FIRST)
    nights.run()
    before = nights.versions()
    write(nights.lake, [row | {"followers_count": 10_500} for row in rows[:2]], first_seen=FIRST)
    assert nights.run()["accounts_looked_at"] < len(rows) / 2
    assert nights.versions() == before


def test_as_steps_they_follow_and_another_model_decides_for_everybody(nights, monkeypatch):
    rows, lake = [row for row, _ in synthetic_people(40, seed=9)], nights.lake
    steps = [step for step in pipeline.STEPS if step.name in {EDGES.name, CREATOR_IDS.name}]

    def run():
        return [run_step(step, lake, lake.settings, lambda _: None) for step in steps]

    write(lake, rows[:80], first_seen=FIRST)
    run()
    write(lake, rows[80:84], first_seen=FIRST + timedelta(days=1))
    made, found = run()
    assert made.metadata["accounts_compared"] == 4
    assert found.metadata["accounts_looked_at"] < 40
    lake.purge(EDGES)  # upkeep between two nights changes no row
    write(lake, rows[84:86], first_seen=FIRST + timedelta(days=2))
    assert run()[0].metadata["accounts_compared"] == 2

    newer = replace(default_model(), version="identity-next")
    for module in (pipeline, edges_step, sys.modules[build_creator_ids.__module__]):
        monkeypatch.setattr(module, "default_model", lambda: newer)
    made, found = run()
    assert made.metadata["accounts_compared"] == found.metadata["accounts_looked_at"] == 86
    assert {row.model_version for row in lake.read(CREATOR_IDS).collect()} == {"identity-next"}
