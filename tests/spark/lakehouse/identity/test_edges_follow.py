"""Edges that follow a night's changes in the lake are those of a computation from nothing; what was left half done is done whole."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lakehouse.contracts.layout import IDENTITY_COUNTS
from lakehouse.contracts.tables import ACCOUNTS, BLOCKING, EDGES, LINKS
from lakehouse.identity import edges as step
from lakehouse.ops.steps import StepContext
from lakehouse.storage.lake import Lake
from tests.identity_accounts import account, synthetic_people
from tests.spark.lakehouse.identity.test_edges import FIRST, write

pytestmark = pytest.mark.spark
INPUTS = (ACCOUNTS, LINKS)


@pytest.fixture
def follows(lake, monkeypatch):
    """A lake in which no table is small, and few accounts are enough for frozen frequencies."""
    monkeypatch.setattr(step, "DRAWN_ANEW", 1)
    return Nightly(Lake(lake.settings.model_copy(update={"small_table_mib": 0})))


class Nightly:
    """The step, run as the pipeline runs it: with its cursor and the states of its inputs at its last success."""

    def __init__(self, lake):
        self.lake, self.cursor, self.before = lake, {}, None

    def run(self):
        states = {spec.name: self.lake.state(spec.name) for spec in INPUTS}
        report = step.build_edges(StepContext(self.lake, self.lake.settings, self.cursor, lambda _: None, self.before))
        self.cursor, self.before = report.cursor, states
        return report.metadata["accounts_compared"]

    def from_nothing(self):
        step.build_edges(StepContext(self.lake, self.lake.settings, {}, lambda _: None))

    def content(self):
        """Rows of both tables."""
        return [sorted(map(repr, self.lake.read(spec).collect())) for spec in (EDGES, BLOCKING)]


def _people():
    return [row for row, _ in synthetic_people(40, seed=8)]


def test_a_night_ends_at_the_edges_of_a_computation_from_nothing(follows):
    rows, lake = _people(), follows.lake
    write(lake, rows[:90], first_seen=FIRST)
    assert follows.run() == 90
    late = [*rows[90:], account("x", "zorblaxq", "Zor Blax"), account("tiktok", "zorblaxq", "Zor Blax")]
    write(lake, [row | {"display_name": "The Gamer"} for row in rows[:4]], first_seen=FIRST)
    write(lake, late, first_seen=FIRST + timedelta(days=1))
    lake.delete_where(ACCOUNTS, f"platform_account_id = '{rows[10]['platform_account_id']}'")
    assert 0 < follows.run() < 40
    followed = follows.content()
    assert any("zorblaxq" in row for row in followed[0])
    follows.from_nothing()
    assert follows.content() == followed


def test_a_night_without_changes_that_matter_compares_nobody(follows):
    rows, lake = _people()[:60], follows.lake
    write(lake, [row | {"followers_count": 10_000} for row in rows], first_seen=FIRST)
    follows.run()
    version = lake.version(EDGES.name)
    write(lake, [row | {"followers_count": 10_500} for row in rows[:9]], first_seen=FIRST)
    assert follows.run() == 0
    assert lake.version(EDGES.name) == version


def test_after_a_kill_between_the_two_tables_everything_is_compared(follows, monkeypatch):
    rows, lake = _people(), follows.lake
    write(lake, rows[:90], first_seen=FIRST)
    follows.run()
    write(lake, rows[90:93], first_seen=FIRST)
    with monkeypatch.context() as patch:
        kept = step._upsert

        def killed(lake, spec, *given):
            if spec is BLOCKING:
                raise RuntimeError("killed")
            kept(lake, spec, *given)

        patch.setattr(step, "_upsert", killed)
        with pytest.raises(RuntimeError, match="killed"):
            follows.run()
    assert follows.run() == 93
    followed = follows.content()
    follows.from_nothing()
    assert follows.content() == followed


def test_frequencies_stay_until_the_set_has_grown(follows):
    rows, lake = _people(), follows.lake
    write(lake, rows[:80], first_seen=FIRST)
    follows.run()
    drawn = lake.objects.get(IDENTITY_COUNTS)
    write(lake, rows[80:90], first_seen=FIRST)
    follows.run()
    follows.from_nothing()
    assert lake.objects.get(IDENTITY_COUNTS) == drawn
    write(lake, rows[90:101], first_seen=FIRST)
    assert follows.run() == 101
    assert lake.objects.get(IDENTITY_COUNTS) != drawn
