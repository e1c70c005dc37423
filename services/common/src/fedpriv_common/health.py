"""`python -m fedpriv_common.health URL [CA]`: exit status 0 when URL answers with success, for container health checks.

Standard library only: it runs every few seconds, beside the service, and must start fast.
"""

from __future__ import annotations

import http.client
import ssl
import sys
import urllib.request

#: Seconds for the whole answer; what checks containers waits for little longer.
_TIMEOUT_S = 4.0


def check(url: str, authority: str | None = None) -> str | None:
    """None when a GET of `url` is answered with 2xx, else why not. `authority`: certificate file for https."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    try:
        if authority is not None:
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authority)))
        with urllib.request.build_opener(*handlers).open(url, timeout=_TIMEOUT_S):
            return None
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {error}"


if __name__ == "__main__":
    fault = check(*sys.argv[1:])
    if fault:
        print(fault, file=sys.stderr)  # noqa: T201 - `docker inspect` shows it
        sys.exit(1)
