"""The relay does to a connection what it says: faults that are not there would prove nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.relay import Relay, relay


@pytest.fixture
def echo() -> Iterator[int]:
    """A port that answers every byte with the same."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                while data := connection.recv(65_536):
                    connection.sendall(data)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def between(echo: int) -> Iterator[Relay]:
    with relay(echo) as made:
        yield made


def connect(between: Relay, timeout_s: float = 5.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", between.port), timeout_s)


def say(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    answer = b""
    while len(answer) < len(data):
        answer += connection.recv(65_536)
    return answer


def test_it_passes_on_and_counts(between: Relay) -> None:
    with connect(between) as connection:
        assert say(connection, b"a" * 100_000) == b"a" * 100_000
    assert between.sent == 100_000


def test_a_cut_resets_what_is_open_and_what_is_opened(between: Relay) -> None:
    with connect(between) as connection:
        say(connection, b"hello")
        between.cut()
        with pytest.raises(ConnectionResetError):
            while connection.recv(1):
                pass
        with pytest.raises(ConnectionError), connect(between) as other:
            while other.send(b"a"):
                pass
    between.restore()
    with connect(between) as connection:
        assert say(connection, b"back") == b"back"


def test_in_silence_nothing_comes_and_nothing_is_told(between: Relay) -> None:
    with connect(between, 0.2) as before:
        say(before, b"hello")
        between.silence()
        before.sendall(b"anyone?")
        with pytest.raises(TimeoutError):
            before.recv(1)
        with connect(between, 0.2) as during:
            during.sendall(b"anyone?")
            with pytest.raises(TimeoutError):
                during.recv(1)
            between.restore()
            for dead in (before, during):
                dead.sendall(b"now?")
                with pytest.raises(TimeoutError):
                    dead.recv(1)
    with connect(between) as connection:
        assert say(connection, b"back") == b"back"


def test_delay_and_rate_take_their_time(between: Relay) -> None:
    with connect(between) as connection:
        between.delay_s = 0.05
        began = time.monotonic()
        say(connection, b"a")
        assert time.monotonic() - began >= 0.1  # never less, however fast the machine is
        between.delay_s, between.rate = 0.0, 100_000
        began = time.monotonic()
        say(connection, b"a" * 20_000)
        assert time.monotonic() - began >= 0.2
