"""How often one sender may ask: token buckets, and what counts as one sender.

The table is bounded: who has not been heard of for longest is forgotten, which gives a full bucket back to nobody who
is asking now.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

#: Senders that a table remembers.
_REMEMBERED: Final = 10_000


class Buckets:
    """Token buckets by sender: each holds up to `burst` and gains `rate` a second."""

    def __init__(
        self, rate: float, burst: float, *, most: int = _REMEMBERED, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._most, self._clock = rate, burst, most, clock
        #: Tokens, and when they were counted; the sender heard of last is at the end.
        self._buckets: OrderedDict[bytes | str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, sender: bytes | str) -> float:
        """Seconds until the sender may ask again; 0 if it may now."""
        return max(0.0, (1.0 - self._tokens(sender)) / self._rate)

    def take(self, sender: bytes | str, cost: float = 1.0) -> float:
        """Count a request as `cost`; returns 0, or the seconds until the sender may ask again, and then it does not
        count. What costs more than is there is owed."""
        tokens, now = self._tokens(sender), self._clock()
        allowed = tokens >= 1.0
        self._buckets[sender] = (tokens - cost if allowed else tokens, now)
        self._buckets.move_to_end(sender)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - tokens) / self._rate

    def _tokens(self, sender: bytes | str) -> float:
        tokens, counted_at = self._buckets.get(sender, (self._burst, 0.0))
        return min(self._burst, tokens + (self._clock() - counted_at) * self._rate)


def is_this_machine(client: tuple[str, int] | None) -> bool:
    """Whether a connection comes from this machine."""
    address = _address(client)
    return address is not None and address.is_loopback


def address_group(client: tuple[str, int] | None) -> str:
    """What counts as one sender: an IPv4 address, or a /64 of IPv6, which is what one subscriber has."""
    address = _address(client)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Address(int(address) >> 64 << 64))
    return str(address)


def _address(client: tuple[str, int] | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if client is None:
        return None
    try:
        address = ipaddress.ip_address(client[0].partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
