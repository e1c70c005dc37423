"""What every request passes first: a trace id, one log line, one measurement, no bare failure, and HEAD wherever there
is GET."""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedpriv_metrics.models.problem import ProblemCode
from fedpriv_metrics.problems import problem
from fedpriv_metrics.prometheus import Figures

log = logging.getLogger(__name__)

#: Asked for by load balancers every few seconds; their lines would drown the log.
QUIET = frozenset({"/healthz", "/readyz"})
_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$")


class Edge:
    """Wraps the whole application, its error handlers included."""

    def __init__(self, app: ASGIApp, figures: Figures) -> None:
        self._app = app
        self._figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace_id = _trace_id(Headers(scope=scope))
        method, head = scope["method"], scope["method"] == "HEAD"
        # A HEAD is answered as the GET would be, without the body: the server leaves it out.
        inner = {**scope, "method": "GET"} if head else scope
        inner.setdefault("state", {}).update(trace_id=trace_id, head=head)
        began, status = time.perf_counter(), 0

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                answer["X-Trace-Id"] = trace_id
                answer["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            await self._app(inner, receive, tell)
        except Exception:
            # A viewer that went away while it was sent to is no failure; anything else is, and only the log has it.
            log.exception("request failed", extra={"trace_id": trace_id, "path": scope["path"]})
            if not status:
                detail = "Something went wrong here; the service's log has it under the trace id."
                await problem(inner, ProblemCode.INTERNAL, detail)(inner, receive, tell)
        finally:
            self._told(inner, method, status, time.perf_counter() - began)

    def _told(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        self._figures.request(method, route, status, seconds)
        if scope["path"] not in QUIET:
            state = scope["state"]
            extra = {"trace_id": state["trace_id"], "method": method, "path": scope["path"], "status": status}
            if viewer := state.get("viewer"):
                extra["viewer"] = viewer.name
            log.info("request", extra=extra | {"ms": round(1000 * seconds, 1)})


def _trace_id(headers: Headers) -> str:
    """The caller's, where it speaks W3C trace context; else a new one."""
    matched = _TRACEPARENT.match(headers.get("traceparent", ""))
    return matched[1] if matched else secrets.token_hex(16)
