"""`fedpriv-server`: one process that serves sites and operators, and runs what they agree on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import uvicorn

from fedpriv_common.contract import load_contract
from fedpriv_common.errors import ErrorCode, FedprivError
from fedpriv_common.log import configure_logging
from fedpriv_common.settings import load_settings, read_secret
from fedpriv_common.store import ObjectStore
from fedpriv_server.allowlist import read_allow_list
from fedpriv_server.archive import Archive
from fedpriv_server.evaluation import PublicSet
from fedpriv_server.gate import Gate
from fedpriv_server.operator import make_operator_app, parse_key_hash
from fedpriv_server.outbox import Outbox
from fedpriv_server.postbox import Postbox
from fedpriv_server.prometheus import Prometheus
from fedpriv_server.run import Hub
from fedpriv_server.runs import Runs
from fedpriv_server.settings import ServerSettings
from fedpriv_server.superlink import SuperLink
from fedpriv_server.witness import Witness
from fedpriv_server.writer import Writer

log = logging.getLogger(__name__)

#: A site's connection stays open between its requests; a new one costs a TLS handshake.
_KEEP_ALIVE_S: Final = 75
#: How long requests under way may take when the server stops, seconds.
_GRACE_S: Final = 5
#: How long the bucket is written to when the server stops, seconds; the rest is kept on the disk.
_FLUSH_S: Final = 5.0


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


def main() -> None:
    """Run the server; a FedprivError becomes one line on standard error and its exit status."""
    try:
        settings = load_settings(ServerSettings)
        configure_logging(settings.log_level)
        quiet_libraries()
        serve(settings)
    except FedprivError as error:
        print(error, file=sys.stderr)  # noqa: T201 - one line for a person
        sys.exit(error.exit_status)


def serve(settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    contract = load_contract(settings.contract)
    public = PublicSet.read(settings.validation, contract) if settings.validation else None
    key_hash = parse_key_hash(
        read_secret(settings.operator_key_hash, "operator key's hash"), str(settings.operator_key_hash)
    )
    sites = read_allow_list(settings.sites_dir)
    tls = make_tls_context(settings.tls_cert, settings.tls_key)
    listener = listen(settings.host, settings.port)
    prometheus = Prometheus()
    if settings.prometheus_port:
        prometheus.serve(settings.host, settings.prometheus_port)
    outbox = Outbox(settings.state_dir / "outbox")
    store = ObjectStore.connect(settings.bucket, settings.kms_key_id)
    archive = Archive(store, outbox)
    link = SuperLink(sites)
    postbox = Postbox(link, prometheus.sites_online)
    hub = Hub(
        postbox=postbox,
        archive=archive,
        outbox=outbox,
        witness=Witness(contract.dataset),
        contract=contract,
        public=public,
        prometheus=prometheus,
    )
    runs = Runs(hub)
    gate = Gate(link, postbox, make_operator_app(runs, key_hash))
    config = uvicorn.Config(
        gate,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # whose address a connection has is for the gate to see, not for a header to say
        server_header=False,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    config.load()
    config.ssl = tls
    writer = Writer(outbox, store, prometheus.writer)
    writer.start()
    log.info("serving", extra={"host": settings.host, "port": settings.port, "sites": list(sites)})
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(_Server(config, postbox.release), listener, runs))
    archive.stop()
    writer.stop(_FLUSH_S)
    log.info("stopped")


async def _serve(server: uvicorn.Server, listener: socket.socket, runs: Runs) -> None:
    recovering = asyncio.create_task(runs.recover())
    try:
        await server.serve([listener])
    finally:
        recovering.cancel()
        await runs.stop()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises PORT_IN_USE, or BAD_SETTING for an address that is not this machine's."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise FedprivError(
                ErrorCode.PORT_IN_USE,
                f"Another process listens on {host}:{port}.",
                "End it, or set FEDPRIV_PORT to a free port.",
            ) from None
        raise FedprivError(
            ErrorCode.BAD_SETTING,
            f"FEDPRIV_HOST, FEDPRIV_PORT: cannot listen on {host}:{port} ({error.strerror or error}).",
            "Give an address of this machine and a port that this user may use.",
        ) from None


def make_tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and later; raises BAD_KEY for files that are no certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise FedprivError(
            ErrorCode.BAD_KEY,
            f"{certificate} and {key} are not a certificate and its key ({error.strerror or error}).",
            "`fedpriv provision` makes both.",
        ) from None
    return context


def quiet_libraries() -> None:
    """One log, in one form: Flower's and uvicorn's go through ours, and only what matters of them."""
    flower = logging.getLogger("flwr")
    flower.handlers.clear()
    flower.propagate = True
    for name in ("flwr", "uvicorn", "uvicorn.error", "botocore", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Flower tells its makers about usage unless told not to; a hospital's server does not.
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"


if __name__ == "__main__":
    main()
