"""Connections that cost little: few at a time from one address, and the head of a request soon or not at all.

uvicorn bounds neither the time until a first request nor the size of a head; this protocol does, and is otherwise its.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fedpriv_common.rates import address_group, is_this_machine
from fedpriv_server.limits import Limits

#: Time for the head of a request from its first byte, or from the connection's beginning, seconds.
HEAD_SECONDS: Final = 15.0
#: Size of a head: target, names and values, bytes. A node's takes 700.
MAX_HEAD: Final = 16 * 2**10
#: Connections at one time, of all and of one address. A site keeps two.
MAX_CONNECTIONS: Final = 2000
MAX_OF_ADDRESS: Final = 200


def make_protocol(shared: Limits) -> type[HttpToolsProtocol]:
    """The protocol of one server's connections, which are counted together."""
    counts: Counter[str] = Counter()

    class GuardedProtocol(HttpToolsProtocol):
        """One connection."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._head = 0
            self._group: str | None = None
            self._too_late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._group = address_group(self.client)
            counts[self._group] += 1
            crowded = shared.by_address and counts[self._group] > MAX_OF_ADDRESS and not is_this_machine(self.client)
            if crowded or len(self.connections) > MAX_CONNECTIONS:
                transport.abort()
            else:
                self._hurry()

        def connection_lost(self, exc: Exception | None) -> None:
            self._at_ease()
            if self._group is not None:
                counts[self._group] -= 1
                if not counts[self._group]:
                    del counts[self._group]
                self._group = None
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self._hurry()
            super().data_received(data)

        def on_message_begin(self) -> None:
            self._head = 0
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            self._count(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._count(len(name) + len(value))
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._at_ease()
            super().on_headers_complete()

        def _count(self, size: int) -> None:
            self._head += size
            if self._head > MAX_HEAD:
                raise ValueError("the head is too large")  # the parser makes a 400 of it

        def _hurry(self) -> None:
            if self._too_late is None:
                self._too_late = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

        def _at_ease(self) -> None:
            if self._too_late is not None:
                self._too_late.cancel()
                self._too_late = None

    return GuardedProtocol
