"""Names of assets that are no tables."""

from __future__ import annotations

LANDING = "raw_landing"
EXPORT = "gold_export"
SNAPSHOT = "index_snapshot"
SHARDS = "index_shards"
FETCH = "raw_fetch"
ANSWERS = "raw_answers"
