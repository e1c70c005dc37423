"""Reads a request's body: no more than its sender may send, no longer than that may take, within what is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from fastapi.responses import JSONResponse

from fedpriv_common.errors import ErrorCode
from fedpriv_server import limits
from fedpriv_server.limits import Limits
from fedpriv_server.problems import problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

#: The rest of a body that is refused is not wanted, nor what else comes on its connection.
_CLOSE = {"Connection": "close"}


class BodyError(Exception):
    """The body is not read to its end; `answer` says why."""

    def __init__(self, status: int, detail: str, code: ErrorCode, **headers: str) -> None:
        super().__init__(detail)
        self.answer: JSONResponse = problem(status, detail, code, {**_CLOSE, **headers})


class Body:
    """One body on its way in. Its bytes count among those that are held until `done`."""

    def __init__(self, shared: Limits, most: int, sender: bytes | str = "", free: int = 0) -> None:
        """`sender`: for whom its bytes count, but for the first `free`."""
        self._shared, self._most, self._sender, self._free = shared, most, sender, free
        self._size = self._held = 0

    def done(self) -> None:
        """The request is answered."""
        self._shared.release(self._sender, self._held)
        self._held = 0

    async def read(self, scope: Scope, receive: Receive) -> bytes | None:
        """All of it, or None if its sender went away; raises BodyError."""
        self._check_declared(scope)
        loop, parts = asyncio.get_running_loop(), []
        end = loop.time() + limits.BODY_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(end):
                    event = await receive()
            except TimeoutError:
                raise BodyError(408, "The body comes too slowly.", ErrorCode.REQUEST_REFUSED) from None
            if event["type"] == "http.disconnect":
                return None
            part = event.get("body", b"")
            # What came fast is no credit for what then does not come.
            end = min(end + len(part) / limits.MIN_RATE, loop.time() + limits.BODY_SECONDS)
            self._size += len(part)
            if self._size > self._most:
                raise self._too_large()
            counted = max(0, self._size - self._free) - self._held
            if not self._shared.hold(self._sender, counted):
                detail = "The server is reading as much as it can hold; come again in 1 s."
                raise BodyError(503, detail, ErrorCode.RATE_LIMITED, **{"Retry-After": "1"})
            self._held += counted
            parts.append(part)
            if not event.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _check_declared(self, scope: Scope) -> None:
        for name, value in scope["headers"]:
            # Fewer digits than make Python refuse to parse them.
            if name == b"content-length" and not (value.isdigit() and len(value) < 20 and int(value) <= self._most):
                raise self._too_large()

    def _too_large(self) -> BodyError:
        detail = f"At most {self._most} bytes are taken here from this sender."
        return BodyError(413, detail, ErrorCode.REQUEST_REFUSED)


@contextmanager
def reading(shared: Limits, path: str, site_key: bytes | None, *, known: bool) -> Iterator[Body]:
    """A request's body, counted among those that are held while the context is open.

    `site_key`: whose signature it carries. `known`: a site signed it, or this machine sends it.
    """
    # All strangers are one sender: of addresses anybody may have many.
    sender = site_key or ("this machine" if known else "strangers")
    free = limits.FREE_OF_OTHERS if site_key is None else limits.FREE_OF_SITE
    body = Body(shared, limits.most_bytes(path, known), sender, free)
    try:
        yield body
    finally:
        body.done()


def again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, then what comes."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> MutableMapping[str, Any]:
        return waiting.pop() if waiting else await receive()

    return replay
