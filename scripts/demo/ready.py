"""Waiting for conditions, each with a deadline."""

from __future__ import annotations

import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from fedpriv_common.errors import ErrorCode, FedprivError

_PAUSE_S = 0.1


def until(holds: Callable[[], bool], what: str, *, deadline: float, check: Callable[[], None] = lambda: None) -> None:
    """Wait until `holds()`, at most `deadline` seconds, then raise DEADLINE; `check` may raise an earlier end."""
    end = time.monotonic() + deadline
    while not holds():
        check()
        if time.monotonic() > end:
            raise FedprivError(
                ErrorCode.DEADLINE,
                f"{what} was not ready within {deadline:.0f} s; everything was stopped.",
                "Its log is in demo/logs of the demo's folder (var/demo/logs); on a busy machine, try again.",
            )
        time.sleep(_PAUSE_S)


def answers(url: str, authority: Path | None = None) -> bool:
    """Whether a GET of `url` is answered with 2xx; `authority` is the certificate that an https server must have."""
    context = ssl.create_default_context(cafile=str(authority)) if authority else None
    # No proxy stands between this process and its own machine.
    handlers = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))  # type: ignore[arg-type]
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=2) as answer:
            return bool(200 <= answer.status < 300)
    except (urllib.error.URLError, OSError):
        return False
