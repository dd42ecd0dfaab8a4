"""The emulator's own account of every call: what a client's ledger is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from lakehouse.simulate.platforms.quotas import MICRO, PACIFIC, UTC, day_of
from lakehouse.simulate.platforms.wire import Answer, Call


@dataclass(slots=True)
class Entry:
    """Calls of one endpoint by one credential on one day of the platform."""

    calls: int = 0
    units: int = 0
    micro_usd: int = 0
    records: int = 0
    refused: int = 0
    errors: int = 0
    lost: int = 0
    """Answers that the client never saw whole, though all was charged."""


class Ledger:
    """Entries by (platform, endpoint, credential, day). YouTube's day is the Pacific one, everybody else's UTC."""

    def __init__(self) -> None:
        """No calls yet."""
        self._entries: dict[tuple[str, str, str, str], Entry] = {}

    def add(self, call: Call, answer: Answer, *, is_lost: bool = False) -> None:
        """Count a call."""
        day = day_of(call.now, PACIFIC if call.platform == "youtube" else UTC)
        entry = self._entries.setdefault((call.platform, call.endpoint, call.credential, day), Entry())
        entry.calls += 1
        entry.units += answer.units
        entry.micro_usd += answer.micro_usd
        entry.records += answer.records
        entry.refused += answer.is_refused
        entry.errors += answer.status >= 400 and not answer.is_refused
        entry.lost += is_lost

    def rows(self) -> Iterator[dict[str, Any]]:
        """All entries as JSON values, in order of their keys."""
        for (platform, endpoint, credential, day), entry in sorted(self._entries.items()):
            key = {"platform": platform, "endpoint": endpoint, "credential": credential, "day": day}
            yield key | asdict(entry) | {"usd": entry.micro_usd / MICRO}

    def total(self, platform: str | None = None) -> dict[str, Any]:
        """Sums over all entries, or over those of a platform."""
        rows = [row for row in self.rows() if platform in {None, row["platform"]}]
        names = ("calls", "units", "micro_usd", "records", "refused", "errors", "lost")
        sums: dict[str, Any] = {name: sum(row[name] for row in rows) for name in names}
        return sums | {"usd": sums["micro_usd"] / MICRO}

    def clear(self) -> None:
        """Forget all entries; meters of quotas stay."""
        self._entries.clear()
