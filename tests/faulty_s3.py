"""A real HTTP server between boto3 and the emulator that can do what S3 does on a bad day."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
CONFLICT = b"<Error><Code>ConditionalRequestConflict</Code><Message>Another write is under way.</Message></Error>"


class Fault(StrEnum):
    """What becomes of a request."""

    THROTTLED = "503 SlowDown, not carried out"
    CONFLICT = "409 ConditionalRequestConflict, not carried out"
    ANSWER_LOST = "carried out, and the connection breaks before the answer"


class FaultyS3:
    """Passes requests on, but for those that `next` has spoken of."""

    def __init__(self, endpoint: str) -> None:
        self._upstream = urlsplit(endpoint).netloc
        self._faults: list[tuple[Fault, str, str]] = []
        self._before: list[tuple[str, str, Callable[[], object]]] = []
        self.seen: list[tuple[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                outer._handle(self)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _handle  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"

    def next(self, fault: Fault, method: str, part: str, times: int = 1) -> None:
        """So the next requests of that method end whose path has `part` in it."""
        self._faults += [(fault, method, part)] * times

    def before(self, method: str, part: str, action: Callable[[], object]) -> None:
        """Something happens after the next such request was sent, and before it arrives."""
        self._before.append((method, part, action))

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        self.seen.append((request.command, request.path))
        for each in self._before:
            if request.command == each[0] and each[1] in request.path:
                self._before.remove(each)
                each[2]()
                break
        fault = None
        for expected in self._faults:
            if request.command == expected[1] and expected[2] in request.path:
                self._faults.remove(expected)
                fault = expected[0]
                break
        if fault in (Fault.THROTTLED, Fault.CONFLICT):
            status, answer = (503, SLOW_DOWN) if fault is Fault.THROTTLED else (409, CONFLICT)
            _answer(request, status, [("Content-Type", "application/xml")], answer)
            return
        upstream = http.client.HTTPConnection(self._upstream, timeout=30)
        upstream.request(request.command, request.path, body, dict(request.headers.items()))
        response = upstream.getresponse()
        answer = response.read()
        upstream.close()
        if fault is Fault.ANSWER_LOST:
            request.close_connection = True
            return
        _answer(request, response.status, response.getheaders(), answer)


def _answer(request: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    request.send_response_only(status)
    for name, value in headers:
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
            request.send_header(name, value)
    length = {name.lower(): value for name, value in headers}.get("content-length", "0")
    request.send_header("Content-Length", length if request.command == "HEAD" else str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


@contextmanager
def faulty_s3(endpoint: str) -> Iterator[FaultyS3]:
    """The server, running."""
    faulty = FaultyS3(endpoint)
    thread = threading.Thread(target=faulty.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield faulty
    finally:
        faulty.server.shutdown()
        thread.join()
        faulty.server.server_close()
