"""Clocks and memory of an engine under measurement: serial latency, throughput of several clients, PSS of its processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count

import psutil

MIB = 1024**2
CLIENTS = 4
SAMPLE_SECONDS = 0.25

Call = Callable[[int], object]
"""Runs the query of a number."""


def serial(call: Call, numbers: Iterable[int], patience: float) -> list[float]:
    """Milliseconds of each query, one after the other, of as many as begin within some seconds."""
    found: list[float] = []
    until = time.perf_counter() + patience
    for number in numbers:
        started = time.perf_counter()
        if started > until:
            break
        call(number)
        found.append(1e3 * (time.perf_counter() - started))
    return found


def throughput(call: Call, numbers: list[int], seconds: float, *, clients: int = CLIENTS) -> float:
    """Queries a second of so many threads that ask without a pause."""
    ticket, until = count(), time.perf_counter() + seconds
    done = [0] * clients

    def client(own: int) -> None:
        while time.perf_counter() < until:
            call(numbers[next(ticket) % len(numbers)])
            done[own] += 1

    started = time.perf_counter()
    threads = [threading.Thread(target=client, args=(own,)) for own in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - started)


def quantile(values: list[float], share: float) -> float:
    """The value that a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def pss_mib(pids: Iterable[int]) -> float:
    """Proportional memory of those processes that are still there: pages that they share count once."""
    found = 0
    for pid in pids:
        with suppress(psutil.NoSuchProcess):  # a backend of a server that ended with its connection
            found += psutil.Process(pid).memory_full_info().pss
    return found / MIB


def family(pid: int, others: Iterable[int] = ()) -> list[int]:
    """A process, its children, other processes and theirs; those that are still there."""
    found = [pid, *others]
    for known in tuple(found):
        try:
            found += [child.pid for child in psutil.Process(known).children(recursive=True)]
        except psutil.NoSuchProcess:
            found.remove(known)
    return list(dict.fromkeys(found))


@contextmanager
def peak_memory(pids: Callable[[], list[int]]) -> Iterator[list[float]]:
    """Peak of the resident memory of processes, in MiB, as the only item of a list when the block ends."""
    peak, is_over = [0.0], threading.Event()

    def watch() -> None:
        while not is_over.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], sum(_resident(pid) for pid in pids()) / MIB)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        is_over.set()
        thread.join()


def _resident(pid: int) -> float:
    try:
        return float(psutil.Process(pid).memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0
