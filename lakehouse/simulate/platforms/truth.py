"""The hidden truth for tests and benchmarks: whom to ask for, what they really are, how fresh a copy is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lakehouse.simulate.platforms.instagram import is_discoverable
from lakehouse.simulate.platforms.registry import Registry

TOLERANCE = 0.01
"""A copy is fresh where its followers are within 1 % of the true ones."""


def accounts_of(
    registry: Registry, platform: str, seconds: float, *, offset: int = 0, limit: int | None = None
) -> list[dict[str, Any]]:
    """Accounts of a platform with id, handle and status at a time; `is_discoverable` by Instagram's Graph API."""
    book = registry.book(platform)
    stop = len(book) if limit is None else min(offset + limit, len(book))
    found = []
    for row in range(offset, stop):
        state = book.state(row, seconds)
        entry: dict[str, Any] = {"id": state.platform_id, "handle": state.handle, "status": state.status.value}
        if platform == "instagram":
            entry["is_discoverable"] = is_discoverable(state)
        found.append(entry)
    return found


def ids_of(registry: Registry, platform: str) -> list[str]:
    """All ids of a platform, whatever becomes of the accounts."""
    return list(registry.book(platform).platform_ids)


def followers_of(registry: Registry, platform: str, seconds: float) -> dict[str, int]:
    """True followers of all accounts of a platform, by id."""
    book = registry.book(platform)
    return dict(zip(book.platform_ids, book.curve.all(seconds).tolist(), strict=True))


def fresh_ratio(
    registry: Registry, platform: str, shown: Mapping[str, int], seconds: float, *, tolerance: float = TOLERANCE
) -> float:
    """Share of a platform's accounts whose shown followers are within `tolerance` of the true ones; absent ones are not."""
    book = registry.book(platform)
    true = book.curve.all(seconds)
    copies = np.array([shown.get(platform_id, -1) for platform_id in book.platform_ids], dtype=np.int64)
    return float((np.abs(copies - true) <= true * tolerance).mean())
