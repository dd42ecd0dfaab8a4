"""Which batches a step has taken in, per platform: one platform's table may lag behind another's. Pure.

A single number would lose records: a platform whose bronze table is loaded later brings rows of a batch that others have passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lakehouse.contracts.taxonomy import PLATFORMS


@dataclass(frozen=True, slots=True)
class Seen:
    """Newest batch taken in, by platform; 0 for none."""

    batches: Mapping[str, int]

    @classmethod
    def from_cursor(cls, value: object) -> Seen:
        """Read what `as_cursor` wrote; anything else means that nothing was seen."""
        known = value if isinstance(value, Mapping) else {}
        return cls({platform: int(known.get(platform, 0)) for platform in PLATFORMS})

    @property
    def as_cursor(self) -> dict[str, int]:
        """JSON form."""
        return dict(self.batches)

    @property
    def is_nothing(self) -> bool:
        """Whether the step starts from nothing and rebuilds."""
        return not any(self.batches.values())

    def predicate(self) -> str:
        """SQL condition on `platform` and `batch_seq` that holds for rows not yet taken in."""
        return " OR ".join(f"(platform = '{name}' AND batch_seq > {last})" for name, last in self.batches.items())

    def advanced(self, newest: Mapping[str, int]) -> Seen:
        """With the newest batch of each platform that this run took in."""
        return Seen({name: max(last, newest.get(name, 0)) for name, last in self.batches.items()})
