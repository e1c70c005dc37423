"""A thin HTTP client: what it adds to a request is the same few microseconds for every server."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and milliseconds from the first byte that was sent to the last one that came."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    ms: float


class Connection:
    """One connection that is kept; one request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """One request; the answer must name its length."""
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", "Accept: application/json"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        request = "\r\n".join([*lines, "", ""]).encode()
        began = time.perf_counter()
        self._socket.sendall(request)
        data = bytearray()
        while (blank := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        first, *rest = data[:blank].decode("latin-1").split("\r\n")
        status = int(first.split(" ", 2)[1])
        told = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        del data[: blank + 4]
        if status in (204, 304):
            return Answer(status, told, b"", _since(began))
        if "content-length" not in told:
            raise ValueError(f"{path}: the answer does not name its length")
        while len(data) < int(told["content-length"]):
            data += self._more()
        return Answer(status, told, bytes(data), _since(began))

    def _more(self) -> bytes:
        data = self._socket.recv(262_144)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def _since(began: float) -> float:
    return 1000 * (time.perf_counter() - began)
