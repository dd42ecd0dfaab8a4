"""Peak resident memory of this process and all its children (Spark's JVM, Python workers), sampled."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil

INTERVAL_SECONDS = 0.5
"""Short enough to see a stage of a second, long enough to cost nothing."""
GIB = 1 << 30


class PeakMemory:
    """Context manager; `gib` is the largest sum of resident sets seen, in GiB."""

    def __init__(self) -> None:
        """Nothing runs before `__enter__`."""
        self._peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    @property
    def gib(self) -> float:
        """Largest sum of resident sets, GiB."""
        return self._peak / GIB

    def __enter__(self) -> PeakMemory:
        """Start sampling."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        me = psutil.Process()
        while True:
            self._peak = max(self._peak, sum(_resident(p) for p in [me, *me.children(recursive=True)]))
            if self._stop.wait(INTERVAL_SECONDS):
                return


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
