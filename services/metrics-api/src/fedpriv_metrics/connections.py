"""Connections that cost little, and that are answered before they are ended.

uvicorn bounds neither how many there are, nor the time until the head of a request has come, nor how long a viewer may
leave what it asked for unread, and it speaks plain text of what it cannot parse. This protocol is otherwise its.

    too many connections              503 with `Retry-After`, then closed
    head not complete in HEAD_S       408
    head larger than MAX_HEAD         431
    not HTTP                          400
    answer not taken for UNREAD_S     cut: there is nobody to tell

A connection that is refused is not cut at once: an answer that still has unread bytes behind it would be thrown away
with a reset. It is shut for writing, and what comes is discarded until the other side has closed too, for LINGER_S.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import secrets
from http import HTTPStatus
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from fedpriv_metrics.models.problem import ProblemCode
from fedpriv_metrics.problems import MEDIA_TYPE, describe

log = logging.getLogger(__name__)

#: Bytes of a request's head.
MAX_HEAD: Final = 16 * 2**10
#: Seconds for the head of a request from its first byte, or from the connection's beginning; for what is left of a body
#: that was not read.
HEAD_S: Final = 15.0
#: Seconds that a connection may be without a request. Proxies keep theirs for a minute at most.
KEEP_ALIVE_S: Final = 65
#: Seconds in which somebody must take some of what is sent to them.
UNREAD_S: Final = 30.0
#: Seconds that a refused connection has to read why.
LINGER_S: Final = 2.0
#: Connections that the kernel holds until they are looked at.
BACKLOG: Final = 4096
#: Files besides connections: S3, logs, processes that compute.
_OTHER_FILES: Final = 256
#: Refused connections that linger, at one time.
_LINGERING: Final = 1024


def allow_files(connections: int) -> None:
    """Raise the limit of open files to what so many connections need, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _LINGERING + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        log.warning("few files may be open; connections above are left waiting", extra={"allowed": allowed})


def refusal(code: ProblemCode, detail: str, *, retry_after_s: int | None = None) -> bytes:
    """A whole HTTP/1.1 answer, for a connection whose request was not or will not be read."""
    problem = describe(code, detail, secrets.token_hex(16))
    body = problem.model_dump_json().encode()
    retry = f"Retry-After: {retry_after_s}\r\n" if retry_after_s is not None else ""
    head = (
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nX-Trace-Id: {problem.trace_id}\r\n"
        f"X-Content-Type-Options: nosniff\r\n{retry}Connection: close\r\n\r\n"
    )
    log.info("connection refused", extra={"trace_id": problem.trace_id, "status": problem.status, "code": code})
    return head.encode() + body


def make_protocol(most: int) -> type[H11Protocol]:
    """The protocol of one server's connections, at most `most` of them at one time."""
    lingering: set[asyncio.Protocol] = set()

    class BoundedProtocol(H11Protocol):
        """One connection."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._deadline: asyncio.TimerHandle | None = None
            self._unread: asyncio.TimerHandle | None = None
            self._refused = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > most:
                self.connections.discard(self)
                busy = "Too many connections are open."
                self._refuse(refusal(ProblemCode.BUSY, busy, retry_after_s=1 + secrets.randbelow(5)))
            else:
                self._hurry()

        def connection_lost(self, exc: Exception | None) -> None:
            lingering.discard(self)
            self._at_ease()
            self.resume_writing()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._refused:
                return
            if self.cycle is None or self.cycle.response_complete:
                self._hurry()
            super().data_received(data)

        def eof_received(self) -> None:
            if self._refused:
                self.transport.close()

        def handle_events(self) -> None:
            cycle = self.cycle
            super().handle_events()
            if self.cycle is not cycle:
                self._at_ease()

        def send_400_response(self, msg: str) -> None:
            waiting = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
            if waiting:
                # In the middle of an answer another one would be part of it.
                self.transport.close()
                return
            if self._head_size() > MAX_HEAD:
                detail = f"The head of the request is over {MAX_HEAD} bytes."
                self._refuse(refusal(ProblemCode.HEAD_TOO_LARGE, detail))
            else:
                self._refuse(refusal(ProblemCode.BAD_REQUEST, "This is no HTTP/1.1 request."))

        def pause_writing(self) -> None:
            super().pause_writing()
            if self._unread is None:
                self._unread = self.loop.call_later(UNREAD_S, self.transport.abort)

        def resume_writing(self) -> None:
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None
            super().resume_writing()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.conn.their_state is h11.SEND_BODY:
                self._hurry()

        def _head_size(self) -> int:
            return len(self.conn.trailing_data[0])

        def _hurry(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(HEAD_S, self._too_late)

        def _at_ease(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _too_late(self) -> None:
            self._deadline = None
            if self.cycle is not None and not self.cycle.response_complete:
                return
            if self.cycle is not None and self.conn.their_state is h11.IDLE and not self._head_size():
                return  # kept alive between requests: another timer's
            detail = f"The head of the request did not come within {HEAD_S:g} s."
            self._refuse(refusal(ProblemCode.TOO_SLOW, detail))

        def _refuse(self, answer: bytes) -> None:
            self._at_ease()
            self._unset_keepalive_if_required()
            self._refused = True
            if self.transport.is_closing():
                return
            self.transport.write(answer)
            if len(lingering) >= _LINGERING or not self.transport.can_write_eof():
                self.transport.close()
                return
            lingering.add(self)
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.abort)

    return BoundedProtocol
