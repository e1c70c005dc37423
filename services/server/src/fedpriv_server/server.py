"""The server put together: SuperLink, gate, runs and writer in one process, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import uvicorn

from fedpriv_common.contract import DataContract
from fedpriv_common.store import ObjectStore
from fedpriv_server.archive import Archive
from fedpriv_server.compaction import Compactor
from fedpriv_server.connections import make_protocol
from fedpriv_server.evaluation import PublicSet
from fedpriv_server.gate import Gate
from fedpriv_server.hub import Hub
from fedpriv_server.limits import Limits
from fedpriv_server.operator import KeyHashes, make_operator_app
from fedpriv_server.outbox import Outbox
from fedpriv_server.postbox import Postbox
from fedpriv_server.prometheus import Prometheus
from fedpriv_server.reload import KeyFiles, Reload
from fedpriv_server.roster import Roster
from fedpriv_server.runs import Runs
from fedpriv_server.statements import Statements
from fedpriv_server.superlink import SuperLink
from fedpriv_server.term import Term
from fedpriv_server.unclosed import Unclosed
from fedpriv_server.witness import Witness
from fedpriv_server.writer import Writer

log = logging.getLogger(__name__)

#: A site's connection stays open between its requests; a new one costs a TLS handshake.
_KEEP_ALIVE_S: Final = 75
#: How long requests under way and connections to busy sites may take to end when the server stops, seconds.
_GRACE_S: Final = 2
#: How long the bucket is written to when the server stops, seconds; the rest is kept on the disk.
_FLUSH_S: Final = 5.0


@dataclass(frozen=True)
class Door:
    """Who is let in, and where: what the files of keys hold, and how often they are looked at again."""

    sites: dict[str, bytes]
    key_hashes: tuple[str, ...]
    tls: ssl.SSLContext
    listener: socket.socket
    files: KeyFiles
    reload_seconds: float
    address_limits: bool


@dataclass(frozen=True)
class Parts:
    """What was read and opened before; every fault of it has been told by now."""

    contract: DataContract
    public: PublicSet | None
    door: Door
    outbox: Outbox
    unclosed: Unclosed
    statements: Statements
    store: ObjectStore
    prometheus: Prometheus


def serve(parts: Parts) -> None:
    """Serve until SIGTERM or SIGINT; then interrupt the active run and write what is left, for some seconds."""
    door = parts.door
    link = SuperLink(door.sites)
    postbox = Postbox(link, parts.prometheus.sites_online)
    archive, term = Archive(parts.store, parts.outbox), Term(parts.store)
    hub = Hub(
        postbox=postbox,
        archive=archive,
        witness=Witness(parts.contract.dataset),
        contract=parts.contract,
        public=parts.public,
        prometheus=parts.prometheus,
        unclosed=parts.unclosed,
        statements=parts.statements,
        term=term,
    )
    runs = Runs(hub)
    key_hashes, limits = KeyHashes(door.key_hashes), Limits(by_address=door.address_limits)
    roster = Roster(link, postbox, runs, parts.statements, archive)
    reload = Reload(door.files, door.reload_seconds, roster, key_hashes, door.tls)
    config = uvicorn.Config(
        Gate(link, postbox, make_operator_app(runs, key_hashes, limits), limits, term),
        http=make_protocol(limits),
        log_config=None,
        access_log=False,
        proxy_headers=False,  # whose address a connection has is for the gate to see, not for a header to say
        server_header=False,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    config.load()
    config.ssl = door.tls
    compactor = Compactor(archive, parts.store)
    writer = Writer(parts.outbox, parts.store, parts.prometheus.writer, term, compactor.written)
    writer.start()
    compactor.start()
    parts.statements.start(archive)
    address = door.listener.getsockname()
    log.info("serving", extra={"host": address[0], "port": address[1], "sites": list(door.sites)})
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(_Server(config, postbox.release), door.listener, runs, reload, archive))
    parts.statements.stop()
    compactor.stop()
    writer.stop(_FLUSH_S)
    log.info("stopped")


async def _serve(server: uvicorn.Server, listener: socket.socket, runs: Runs, reload: Reload, archive: Archive) -> None:
    tasks = [asyncio.create_task(work) for work in (runs.recover(), runs.watch_term(), reload.run())]
    try:
        await server.serve([listener])
    finally:
        for task in tasks:
            task.cancel()
        await runs.stop()
        archive.stop()  # the loop ends when its threads do, and one may wait for a full disk


class _Server(uvicorn.Server):
    """Lets go of held requests when it stops, and leaves it to `serve` to end the process: there is more to finish."""

    def __init__(self, config: uvicorn.Config, release: Callable[[], None]) -> None:
        super().__init__(config)
        self._release = release

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT, without the signal being raised again afterwards."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        self._release()
        await super().shutdown(sockets)
