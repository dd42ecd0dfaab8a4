"""Where a step keeps what it reads twice."""

from __future__ import annotations

from pyspark import StorageLevel

KEPT = StorageLevel.DISK_ONLY
"""Level for `persist`. In Spark's memory, the default, tables fill the heap that shuffles need: of a million accounts identity had 8.2 GiB in all
and ran out of a heap of 3 GiB once; on disk it has 6.4 and is no slower (docs/figures.md)."""
