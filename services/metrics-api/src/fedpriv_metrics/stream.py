"""Event streams: each connection is a cursor into a shared feed, woken when the feed grows.

A connection holds no events. One that reads slowly is waited for by its own `send`, and finds itself further behind,
or reset, when it comes back; its memory is the socket's buffer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Literal

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from fedpriv_metrics.feed import Feed
from fedpriv_metrics.index import encode_event
from fedpriv_metrics.models.stream import StreamEvent, StreamEventKind
from fedpriv_metrics.seq import Seq

#: Connections at once; each costs about 20 kB.
MOST_STREAMS = 1000
#: Proxies cut connections that are silent for half a minute or more.
COMMENT_EVERY_S = 15.0
#: How long a viewer that has seen more than this process is left waiting for it to catch up.
CATCH_UP_S = 10.0
#: Events that are joined into one write.
_BATCH = 64

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Streams:
    """Every open event stream of the process."""

    def __init__(
        self,
        told: Callable[[int], None],
        most: int = MOST_STREAMS,
        comment_every_s: float = COMMENT_EVERY_S,
        catch_up_s: float = CATCH_UP_S,
    ) -> None:
        self._told = told
        self._most = most
        self._comment_every_s = comment_every_s
        self._catch_up_s = catch_up_s
        self._open = 0
        self._closing = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether no further stream may be opened."""
        return self._open >= self._most

    def close(self) -> None:
        """End every stream, as at shutdown; viewers come back on their own and resume."""
        self._closing.set()

    def opened(self, change: int) -> None:
        """Count streams that open (1) and end (−1)."""
        self._open += change
        self._told(self._open)

    async def events(self, feed: Feed, cursor: Seq, run_id: str | None) -> AsyncIterator[bytes]:
        """What a viewer at `cursor` is sent, for as long as it stays."""
        closing = asyncio.create_task(self._closing.wait())
        try:
            yield b": open\nretry: 1000\n\n"
            patience = self._catch_up_s
            while not self._closing.is_set():
                changed = feed.changed
                replay = feed.after(cursor, _BATCH)
                if replay.reset or (feed.ahead(cursor) and patience <= 0):
                    cursor = feed.seq
                    yield _reset(cursor, run_id)
                    continue
                if replay.events:
                    cursor = replay.seq
                    yield b"".join(replay.events)
                    continue
                wait = patience if feed.ahead(cursor) else self._comment_every_s
                if not await _either(changed, closing, wait):
                    patience = 0.0 if feed.ahead(cursor) else patience
                    yield b": here\n\n"
        finally:
            closing.cancel()


class EventStream(StreamingResponse):
    """A stream of server-sent events that is counted while it is open."""

    def __init__(self, streams: Streams, feed: Feed, last_event_id: str | None, run_id: str | None) -> None:
        self._streams = streams
        # A fresh viewer reads the answers and is told what comes after them; one with an unknown id is reset.
        cursor = feed.seq if not last_event_id else Seq.parse(last_event_id) or Seq(0, -1)
        super().__init__(streams.events(feed, cursor, run_id), headers=_HEADERS, media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the viewer leaves or the service ends."""
        self._streams.opened(1)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.opened(-1)


async def _either(changed: asyncio.Event, closing: asyncio.Task[Literal[True]], seconds: float) -> bool:
    """Wait for either; False when neither came in time."""
    waiting = asyncio.create_task(changed.wait())
    try:
        done, _ = await asyncio.wait({waiting, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return bool(done)


def _reset(seq: Seq, run_id: str | None) -> bytes:
    event = StreamEvent(
        run_id=run_id,
        seq="",
        kind=StreamEventKind.RESET,
        round=None,
        site=None,
        state=None,
        at=None,
        changes=("run", "metrics", "privacy", "log"),
    )
    return encode_event(event, seq)
