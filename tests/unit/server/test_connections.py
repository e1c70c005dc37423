"""Connections of people who are in no hurry, or who open very many."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from uvicorn.server import ServerState

from fedpriv_server import connections
from fedpriv_server.connections import make_protocol
from fedpriv_server.limits import Limits
from tests.unit.server.nodes import no_operator

REQUEST = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """The port of a server that answers every request with 299."""
    config = uvicorn.Config(no_operator, log_config=None, ws="none", timeout_keep_alive=60)
    config.load()
    state, protocol = ServerState(), make_protocol(Limits())
    listener = await asyncio.get_running_loop().create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server hangs up, which it must within some seconds."""
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""


@pytest.mark.parametrize("said", [b"", b"GET /hea", b"\r\n", REQUEST[:-2], REQUEST + b"\r\n", REQUEST + b"GET /"])
def test_a_head_that_does_not_come_is_not_waited_for(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)

    async def play() -> bytes:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if said.startswith(REQUEST):
                writer.write(REQUEST)
                await reader.readuntil(b"299")
            writer.write(said.removeprefix(REQUEST))
            return await rest(reader)

    assert b"HTTP/1.1 2" not in asyncio.run(play())


def test_a_connection_with_its_answer_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)

    async def play() -> None:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):
                writer.write(REQUEST)
                await asyncio.wait_for(reader.readuntil(b"299"), 10)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(reader.readuntil(b"299"), 0.4)

    asyncio.run(play())


def test_more_connections_than_there_may_be_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_OF_ADDRESS", 2)
    monkeypatch.setattr(connections, "is_this_machine", lambda _: False)

    async def play() -> None:
        async with serving() as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            reader, _ = await asyncio.open_connection("127.0.0.1", port)
            assert await rest(reader) == b""
            held[0][1].close()
            await held[0][1].wait_closed()
            held[1][1].write(REQUEST)
            assert await asyncio.wait_for(held[1][0].readuntil(b"299"), 10)

    asyncio.run(play())
