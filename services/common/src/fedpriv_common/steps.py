"""How long the steps of one piece of work took, for the debug log of whoever did it.

    with measured(log, "round_steps", run_id=run_id):
        with step("ask"):
            ...

Outside of `measured`, and wherever the logger takes no debug messages, a step costs one look at a variable. Times of a
site stay in the site's own log: how long work took may tell on how many records it was done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_steps: Final[ContextVar[dict[str, float] | None]] = ContextVar("steps", default=None)


@contextmanager
def measured(log: logging.Logger, message: str, **where: object) -> Iterator[None]:
    """Log `message` at debug level with `where`, `total_ms` and `steps_ms`, unless no step was taken.

    Steps inside of an inner `measured` are the inner one's.
    """
    if not log.isEnabledFor(logging.DEBUG):
        yield
        return
    steps: dict[str, float] = {}
    token, began = _steps.set(steps), time.perf_counter()
    try:
        yield
    finally:
        total_ms = 1000 * (time.perf_counter() - began)
        _steps.reset(token)
        if steps:
            log.debug(message, extra={**where, "total_ms": total_ms, "steps_ms": steps})


@contextmanager
def step(name: str) -> Iterator[None]:
    """Count the time inside of the context, milliseconds, as the step `name` of what is measured."""
    steps = _steps.get()
    if steps is None:
        yield
        return
    began = time.perf_counter()
    try:
        yield
    finally:
        steps[name] = steps.get(name, 0.0) + 1000 * (time.perf_counter() - began)
