"""Peak resident memory of this process and all its children (Spark's JVM, Python workers), sampled.

A child that was forked a moment ago still is its parent's image, page by page, until it begins its own program. It is left
out: a JVM that starts a shell command, as Hadoop does now and then, would else be counted twice.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType

import psutil

INTERVAL_SECONDS = 0.5
"""Short enough to see a stage of a second, long enough to cost nothing."""
GIB = 1 << 30
ALIKE = 0.01
"""Share by which a fork's address space may differ from its parent's: both may have gone on a little since."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a process has in memory: its parent's number, its command line, bytes of address space, bytes resident."""

    parent: int
    command: tuple[str, ...]
    size: int
    resident: int


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
            self._peak = max(self._peak, resident_bytes(me))
            if self._stop.wait(INTERVAL_SECONDS):
                return


def resident_bytes(root: psutil.Process) -> int:
    """Sum of the resident sets of a process and all that descend from it, without copies of a parent.

    A copy has the command line and the size of its parent's address space; a program of its own has another of both.
    """
    images = {process.pid: image for process in [root, *root.children(recursive=True)] if (image := _image(process))}
    return sum(image.resident for image in images.values() if not is_copy(image, images.get(image.parent)))


def is_copy(child: Image, parent: Image | None) -> bool:
    """Whether a process still is the image of the parent that it was forked from."""
    return (
        parent is not None and child.command == parent.command and abs(child.size - parent.size) <= ALIKE * parent.size
    )


def _image(process: psutil.Process) -> Image | None:
    """What a process has in memory; None when it has ended."""
    try:
        with process.oneshot():
            memory = process.memory_info()
            return Image(process.ppid(), tuple(process.cmdline()), memory.vms, memory.rss)
    except psutil.NoSuchProcess:
        return None
