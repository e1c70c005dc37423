"""A fixed number of requests a second, each sent when its time has come, whatever became of those before.

Latency counts from the moment at which a request was due, so that a server that stops for a while is charged for
every request that it kept waiting, not only for the one that it was on.

    python -m tests.bench.api.load < {"port": 8000, "rate": 200, "seconds": 60, "paths": [["name", "/path", "etag"], …]}

prints, by name, how many there were, percentiles in milliseconds, and how many of which status.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import cycle

#: Connections that are kept.
CONNECTIONS = 64
#: Seconds after which an answer that has not come never will.
_DEADLINE_S = 30.0


class _Connection(asyncio.Protocol):
    """One kept connection, one request at a time."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._answer: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("closed"))

    async def get(self, request: bytes) -> int:
        """The status of the answer, when all of it is here."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._data += data
        blank = self._data.find(b"\r\n\r\n")
        if blank < 0:
            return
        status = int(self._data[9:12])
        head = bytes(self._data[:blank]).lower()
        _, named, rest = head.partition(b"content-length:")
        length = 0 if status in (204, 304) or not named else int(rest.split(b"\r\n", 1)[0])
        if len(self._data) < blank + 4 + length:
            return
        del self._data[: blank + 4 + length]
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)


async def load(port: int, rate: float, seconds: float, paths: Sequence[Sequence[str]]) -> dict[str, object]:
    """`paths`: name, path and, where the caller holds an answer already, its ETag; taken in turn."""
    loop = asyncio.get_running_loop()
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
        free.put_nowait(connection)
    times: defaultdict[str, list[float]] = defaultdict(list)
    statuses: Counter[str] = Counter()

    async def ask(name: str, request: bytes, due: float) -> None:
        connection = await free.get()
        try:
            status = await asyncio.wait_for(connection.get(request), _DEADLINE_S)
            statuses[str(status)] += 1
        except (OSError, TimeoutError):
            statuses["none"] += 1
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
        times[name].append(1000 * (loop.time() - due))
        free.put_nowait(connection)

    began, under_way = loop.time(), set[asyncio.Task[None]]()
    for number, (name, path, etag) in enumerate(cycle(paths)):
        due = began + number / rate
        if due > began + seconds:
            break
        if (early := due - loop.time()) > 0:
            await asyncio.sleep(early)
        held = f"If-None-Match: {etag}\r\n" if etag else ""
        task = loop.create_task(ask(name, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{held}\r\n".encode(), due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    every = [ms for found in times.values() for ms in found]
    told = {name: percentiles(found) for name, found in sorted(times.items())}
    return {"all": percentiles(every), "routes": told, "statuses": dict(statuses)}


def percentiles(times_ms: Sequence[float]) -> dict[str, float]:
    """Count, median, 90th, 99th and 99.9th percentile, and the longest."""
    ordered = sorted(times_ms)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return {"n": len(ordered), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": ordered[-1]}


if __name__ == "__main__":
    gc.freeze()
    print(json.dumps(asyncio.run(load(**json.load(sys.stdin)))))
