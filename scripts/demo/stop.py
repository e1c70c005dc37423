"""Asking the demo to end: Ctrl-C, SIGTERM, a terminal that hung up. All three end it in the same order."""

from __future__ import annotations

import signal
from types import FrameType


class Stopped(BaseException):
    """Raised in the main thread, wherever it is, when signal `number` arrives."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def raise_when_asked() -> None:
    """From now on, such a signal raises Stopped."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)
