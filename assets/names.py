"""Names of the steps that are no tables."""

from __future__ import annotations

LANDING = "raw_landing"
EXPORT = "gold_export"
SNAPSHOT = "index_snapshot"
FETCH = "raw_fetch"
ANSWERS = "raw_answers"
