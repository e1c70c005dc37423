"""Results that were dear to compute, as long as there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Any


class Kept:
    """The most recently used results whose sizes add up to no more than `most`. Threads may share it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._total = 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable) -> Any:
        """What is kept under `key`, or None."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: Hashable, result: Any, size: int) -> None:
        """Keep `result` of `size`, and drop the least recently used while there are too many."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = (result, size)
            self._total += size
            while self._total > self._most:
                _, (_, dropped) = self._kept.popitem(last=False)
                self._total -= dropped
