"""Hundreds of viewers of one event stream, in one event loop: what each was told, when, and over which cuts.

    with Crowd([api.port], f"/v1/runs/{run_id}/events", 500, cut=lambda viewer, seen: seen % 7 == viewer % 7) as crowd:
        …
    for viewer in crowd.viewers: viewer.ids, viewer.times

A viewer does what a page does: it comes back with the last id that it took, waits longer each time that nobody
answers, and takes the next of the ports. What stood behind an event at which it was cut is thrown away unread, as when
a network fails between two events.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.waiting import until

#: Whether a viewer (its number) is cut off after so many events.
Cut = Callable[[int, int], bool]
#: Viewers that connect at the same time: a listener's backlog is bounded.
_AT_ONCE = 100
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


@dataclass
class CrowdViewer:
    """One viewer: ids and kinds of the events that it took, in their order, and when (seconds of the loop's clock)."""

    number: int
    ids: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    connections: int = 0
    refusals: int = 0


class _Stream(asyncio.Protocol):
    """One connection: HTTP/1.1 with chunks around server-sent events."""

    def __init__(self, viewer: CrowdViewer, request: bytes, cut: Cut) -> None:
        self._viewer, self._request, self._cut = viewer, request, cut
        self._head, self._chunks, self._text = bytearray(), bytearray(), bytearray()
        self._open = False
        self.ended = asyncio.Event()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def data_received(self, data: bytes) -> None:
        if not self._open:
            self._head += data
            head, blank, rest = self._head.partition(b"\r\n\r\n")
            if not blank:
                return
            if not head.startswith(b"HTTP/1.1 200 "):
                self._viewer.refusals += 1
                self._leave()
                return
            self._open, data = True, bytes(rest)
            self._viewer.connections += 1
        self._chunks += data
        self._unchunk()
        self._take()

    def _unchunk(self) -> None:
        """Move whole chunks over to the text."""
        while (line := self._chunks.find(b"\r\n")) >= 0:
            size = int(self._chunks[:line], 16)
            end = line + 2 + size + 2
            if len(self._chunks) < end:
                return
            self._text += self._chunks[line + 2 : end - 2]
            del self._chunks[:end]

    def _take(self) -> None:
        now = asyncio.get_running_loop().time()
        while (end := self._text.find(b"\n\n")) >= 0:
            lines = self._text[:end].decode().split("\n")
            del self._text[: end + 2]
            fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
            if "data" not in fields:
                continue
            viewer = self._viewer
            viewer.ids.append(sys.intern(fields["id"]))
            viewer.kinds.append(sys.intern(fields["event"]))
            viewer.times.append(now)
            if self._cut(viewer.number, len(viewer.ids)):
                self._text.clear()
                self._leave()

    def _leave(self) -> None:
        assert self._transport is not None
        self._transport.abort()


class Crowd:
    """So many viewers of the stream at `path` on each of `ports`, from entering the context until leaving it."""

    def __init__(
        self,
        ports: Sequence[int],
        path: str,
        count: int,
        cut: Cut = lambda viewer, seen: False,
        last_event_id: str | None = None,
        headers: Sequence[str] = (),
    ) -> None:
        self.viewers = [CrowdViewer(number) for number in range(count)]
        self._ports, self._path, self._cut = list(ports), path, cut
        self._last_event_id, self._headers = last_event_id, tuple(headers)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._viewing: asyncio.Task[None] | None = None

    def __enter__(self) -> Crowd:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(10)
        until(lambda: all(viewer.connections for viewer in self.viewers), f"{len(self.viewers)} open streams")
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def behind(self, count: int) -> int:
        """How many viewers have taken fewer than `count` events."""
        return sum(len(viewer.ids) < count for viewer in self.viewers)

    async def _begin(self) -> None:
        self._viewing = asyncio.create_task(self._all())

    async def _end(self) -> None:
        if self._viewing is not None:
            self._viewing.cancel()
            await asyncio.wait([self._viewing])

    async def _all(self) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for viewer in self.viewers:
                group.create_task(self._view(viewer, gate))

    async def _view(self, viewer: CrowdViewer, gate: asyncio.Semaphore) -> None:
        pause = _SHORTEST_PAUSE_S
        turn = viewer.number
        while True:
            before = viewer.connections
            try:
                async with gate:
                    transport, stream = await self._connect(viewer, self._ports[turn % len(self._ports)])
                try:
                    await stream.ended.wait()
                finally:
                    transport.abort()
            except OSError:
                pass
            turn += 1
            if viewer.connections > before:
                pause = _SHORTEST_PAUSE_S
                continue
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _connect(self, viewer: CrowdViewer, port: int) -> tuple[asyncio.Transport, _Stream]:
        last = viewer.ids[-1] if viewer.ids else self._last_event_id
        lines = [f"GET {self._path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *self._headers]
        if last is not None:
            lines.append(f"Last-Event-ID: {last}")
        request = "\r\n".join([*lines, "", ""]).encode()
        loop = asyncio.get_running_loop()
        return await loop.create_connection(lambda: _Stream(viewer, request, self._cut), "127.0.0.1", port)
