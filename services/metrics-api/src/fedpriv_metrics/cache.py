"""Answers as bytes, kept per question and state: the second viewer of a round costs a dictionary look-up."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

#: What keeping an answer takes besides its bytes; many questions have answers of a few bytes.
_OVERHEAD = 600


class ByteCache:
    """The latest answers, bounded in bytes. One answer per question: an older state's is of no use to anybody."""

    def __init__(self, most_bytes: int = 16_000_000) -> None:
        self._most = most_bytes
        self._size = 0
        self._held: OrderedDict[Hashable, tuple[str, bytes]] = OrderedDict()

    def get(self, question: Hashable, state: str, build: Callable[[], bytes]) -> bytes:
        """The answer to `question` in `state`, built if it is not held."""
        held = self._held.get(question)
        if held is not None and held[0] == state:
            self._held.move_to_end(question)
            return held[1]
        answer = build()
        if held is not None:
            self._size -= len(held[1]) + _OVERHEAD
        self._held[question] = (state, answer)
        self._held.move_to_end(question)
        self._size += len(answer) + _OVERHEAD
        while self._size > self._most and len(self._held) > 1:
            _, (_, dropped) = self._held.popitem(last=False)
            self._size -= len(dropped) + _OVERHEAD
        return answer
