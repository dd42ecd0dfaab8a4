"""Random histories of a small lake, and the simplest model of what it must hold.

One platform's profiles go from files through landing, bronze and silver. The world is a list of files; the model knows
only them: which accounts they name, and which value of each is the newest. A crash is an exception at a crash point, which
unwinds like a kill but lets the same Spark session go on.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path

from lakehouse import crash
from lakehouse.bronze import load as bronze
from lakehouse.contracts.tables import ACCOUNT_METRICS, ACCOUNTS, BRONZE_PROFILES, OBSERVATIONS
from lakehouse.ingest.landing import land
from lakehouse.ops.steps import Report, Step, run_step
from lakehouse.silver.account_metrics import build_account_metrics
from lakehouse.silver.accounts import build_accounts
from lakehouse.silver.observations import build_observations
from lakehouse.storage.lake import Lake
from tests.faults.content import rows_hash
from tests.ingest_factories import acme

PROFILES = BRONZE_PROFILES["instagram"]
MAPPING = """
source: acme
version: 1
files: ["acme*"]
observed_at: {column: Day, format: "%Y-%m-%d"}
platform: instagram
required: [handle]
fields: {handle: User, display_name: Name, followers: Fans}
"""
FIRST_DAY = dt.date(2024, 1, 1)


class CrashError(BaseException):
    """A process that died at a crash point."""


@dataclass(frozen=True)
class Row:
    """One line of a file: account, day of observation, followers. `fans` below 0 is refused by silver."""

    user: int
    day: int
    fans: int

    @property
    def text(self) -> str:
        return f"user{self.user},Name {self.user},{self.fans},{FIRST_DAY + dt.timedelta(days=self.day)}"


@dataclass
class Model:
    """What was delivered, in order. Everything else follows."""

    files: list[tuple[Row, ...]] = field(default_factory=list)

    def followers(self) -> dict[str, int]:
        """Newest known followers of each account: by day, then by delivery; a negative count is no knowledge."""
        newest: dict[str, tuple[int, int, int, int]] = {}
        for at, rows in enumerate(self.files):
            for place, row in enumerate(rows):
                if row.fans >= 0:
                    key = f"user{row.user}"
                    newest[key] = max(newest.get(key, (-1, -1, -1, -1)), (row.day, at, place, row.fans))
        return {user: found[3] for user, found in newest.items()}

    def accounts(self) -> set[str]:
        return {f"user{row.user}" for rows in self.files for row in rows}

    def observations(self) -> int:
        """Distinct records."""
        return len({row for rows in self.files for row in rows})


def _landing(folder: Path) -> Step:
    def build(ctx) -> Report:
        return land(ctx.lake.objects, folder, mappings=[acme(MAPPING)], log=lambda _line: None)

    def state(_lake, _settings) -> str:
        return ",".join(sorted(path.name for path in folder.iterdir()))

    return Step("raw_landing", "", "raw", (), (), build, fingerprint=state)


def steps(folder: Path) -> list[Step]:
    """The pipeline up to silver, for one platform."""
    return [
        _landing(folder),
        Step(PROFILES.name, "", "bronze", ("raw_landing",), (PROFILES.name,), bronze.build_bronze(PROFILES)),
        Step(OBSERVATIONS.name, "", "silver", (PROFILES.name,), (OBSERVATIONS.name,), build_observations),
        Step(ACCOUNTS.name, "", "silver", (OBSERVATIONS.name,), (ACCOUNTS.name,), build_accounts),
        Step(ACCOUNT_METRICS.name, "", "silver", (OBSERVATIONS.name,), (ACCOUNT_METRICS.name,), build_account_metrics),
    ]


def deliver(folder: Path, number: int, rows: tuple[Row, ...]) -> None:
    """Put a file into the input folder."""
    lines = "\n".join(["User,Name,Fans,Day", *(row.text for row in rows)]) + "\n"
    folder.mkdir(exist_ok=True)
    (folder / f"acme-{number:03d}.csv").write_text(lines, encoding="utf-8")


def run(lake: Lake, folder: Path) -> dict[str, Report]:
    """All steps; every one's counts conserve."""
    reports = {step.name: run_step(step, lake, lake.settings, lambda _text: None) for step in steps(folder)}
    assert {name: report.imbalances() for name, report in reports.items() if report.imbalances()} == {}
    return reports


def crashing(monkeypatch, at: int) -> None:
    """Die at the n-th crash point that is passed, whichever it is."""
    passed = iter(range(1, 1_000))

    def strike(name: str) -> None:
        if next(passed) == at:
            raise CrashError(name)

    for module in ("lakehouse.ops.steps", "lakehouse.ingest.landing"):
        monkeypatch.setattr(f"{module}.crashpoint", strike)
    assert crash.crashpoint is not strike


def silver_hash(lake: Lake) -> dict[str, str]:
    """Content of the silver tables, without what depends on how the input was cut into batches."""
    batch = ("batch_seq", "record_seq", "file_name", "line_number", "landed_at", "first_seen_at")
    tables = {}
    for spec in (OBSERVATIONS, ACCOUNTS, ACCOUNT_METRICS):
        frame = lake.read(spec)
        tables[spec.name] = rows_hash(frame.drop(*(name for name in batch if name in spec.columns)).toArrow())
    return tables
