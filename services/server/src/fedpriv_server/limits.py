"""How much one sender may ask of the server: requests by time, bytes of bodies, and time for sending them.

A request counts for the site whose key signed it, or, unsigned, for the address it comes from. Both tables are bounded:
who has not been heard of for longest is forgotten, which gives a full bucket back to nobody who is asking now.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

#: Largest body of a node, or of a process on this machine, bytes. What a model of the recipes needs is 20 kB.
MAX_BODY: Final = 16 * 2**20
#: Largest announcement of a reply, bytes, with what it carries. Parsed, it may be thirty times as large: whoever sends
#: nothing but empty fields has each become an object.
MAX_ANNOUNCEMENT: Final = 2 * 2**20
#: Largest body of everything else and everybody else, bytes: run settings are less than one kB, a node's pull is .1.
MAX_SMALL_BODY: Final = 64 * 2**10
#: Bytes of all bodies that are held at one time, and of those of one sender. Above, senders are asked to come again.
MAX_READING: Final = 64 * 2**20
MAX_OF_SENDER: Final = 16 * 2**20
#: The first bytes of a body do not count, so that whoever fills the rest keeps nobody from what is small: from a site
#: all that a round of the recipes needs, from others run settings. The number of connections bounds them.
FREE_OF_SITE: Final = MAX_SMALL_BODY
FREE_OF_OTHERS: Final = 4 * 2**10
#: A body comes at MIN_RATE bytes a second or faster, half of a link of 100 kbit/s, and may be so many seconds behind.
BODY_SECONDS: Final = 10.0
MIN_RATE: Final = 6_000

#: Requests a second that each site may keep up, and at once. A round takes ten, and the fastest rounds 30 ms.
NODE_RATE: Final = 500.0
NODE_BURST: Final = 1000.0
#: As how many of them a request counts that Flower's own application answers, since it takes so much longer.
SLOW_COST: Final = 20.0
#: Bytes of an announcement that count as one more request: 2 MiB of empty fields take 50 ms to parse.
COST_BYTES: Final = 16 * 2**10
#: The same of each address for requests that no known key signed: health checks, sites that wait to be registered.
STRANGER_RATE: Final = 20.0
STRANGER_BURST: Final = 100.0
#: Wrong operator keys, of each address. A person mistypes a few.
WRONG_KEY_RATE: Final = 0.2
WRONG_KEY_BURST: Final = 10.0

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


@dataclass
class Limits:
    """What one server has left to give. `by_address`: off where every connection seems to come from a balancer."""

    by_address: bool = True
    nodes: Buckets = field(default_factory=lambda: Buckets(NODE_RATE, NODE_BURST))
    strangers: Buckets = field(default_factory=lambda: Buckets(STRANGER_RATE, STRANGER_BURST))
    wrong_keys: Buckets = field(default_factory=lambda: Buckets(WRONG_KEY_RATE, WRONG_KEY_BURST))
    #: Bytes of bodies that are held now, by sender.
    held: Counter[bytes | str] = field(default_factory=Counter)

    def request(self, client: tuple[str, int] | None, site_key: bytes | None, *, slow: bool = False) -> float:
        """Count a request; returns the seconds to wait, 0 for none. `site_key`: whose signature it carries. `slow`: it
        is for Flower's own application."""
        if site_key is not None:
            return self.nodes.take(site_key, SLOW_COST if slow else 1.0)
        if not self.by_address or is_this_machine(client):
            return 0.0
        return self.strangers.take(address_group(client))

    def parsed(self, site_key: bytes | None, size: int) -> None:
        """Count what it costs to parse a site's announcement of so many bytes."""
        if site_key is not None and size >= COST_BYTES:
            self.nodes.take(site_key, size // COST_BYTES)

    def hold(self, sender: bytes | str, size: int) -> bool:
        """Count bytes of a body, of which the sender's `release` is due; False if there is no room for them."""
        if self.held.total() + size > MAX_READING or self.held[sender] + size > MAX_OF_SENDER:
            return False
        self.held[sender] += size
        return True

    def release(self, sender: bytes | str, size: int) -> None:
        """Bytes of a body are not held any more."""
        self.held[sender] -= size
        if not self.held[sender]:
            del self.held[sender]


def most_bytes(path: str, known: bool) -> int:
    """The largest body that is read for a route. `known`: a site signed the request, or this machine sends it."""
    if not known:
        return MAX_SMALL_BODY
    if path == "/v1/fleet/push-messages":
        return MAX_ANNOUNCEMENT
    if path == "/v1/fleet/push-object" or not path.startswith("/v1/fleet/"):
        return MAX_BODY
    return MAX_SMALL_BODY


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
