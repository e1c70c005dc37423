"""How much one sender may ask of the server: requests by time, bytes of bodies, and time for sending them.

A request counts for the site whose key signed it, or, unsigned, for the address it comes from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from fedpriv_common.rates import Buckets, address_group, is_this_machine

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
