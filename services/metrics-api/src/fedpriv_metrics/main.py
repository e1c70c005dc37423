"""The metrics API's process: `fedpriv-metrics`, set by environment variables (docs/reference/settings.md)."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys

import uvicorn

from fedpriv_common.log import configure_logging
from fedpriv_common.rates import Buckets
from fedpriv_common.service import listen, run_service, serve_figures
from fedpriv_common.store import ObjectStore
from fedpriv_metrics.app import create_app
from fedpriv_metrics.connections import BACKLOG, KEEP_ALIVE_S, MAX_HEAD, allow_files, make_protocol
from fedpriv_metrics.contracts import load_contracts
from fedpriv_metrics.gate import Admission
from fedpriv_metrics.keyring import Keyring
from fedpriv_metrics.prometheus import Figures
from fedpriv_metrics.service import Service
from fedpriv_metrics.settings import MetricsSettings
from fedpriv_metrics.stream import Streams
from fedpriv_metrics.tail import S3Tail, count_requests

log = logging.getLogger(__name__)

#: Objects that are made, and not freed, between two looks for cycles.
GC_THRESHOLD = 10_000
#: Seconds that requests under way have at shutdown.
GRACE_S = 5
#: What a browser or a proxy on this machine may call it.
THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "[::1]"})


class _Server(uvicorn.Server):
    """Ends the event streams first; they would go on for ever."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let viewers go, then the rest."""
        self._service.streams.close()
        await super().shutdown(sockets)


def main() -> None:
    """The entry point: serves, unless a command follows."""
    if len(sys.argv) == 1:
        run_service(MetricsSettings, run)
        return
    # Only who keeps keys needs what reads command lines.
    from fedpriv_metrics.key_commands import command

    command()


def run(settings: MetricsSettings) -> None:
    """Put the parts together and serve; the bucket need not be in reach yet."""
    configure_logging(settings.log_level)
    # It tells where it found credentials and endpoint, each time.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    # uvicorn ends in order and then raises the signal again; the process has ended well all the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    admission = _admission(settings)
    allow_files(settings.connections)
    listener = listen(str(settings.host), settings.port)
    figures = Figures()
    if settings.prometheus_port:
        serve_figures(figures.registry, str(settings.host), settings.prometheus_port)
    store = ObjectStore.connect(settings.bucket, settings.kms_key_id)
    count_requests(store, figures.s3_request)
    service = Service(
        S3Tail(store),
        figures,
        settings.poll_seconds,
        load_contracts(settings.contracts),
        store,
        settings.auditor_keys,
        Streams(figures.streams, settings.streams, settings.streams_per_viewer),
    )
    # What has been loaded stays, and records that are read hold no cycles: collecting as often as by default would
    # take a third of the time of a start with a long history.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 10, 10)
    config = uvicorn.Config(
        create_app(service, settings.cors_origins, admission),
        # By name: what else is installed must not change which server it is. This one bounds the head of a request.
        http=make_protocol(settings.connections),
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_keep_alive=KEEP_ALIVE_S,
        backlog=BACKLOG,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    if settings.everybody_reads and settings.auth == "none":
        log.warning("answers are given to everybody who reaches this address", extra={"host": str(settings.host)})
    log.info(
        "serving",
        extra={"host": str(settings.host), "port": settings.port, "bucket": settings.bucket, "auth": settings.auth},
    )
    _Server(config, service).run(sockets=[listener])


def _admission(settings: MetricsSettings) -> Admission:
    """Who is let in; raises BAD_KEY when the file of keys cannot be read."""
    rate = settings.requests_per_second
    requests = Buckets(rate, float(settings.requests_at_once)) if rate else None
    if settings.auth == "keys" and settings.keys_file is not None:
        return Admission(Keyring(settings.keys_file), requests)
    hosts = None if settings.everybody_reads else THIS_MACHINE | {str(settings.host)}
    return Admission(None, requests, hosts)


if __name__ == "__main__":
    main()
