"""A TCP connection with a meter and with faults: cut, silent, far away, slow.

    cut       connections are reset, new ones too: the machine at the other end was switched off, and something says so
    silent    every byte vanishes and nobody is told, on new connections, too; those that saw it stay dead afterwards,
              as when a router forgot them (half-open)
    delay_s   every byte arrives this much later (one way)
    rate      bytes per second of all connections of one direction together, None: unbounded

Run as a program, it relays ports between machines or containers, and takes `cut`, `silence`, `restore`, `delay SECONDS`
and `rate BYTES_PER_SECOND` as lines of its standard input:

    python -m tests.relay 127.0.0.1 8443 0.0.0.0 9443
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 16_384
#: How many bytes may be on their way in one direction of a connection; a source that sends more waits.
_WINDOW = 262_144


class Relay:
    """Passes every connection on to a port, counts what comes from its clients, and fails as it is told."""

    def __init__(self, target: int, *, host: str = "127.0.0.1", listen: str = "127.0.0.1", port: int = 0) -> None:
        """Listens on `listen`:`port` (0: any free one, `self.port`) and connects to `host`:`target`."""
        self.sent = 0
        self.delay_s = 0.0
        self.rate: float | None = None
        self._target = (host, target)
        self._lock = threading.Lock()
        self._cut = self._silent = False
        self._connections: set[_Connection] = set()
        self._free_at = {"up": 0.0, "down": 0.0}
        self._listener = socket.create_server((listen, port))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    # -- faults ----------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Reset every connection, and each new one, until `restore`."""
        self._cut = True
        for connection in self._all():
            connection.reset()

    def silence(self) -> None:
        """Let every byte vanish, of new connections, too, until `restore`. None of these is alive again afterwards."""
        self._silent = True
        for connection in self._all():
            connection.dead = True

    def restore(self) -> None:
        """Let new connections through again."""
        self._cut = self._silent = False

    def close(self) -> None:
        """Take no more connections, and end those that there are."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._all():
            connection.reset()

    # -- inside ----------------------------------------------------------------------------------------------------

    def arrival(self, direction: str, size: int) -> float:
        """When `size` bytes that are sent now will have arrived, on the monotonic clock."""
        now = time.monotonic()
        if self.rate is None:
            return now + self.delay_s
        with self._lock:
            self._free_at[direction] = max(now, self._free_at[direction]) + size / self.rate
            return self._free_at[direction] + self.delay_s

    def forget(self, connection: _Connection) -> None:
        """A connection has ended."""
        with self._lock:
            self._connections.discard(connection)

    def _all(self) -> list[_Connection]:
        with self._lock:
            return list(self._connections)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        connection = _Connection(self, client, dead=self._silent)
        with self._lock:
            self._connections.add(connection)
        if self._cut:
            connection.reset()
        elif connection.dead:
            connection.swallow()
        else:
            try:
                connection.open(socket.create_connection(self._target))
            except OSError:
                connection.reset()


class _Connection:
    def __init__(self, relay: Relay, client: socket.socket, *, dead: bool) -> None:
        self.dead = dead
        self._relay, self._client, self._server = relay, client, client
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def open(self, server: socket.socket) -> None:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server = server
        for direction, source, sink in (("up", self._client, server), ("down", server, self._client)):
            threading.Thread(target=self._pass_on, args=(direction, source, sink), daemon=True).start()

    def reset(self) -> None:
        """End both connections with an RST."""
        # The threads that this wakes would end them in order before the reset is sent.
        self.dead = True
        for end in (self._client, self._server):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            _wake_and_close(end)
        self._relay.forget(self)

    def swallow(self) -> None:
        """Read until the client gives up, and say nothing."""
        with suppress(OSError):
            while self._client.recv(_CHUNK):
                pass
        self._client.close()
        self._relay.forget(self)

    def _pass_on(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        """Read at once and deliver when it is due, so that a delay is no limit to the rate."""
        due: deque[tuple[float, bytes]] = deque()
        changed, held = threading.Condition(), 0

        def deliver() -> None:
            nonlocal held
            with suppress(OSError):
                while True:
                    with changed:
                        changed.wait_for(lambda: due)
                        at, data = due.popleft()
                    pause_s = at - time.monotonic()
                    if pause_s > 0:
                        time.sleep(pause_s)
                    if not self.dead:
                        if not data:
                            break
                        sink.sendall(data)
                    elif not data:
                        return  # the other end is not told that this one has left
                    with changed:
                        held -= len(data)
                        changed.notify_all()
            for end in (source, sink):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._relay.forget(self)

        threading.Thread(target=deliver, daemon=True).start()
        data = b"begin"
        while data:
            try:
                data = source.recv(_CHUNK)
            except OSError:
                data = b""
            if direction == "up":
                self._relay.sent += len(data)
            at = self._relay.arrival(direction, len(data))
            with changed:
                while held >= _WINDOW:
                    changed.wait()
                due.append((at, data))
                held += len(data)
                changed.notify_all()


def _wake_and_close(end: socket.socket) -> None:
    """Close a socket that a thread may be reading; the reset is sent when that thread has let go of it."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RD)
    end.close()


@contextmanager
def relay(target: int) -> Iterator[Relay]:
    """A relay that is gone afterwards."""
    made = Relay(target)
    try:
        yield made
    finally:
        made.close()


def main() -> None:
    """Relay until the standard input ends."""
    host, target, listen, port = sys.argv[1:5]
    made = Relay(int(target), host=host, listen=listen, port=int(port))
    print(f"relaying {listen}:{made.port} to {host}:{target}", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["cut" | "silence" | "restore" as command]:
                getattr(made, command)()
            case ["delay", seconds]:
                made.delay_s = float(seconds)
            case ["rate", bytes_per_s]:
                made.rate = float(bytes_per_s)
            case other:
                print(f"unknown: {' '.join(other)}", flush=True)
                continue
        print(line.strip(), flush=True)
    with contextlib.suppress(OSError):
        made.close()


if __name__ == "__main__":
    main()
