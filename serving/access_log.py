"""One JSON line a request on the logger `creatorlake.access`: what was called and how it went, never what was asked."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass

logger = logging.getLogger("creatorlake.access")


@dataclass(frozen=True, slots=True)
class Access:
    """One finished request. `route` is the template, so no handle or id of a person is kept."""

    at: str
    request_id: str
    method: str
    route: str
    status: int
    ms: float
    bytes_sent: int


def write(access: Access) -> None:
    """Log one line."""
    logger.info(json.dumps(asdict(access), separators=(",", ":")))
