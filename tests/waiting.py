"""Waiting for conditions in tests: never a fixed time, always a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def until(condition: Callable[[], Value], what: str, seconds: float = 60.0, tick_s: float = 0.02) -> Value:
    """The condition's value once it holds, looked at every `tick_s`; fails after the deadline, saying what did not
    happen."""
    deadline, tick = time.monotonic() + seconds, threading.Event()
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
        tick.wait(tick_s)
    return value
