"""A row as it was read, before any meaning: what every format's reader yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class RawRow:
    """One row. `cells` is a list (tabular) or a dict (JSON); `problem` is a reason code where the row cannot be read."""

    line_number: int
    cells: Any
    raw: bytes
    problem: str = ""
    detail: str = ""
    encoding_index: int = 0
