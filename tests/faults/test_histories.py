"""F7, F8 and the property model: histories of deliveries, crashes and upkeep against what must come of them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lakehouse.contracts.tables import ACCOUNTS, OBSERVATIONS
from lakehouse.ops.maintenance import maintain
from lakehouse.storage.lake import Lake
from tests.faults.histories import CrashError, Model, Row, crashing, deliver, run, silver_hash

pytestmark = [pytest.mark.spark]
EARLY = (Row(1, 0, 10), Row(2, 0, 20), Row(3, 0, 30))
LATE = (Row(1, 5, 11), Row(2, 2, 22), Row(4, 1, 40))
MIDDLE = (Row(2, 4, 24), Row(1, 3, 9), Row(3, 0, -5))


def _of(lake: Lake, folder: Path, runs: list[list[tuple[Row, ...]]]) -> dict[str, str]:
    """Content after one run for each list of files."""
    delivered = 0
    for files in runs:
        for rows in files:
            deliver(folder, delivered, rows)
            delivered += 1
        run(lake, folder)
    return silver_hash(lake)


def _lake(lake: Lake, path: Path) -> Lake:
    return Lake(lake.settings.model_copy(update={"lake": str(path)}))


@pytest.mark.faults
def test_f7_f8_any_order_and_multiplicity_of_the_same_files_ends_at_the_same_rows(lake, tmp_path):
    orders = {
        "in order": [[EARLY, MIDDLE, LATE]],
        "late first, one twice": [[LATE], [EARLY, EARLY, MIDDLE]],
    }
    found = {name: _of(_lake(lake, tmp_path / name), tmp_path / f"{name} in", runs) for name, runs in orders.items()}
    assert found["in order"] == found["late first, one twice"]
    rows = _lake(lake, tmp_path / "in order").read(ACCOUNTS).collect()
    assert {row.handle for row in rows} == Model([EARLY, MIDDLE, LATE]).accounts()


ROWS = st.lists(
    st.builds(Row, st.integers(1, 4), st.integers(0, 6), st.integers(-1, 50)), min_size=1, max_size=4, unique=True
).map(tuple)


@pytest.mark.faults
@pytest.mark.timeout(3000)
def test_random_histories_end_where_the_model_says(lake):
    class Histories(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.root = Path(tempfile.mkdtemp(prefix="history-"))
            self.inbox, self.model = self.root / "in", Model()
            self.lake = _lake(lake, self.root / "lake")
            self.is_run = False

        @initialize(rows=ROWS)
        def begin(self, rows) -> None:
            self.ingest(rows)

        @rule(rows=ROWS)
        def ingest(self, rows) -> None:
            deliver(self.inbox, len(self.model.files), rows)
            self.model.files.append(rows)
            self.is_run = False

        @rule(at=st.integers(0, 9))
        def deliver_again(self, at) -> None:
            self.ingest(self.model.files[at % len(self.model.files)])

        @rule(at=st.integers(1, 16))
        def crash(self, at) -> None:
            with pytest.MonkeyPatch.context() as patch:
                crashing(patch, at)
                try:
                    run(self.lake, self.inbox)
                except CrashError:
                    self.is_run = False
                else:
                    self.is_run = True

        @rule()
        def run_all(self) -> None:
            run(self.lake, self.inbox)
            self.is_run = True

        @precondition(lambda self: self.is_run)
        @rule()
        def run_again_is_no_news(self) -> None:
            assert all(report.is_skipped for report in run(self.lake, self.inbox).values())

        @precondition(lambda self: self.is_run)
        @rule()
        def upkeep(self) -> None:
            for spec in (OBSERVATIONS, ACCOUNTS):
                maintain(self.lake, spec)

        @invariant()
        def the_lake_holds_what_the_model_says(self) -> None:
            if not self.is_run:
                return
            accounts = self.lake.read(ACCOUNTS).select("handle", "platform_account_id").collect()
            assert len({row.platform_account_id for row in accounts}) == len(accounts)
            assert {row.handle for row in accounts} == self.model.accounts()
            assert self.lake.read(OBSERVATIONS).count() == self.model.observations()

        def teardown(self) -> None:
            run(self.lake, self.inbox)
            clean = Lake(self.lake.settings.model_copy(update={"lake": str(self.root / "clean")}))
            run(clean, self.inbox)
            assert silver_hash(self.lake) == silver_hash(clean)
            shutil.rmtree(self.root)

    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=6,
            stateful_step_count=10,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
