"""What all platforms share: the world, the clock, quotas, the ledger, and the faults and drifts that are on at present."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Protocol

from lakehouse.simulate.platforms.clock import VirtualClock
from lakehouse.simulate.platforms.drift import Drift
from lakehouse.simulate.platforms.faults import FaultDraws, Faults
from lakehouse.simulate.platforms.ledger import Ledger
from lakehouse.simulate.platforms.paging import Pager
from lakehouse.simulate.platforms.quotas import Quotas
from lakehouse.simulate.platforms.registry import Registry
from lakehouse.simulate.platforms.timeline import Timelines
from lakehouse.simulate.platforms.wire import Answer, Call


@dataclass(slots=True)
class Emulator:
    """Everything that the platforms' modules stand on. `quotas`, `faults` and `drift` may be replaced at any time."""

    registry: Registry
    clock: VirtualClock
    quotas: Quotas = field(default_factory=Quotas)
    drift: Drift = field(default_factory=Drift)
    faults: FaultDraws = field(init=False)
    ledger: Ledger = field(default_factory=Ledger)
    pager: Pager = field(init=False)
    timelines: dict[str, Timelines] = field(init=False)
    ordinals: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        """Derive what follows from the world."""
        self.faults = FaultDraws(Faults(), self.seed)
        self.pager = Pager(self.seed)
        self.timelines = {book.name: Timelines(book) for book in self.registry.books}

    @property
    def seed(self) -> int:
        """Seed of the world and of all faults."""
        return self.registry.world.seed

    def set_faults(self, faults: Faults) -> None:
        """Switch faults on or off; the calls' numbers start again, so that equal runs have equal faults."""
        self.faults = FaultDraws(faults, self.seed)
        self.ordinals.clear()


class Platform(Protocol):
    """One platform's API."""

    name: str

    def answer(self, call: Call) -> Answer:
        """Answer a call; charges quotas.

        Raises:
            RefusedError: with the answer, where the call ends early.
        """

    def refusal(self, call: Call, fault: str) -> Answer:
        """The platform's own answer for one of `REFUSALS`."""
