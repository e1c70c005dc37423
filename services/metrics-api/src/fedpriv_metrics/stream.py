"""Event streams: each connection is a cursor into a shared feed, woken when the feed grows.

A connection holds no events. One that reads slowly is waited for by its own `send`, and finds itself further behind,
or reset, when it comes back; its memory is the socket's buffer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from fedpriv_metrics.feed import Feed, Sees
from fedpriv_metrics.index import encode_event
from fedpriv_metrics.models.problem import ProblemCode
from fedpriv_metrics.models.stream import StreamEvent, StreamEventKind
from fedpriv_metrics.problems import ProblemError
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


@dataclass(frozen=True, slots=True)
class Watch:
    """Who watches what: a run's feed, or the list's, as one viewer may see it."""

    feed: Feed
    run_id: str | None
    sees: Sees
    #: Whose streams are counted together: a key, or an address.
    principal: str = ""
    #: Whether the viewer's key is still good.
    still: Callable[[], bool] = lambda: True


class Streams:
    """Every open event stream of the process."""

    def __init__(
        self,
        told: Callable[[int], None],
        most: int = MOST_STREAMS,
        most_of_one: int = MOST_STREAMS,
        comment_every_s: float = COMMENT_EVERY_S,
        catch_up_s: float = CATCH_UP_S,
    ) -> None:
        self._told = told
        self._most, self._most_of_one = most, most_of_one
        self._comment_every_s = comment_every_s
        self._catch_up_s = catch_up_s
        self._open: Counter[str] = Counter()
        self._closing = asyncio.Event()

    def require_room(self, principal: str) -> None:
        """Raise TOO_MANY_STREAMS when this key or address has as many as one may have, BUSY when all have."""
        if self._open[principal] >= self._most_of_one:
            detail = f"{self._most_of_one} event streams are open with this key or from this address; close some."
            raise ProblemError(ProblemCode.TOO_MANY_STREAMS, detail, {"Retry-After": "10"})
        if self._open.total() >= self._most:
            raise ProblemError(ProblemCode.BUSY, "Too many event streams are open.", {"Retry-After": "10"})

    def close(self) -> None:
        """End every stream, as at shutdown; viewers come back on their own and resume."""
        self._closing.set()

    def opened(self, principal: str, change: int) -> None:
        """Count streams that open (1) and end (−1)."""
        self._open[principal] += change
        if not self._open[principal]:
            del self._open[principal]
        self._told(self._open.total())

    async def events(self, watch: Watch, cursor: Seq) -> AsyncIterator[bytes]:
        """What a viewer at `cursor` is sent, for as long as it stays and its key is good."""
        feed = watch.feed
        closing = asyncio.create_task(self._closing.wait())
        try:
            yield b": open\nretry: 1000\n\n"
            patience = self._catch_up_s
            while not self._closing.is_set() and watch.still():
                changed = feed.changed
                replay = feed.after(cursor, _BATCH, watch.sees)
                if replay.reset or (feed.ahead(cursor) and patience <= 0):
                    cursor = feed.seq
                    yield _reset(cursor, watch.run_id)
                    continue
                if replay.seq != cursor:
                    cursor = replay.seq
                    if replay.events:
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

    def __init__(self, streams: Streams, watch: Watch, last_event_id: str | None) -> None:
        self._streams, self._principal, feed = streams, watch.principal, watch.feed
        # A fresh viewer reads the answers and is told what comes after them; one with an unknown id is reset.
        cursor = feed.seq if not last_event_id else Seq.parse(last_event_id) or Seq(0, -1)
        super().__init__(streams.events(watch, cursor), headers=_HEADERS, media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the viewer leaves or the service ends; raises as `require_room`."""
        if scope.get("state", {}).get("head"):
            await Response(headers=_HEADERS, media_type=self.media_type)(scope, receive, send)
            return
        # Here and not in the route: nothing comes between the look and the count.
        self._streams.require_room(self._principal)
        self._streams.opened(self._principal, 1)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.opened(self._principal, -1)


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
