"""Light sites behind a network that a test can break, each on a link of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from fedpriv_client.clock import ServerClock
from fedpriv_common.plan import Phase
from fedpriv_common.wire import Operation, Reply, Request
from tests.integration.server_harness import LightSite, Server, online
from tests.relay import Relay, relay
from tests.waiting import until


@dataclass
class Far:
    """Sites and their links. `move` starts a site's next process elsewhere, behind the link that it then has."""

    server: Server
    sites: dict[str, LightSite]
    links: dict[str, Relay] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def start(self, name: str, clock: ServerClock | None = None) -> None:
        """Bring a site online, with a state folder of its own."""
        self.links[name] = link = self._stack.enter_context(relay(self.server.port))
        state = self.server.folder / "far" / f"{name}-{link.port}"
        where = (self.server.hub, self.server.node_key(name), link.port, state)
        self._stack.enter_context(online(self.sites[name], *where, clock))

    def move(self, name: str) -> None:
        """The site's machine is gone without a word, its ledger is opened by a process elsewhere."""
        self.links[name].cut()
        before, self.sites[name] = self.sites[name], LightSite(name)
        self.sites[name].take_over(before)
        self.sites[name].asked, self.sites[name].behave = before.asked, before.behave
        self.start(name)


@contextmanager
def far_sites(server: Server, sites: dict[str, LightSite], clock: ServerClock | None = None) -> Iterator[Far]:
    """The sites, online. They are in `sites` as they are in the end, since their ledgers outlive the context."""
    with ExitStack() as stack:
        far = Far(server, sites, _stack=stack)
        before = server.log.count("site_online")
        for name, site in sites.items():
            site.behave = lambda _: None
            far.start(name, clock)
        until(lambda: server.log.count("site_online") >= before + len(sites), "all sites online")
        yield far


def once_in(round_number: int, act: Callable[[], None]) -> Callable[[Request], Reply | None]:
    """A behaviour that does something at the site's first request of a training round, before it answers."""
    done = threading.Event()

    def behave(request: Request) -> Reply | None:
        if is_training(request) and request.round == round_number and not done.is_set():
            done.set()
            act()
        return None

    return behave


def later(seconds: float, act: Callable[[], None]) -> None:
    """Do something after so many seconds: how long a fault lasts is part of it."""
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


def is_training(request: Request) -> bool:
    return request.operation is Operation.RELEASE and request.phase is Phase.TRAIN
