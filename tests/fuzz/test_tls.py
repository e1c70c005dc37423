"""The same over real connections: a server process, TLS, and bytes that are hardly HTTP."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import COUNTS, DEADLINE_S, share
from tests.fuzz.gate_calls import check, counted, mutated
from tests.integration.server_harness import Server, running_without_s3

REQUESTS = (
    b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /v1/fleet/pull-messages HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST /v1/operator/runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
    b"POST https://x/v1/fleet/get-run HTTP/1.0\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose bucket is away: what it answers to strangers does not depend on it."""
    with running_without_s3(tmp_path_factory.mktemp("server")) as server:
        yield server
        assert b" 200 " in send(server, REQUESTS[0])[:20], "it answers no more"
        assert server.process is not None
        assert server.process.poll() is None, server.log[-2000:]


def send(server: Server, data: bytes) -> bytes:
    """What the server answers until it closes, or says nothing more for a moment."""
    context = ssl.create_default_context(cafile=str(server.hub.authority))
    with (
        socket.create_connection(("127.0.0.1", server.port), DEADLINE_S) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(data)
        received = b""
        connection.settimeout(0.05 if b"\r\n\r\n" not in data else 1.0)
        try:
            while part := connection.recv(65536):
                received += part
                connection.settimeout(0.05)
        except (TimeoutError, ConnectionError, ssl.SSLError):
            pass  # it waits for the rest of a request, or hung up on something that is none
        return received


@share(0.06)
@given(st.integers(0, 2**64 - 1))
def test_bytes_that_are_hardly_http(server: Server, seed: int) -> None:
    COUNTS["inputs"] += 1
    COUNTS["over_tls"] += 1
    random = Random(seed)
    request = random.choice(REQUESTS) + random.choice((b"", random.choice(REQUESTS)))
    with counted("a connection"):
        answer = send(server, mutated(request, random) if random.random() < 0.9 else request)
    if answer:
        assert answer.startswith(b"HTTP/1."), answer[:100]
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        check(status, body)
