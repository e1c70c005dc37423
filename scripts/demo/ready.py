"""Waiting for conditions, each with a deadline."""

from __future__ import annotations

import http.client
import ssl
import time
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
    return read(url, authority) is not None


def read(url: str, authority: Path | None = None) -> str | None:
    """The body of the answer to such a GET; None when there is no good answer."""
    # No proxy stands between this process and its own machine.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if authority is not None:
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(authority))))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=5) as answer:
            body: bytes = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    return body.decode(errors="replace")


def site_is_ready(prometheus: str) -> bool:
    """Whether a site's figures at this address say that it is online and has read its ledger, which it does last."""
    figures = read(prometheus) or ""
    return "fl_site_online 1.0" in figures and "fl_privacy_epsilon_limit{" in figures
