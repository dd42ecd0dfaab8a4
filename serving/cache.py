"""Values that are made once and kept while there is room. Thread-safe; what is kept, and under which key, is decided elsewhere."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Cache(Generic[V]):
    """Least recently used values, computed outside the lock: two threads may compute the same, none waits."""

    def __init__(
        self, size: int, *, max_bytes: int = 0, bytes_of: Callable[[V], int] = lambda _: 0, least: int = 1
    ) -> None:
        """Keep at most `size` values, and of those that have `bytes_of` at most `max_bytes`; the newest `least` always."""
        self._size = size
        self._max_bytes = max_bytes
        self._bytes_of = bytes_of
        self._least = least
        self._bytes = 0
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """Value of a key, made when it is not there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._bytes += self._bytes_of(value)
            while len(self._values) > self._size or (self._bytes > self._max_bytes and len(self._values) > self._least):
                self._bytes -= self._bytes_of(self._values.popitem(last=False)[1])
        return value
